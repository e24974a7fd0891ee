"""The ground floor for tests: one hub in the test's own process, sockets with two ends, and waiting for facts.

The test runs in the main greenlet and turns the loop until a fact is there; nothing here waits for time to pass. What
a test leaves behind (a stream, a pipe, a greenlet at work, a fault in an event) fails it.
"""

import select
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import gevent
from greenlet import getcurrent

from pools.net import sockopts
from pools.net.greenlet_pool import GreenletPool
from pools.net.pipes import PipeCache
from pools.net.pump import PumpRoom
from pools.net.readiness import Readiness
from pools.net.resets import Resets
from pools.net.stream import Stream

LIMIT_S: Final = 30.0
_EAGER_TURNS: Final = 200
_PACE_S: Final = 0.001
_BEFORE_EVENTS: Final = 2  # an idle watcher of the lowest rank would wait until no event is left, perhaps for ever
_LINGER: Final = struct.Struct("ii")


def turn() -> None:
    """Let the loop handle what is ready, once."""
    hub = gevent.get_hub()
    hub.wait(hub.loop.idle(priority=_BEFORE_EVENTS))


def turn_until(fact: Callable[[], object]) -> None:
    """Turn the loop until `fact` holds: at once for what is ready, then with pauses, for what other processes do."""
    turns = 0
    with gevent.Timeout(LIMIT_S):
        while not fact():
            turns += 1
            (turn if turns < _EAGER_TURNS else _turn_later)()


def _turn_later() -> None:
    """Let the loop handle what comes within a moment, and the processor do something else."""
    hub = gevent.get_hub()
    hub.wait(hub.loop.timer(_PACE_S))


def settle(turns: int = 20) -> None:
    """Turn the loop often enough that whatever is ready has been handled: to show that something does not happen."""
    for _ in range(turns):
        turn()


def data_segments(sock: socket.socket) -> int:
    """Tell in how many segments the payload came that `sock` has received."""
    return _tcp_info_word(sock, 152)  # tcpi_data_segs_in, linux/tcp.h


def segments(sock: socket.socket) -> int:
    """Tell how many segments `sock` has received, those without payload too."""
    return _tcp_info_word(sock, 140)  # tcpi_segs_in


def _tcp_info_word(sock: socket.socket, at: int) -> int:
    return int.from_bytes(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, at + 4)[at:], sys.byteorder)


def wait_for_end(stream: Stream) -> None:
    """Wait, without turning the loop, until the kernel knows the end of the stream's input."""
    ends = select.poll()
    ends.register(stream.fd, select.POLLRDHUP)
    assert ends.poll(LIMIT_S * 1000), f"expected the end of {stream!r} within {LIMIT_S:g} s; found none"


def tcp_pair(*, send_buffer: int = 0, receive_buffer: int = 0) -> tuple[socket.socket, socket.socket]:
    """Connect two non-blocking sockets over loopback; bytes written to the first fill the given buffers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        listener.listen(1)
        first = socket.create_connection(listener.getsockname())
        second, _ = listener.accept()
    if send_buffer:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    for sock in (first, second):
        sock.setblocking(False)
        sockopts.no_delay(sock)
    return first, second


@contextmanager
def refusing_address() -> Iterator[tuple[str, int]]:
    """Give an address that refuses connections, and hold it: one that was let go may be somebody's at once."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()


@contextmanager
def silent_address() -> Iterator[tuple[str, int]]:
    """Give an address that answers no SYN: its listener's queue is full, so the kernel drops what comes (tcp(7))."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        socket.create_connection(listener.getsockname(), timeout=LIMIT_S),
    ):
        assert select.select([listener], [], [], LIMIT_S)[0], "the one that fills the queue is not in it"
        yield listener.getsockname()


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(1, 0))
    sock.close()


def send_all(sock: socket.socket, data: bytes) -> None:
    """Write all, turning the loop while the buffer is full."""
    left = memoryview(data)
    with gevent.Timeout(LIMIT_S):
        while left:
            try:
                left = left[sock.send(left) :]
            except BlockingIOError:
                turn()


def receive(sock: socket.socket, size: int) -> bytes:
    """Read exactly `size` bytes, turning the loop until they are there."""
    data = b""
    with gevent.Timeout(LIMIT_S):
        while len(data) < size:
            try:
                piece = sock.recv(size - len(data))
            except BlockingIOError:
                turn()
                continue
            assert piece, f"expected {size} bytes; found the end after {len(data)}"
            data += piece
    return data


def rest_of(sock: socket.socket) -> tuple[bytes, str]:
    """Read to the end and tell what it was: "end" or "reset"."""
    data = bytearray()
    with gevent.Timeout(LIMIT_S):
        while True:
            try:
                piece = sock.recv(65_536)
            except BlockingIOError:
                turn()
            except ConnectionResetError:
                return bytes(data), "reset"
            else:
                if not piece:
                    return bytes(data), "end"
                data += piece


class Floor:
    """Everything that pumps need, and sockets to pump between. A context manager that checks what is left."""

    def __init__(self, *, splice: bool = True) -> None:
        self.faults: list[BaseException | None] = []
        self.readiness = Readiness(on_fault=lambda _: self.faults.append(sys.exc_info()[1]))
        self.greenlets = GreenletPool()
        self.pipes = PipeCache()
        self.resets = Resets()
        self.room = PumpRoom(readiness=self.readiness, greenlets=self.greenlets, pipes=self.pipes, splice=splice)
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for sock in self._sockets:
            sock.close()
        if error is None:
            turn_until(lambda: self.at_work == 0 and len(self.readiness) == 0)  # what the other end closed comes last
            assert (len(self.readiness), self.pipes.lent, len(self.resets), self.faults) == (0, 0, 0, [])
        self.resets.close()
        self.pipes.close()
        self.readiness.close()
        self._retire()

    @property
    def at_work(self) -> int:
        """Greenlets that hold a job."""
        return self.greenlets.made - self.greenlets.idle

    def leg(self, *, send_buffer: int = 0, receive_buffer: int = 0) -> tuple[Stream, socket.socket]:
        """Give a stream of ours, closing with a reset as accepted sockets do, and the socket at its other end."""
        ours, theirs = tcp_pair(send_buffer=send_buffer, receive_buffer=receive_buffer)
        sockopts.linger_reset(ours)
        self.keep(theirs)
        return self.readiness.open(ours), theirs

    def keep(self, sock: socket.socket) -> None:
        """Close `sock` at the end."""
        self._sockets.append(sock)

    def in_hub(self, job: Callable[[], object]) -> None:
        """Run `job` in the hub, where events come from, and wait until it returned."""
        done: list[bool] = []

        def run() -> None:
            try:
                job()
            except Exception:  # noqa: BLE001  # a fault is the test's to see, wherever it happens
                self.faults.append(sys.exc_info()[1])
            done.append(True)

        self.readiness.defer(run)
        turn_until(lambda: done)

    def _retire(self) -> None:
        """End the idle greenlets: suspended ones hold on to the pool, and the collector cannot see it."""
        idle = self.greenlets._idle
        while idle:
            one = idle.pop()
            one.parent = getcurrent()
            one.throw()

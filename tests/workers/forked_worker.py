"""A real worker in a process of its own, given its post as the supervisor gives it, seen as clients see it.

The test's end is blocking sockets with a time limit: every wait is for a fact and has an end.
"""

import gc
import json
import logging
import os
import re
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn, Self

import gevent

from pools.net.endpoint import Endpoint
from pools.net.fd_passing import receive_message, send_message, socket_pair
from pools.net.orders import Order, OrderMessage, Report, ReportMessage
from pools.net.scoreboard import Cell, Layout, Row, Scoreboard
from pools.net.sealed import seal
from workers.listener import open_group
from workers.operator_wire import FrameReader, SessionRow
from workers.post import Post
from workers.settings import AccessLog, Listen, LogFormat, Mode, WorkerSettings
from workers.shard import ShardHash
from workers.source_limit import SourceTable

_log = logging.getLogger(__name__)

LIMIT_S: Final = 30.0
_SPARE: Final = 4  # listeners that may be added
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class ForkedWorker:
    """One worker and what it was given. Use `forked_worker`."""

    def __init__(self, pid: int, *, post: Post, channel: socket.socket, stderr: int) -> None:
        self.pid = pid
        self.row: Row = post.row
        self.channel = channel
        self.settings = post.settings
        self.sockets = list(post.listeners)
        self.addresses = [sock.getsockname() for sock in post.listeners]
        self.said = ""
        self.code: int | None = None
        self._numbers = {listen.name: listen.number for listen in post.settings.listens}
        self._clients: list[socket.socket] = []
        self._opened = list(post.listeners)
        self._stderr = stderr

    def connect(self, listener: int = 0, *, receive_buffer: int = 0) -> socket.socket:
        """Connect a client; it is closed with the worker."""
        address = self.addresses[listener]
        client = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self._clients.append(client)
        client.settimeout(LIMIT_S)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(address)
        return client

    def order(
        self, order: Order, *, limit_s: float = 0.0, linger_s: float = 0.0, descriptors: tuple[int, ...] = ()
    ) -> None:
        send_message(self.channel, OrderMessage(order, limit_s, linger_s=linger_s).encode(), descriptors)

    def follow(self, *listens: Listen, **more: Any) -> None:
        """Configure it anew, as a supervisor does: sockets of listeners that keep their name are those there are."""
        self.send(*listens, **more)
        assert self.report() is Report.CONFIGURED

    def send(self, *listens: Listen, **more: Any) -> None:
        """Tell it to go on by other settings; `more` changes the rest of them."""
        before = {listen.name: sock for listen, sock in zip(self.settings.listens, self.sockets, strict=True)}
        self.settings = replace(self.settings, listens=_numbered(listens, self._numbers), **more)
        self.sockets = [before.get(listen.name) or self._open(listen) for listen in self.settings.listens]
        self.addresses = [sock.getsockname() for sock in self.sockets]
        memory = seal(self.settings)
        message = OrderMessage(Order.CONFIGURE, listeners=len(listens))
        send_message(self.channel, message.encode(), (memory, *(sock.fileno() for sock in self.sockets)))
        os.close(memory)

    def forget_removed(self) -> None:
        """Close our copies of the sockets that it was told no more of."""
        for sock in set(self._opened).difference(self.sockets):
            sock.close()

    def _open(self, listen: Listen) -> socket.socket:
        self._opened.append(open_listener(listen, self.settings))
        return self._opened[-1]

    def sessions(self) -> list[SessionRow]:
        """Ask for the live sessions, as an operator does."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(LIMIT_S)
            self.order(Order.SESSIONS, descriptors=(theirs.fileno(),))
            theirs.close()
            frames = list(FrameReader().feed(read_all(ours)[0]))
        return [SessionRow.decode(row) for frame in frames for row in frame]

    def report(self) -> Report:
        """Wait for the next report."""
        readable(self.channel)
        payload, _ = receive_message(self.channel)
        return ReportMessage.decode(payload).report

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until stderr says `pattern`, after what was waited for before."""
        while not (match := re.search(pattern, self.said)):
            readable(self._stderr)
            chunk = os.read(self._stderr, 65_536)
            assert chunk, f"expected {pattern!r} on stderr; found {self.said}"
            self.said += chunk.decode()
        self.said = self.said[match.end() :]
        return match

    def logged(self) -> dict[str, Any]:
        """Wait for the next line of the access log."""
        line: dict[str, Any] = json.loads(self.wait_for(r"(?m)^(\{.*\})$")[1])
        return line

    def rest(self) -> str:
        """Everything that it said until its end."""
        while chunk := os.read(self._stderr, 65_536):
            self.said += chunk.decode()
        return self.said

    def wait_for_row(self, cell: Cell, value: int) -> None:
        """Wait until the scoreboard shows a value. Only the worker's death is told, the rest must be looked for."""
        deadline_s = time.monotonic() + LIMIT_S
        watched = select.poll()
        watched.register(self.channel, 0)
        while self.row[cell] != value:
            assert time.monotonic() < deadline_s, f"expected {cell.name} {value}; found {self.row[cell]}"
            assert not watched.poll(5), f"expected {cell.name} {value}; found that the worker has ended"

    def ends_within(self, limit_s: float) -> bool:
        """Wait for its end, and tell whether it came."""
        descriptor = os.pidfd_open(self.pid)
        try:
            return bool(select.select([descriptor], [], [], limit_s)[0])
        finally:
            os.close(descriptor)

    def end(self) -> int:
        """Wait for its exit code."""
        if self.code is None:
            assert self.ends_within(LIMIT_S), "expected the worker to end; found it alive"
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def kill(self) -> None:
        """End it whatever it does."""
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.end()
        for sock in (self.channel, *self._clients, *self._opened):
            sock.close()
        os.close(self._stderr)


class Origin:
    """A destination that the test speaks for."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(LIMIT_S)
        self.endpoint = Endpoint(*self.listener.getsockname())
        self._accepted: list[socket.socket] = []

    def accept(self) -> socket.socket:
        """Take the next connection; it is closed with the origin."""
        accepted, _ = self.listener.accept()
        self._accepted.append(accepted)
        accepted.settimeout(LIMIT_S)
        return accepted

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self.listener, *self._accepted):
            sock.close()


def begin(worker: ForkedWorker, origin: Origin, listener: int = 0) -> tuple[socket.socket, socket.socket]:
    """Open one session and see a byte through it."""
    client = worker.connect(listener)
    client.sendall(b"x")
    accepted = origin.accept()
    assert read_exactly(accepted, 1) == b"x"
    return client, accepted


def finish(client: socket.socket, accepted: socket.socket) -> None:
    """End a session in order."""
    client.shutdown(socket.SHUT_WR)
    assert read_all(accepted)[1] == "end"
    accepted.close()
    assert read_all(client)[1] == "end"
    client.close()


def readable(source: socket.socket | int) -> None:
    """Wait until there is something to read."""
    ready, _, _ = select.select([source], [], [], LIMIT_S)
    assert ready, "expected something to read; found nothing in time"


def forward(to: Endpoint, **more: Any) -> Listen:
    return Listen("orders", Endpoint("127.0.0.1", 0), Mode.FORWARD, to, **more)


def proxy(mode: Mode, **more: Any) -> Listen:
    return Listen(mode.value, Endpoint("127.0.0.1", 0), mode, **more)


def read_all(sock: socket.socket) -> tuple[bytes, str]:
    """Read to the end and tell what it was: "end" or "reset"."""
    data = b""
    try:
        while piece := sock.recv(65_536):
            data += piece
    except ConnectionResetError:
        return data, "reset"
    return data, "end"


def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, f"expected {size} bytes; found the end after {len(data)}"
        data += piece
    return data


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.close()


def open_listener(listen: Listen, settings: WorkerSettings) -> socket.socket:
    """Open the socket of a gateway with one worker."""
    return open_group(listen, shard=ShardHash(settings.shard_seed, 1), keepalive=settings.keepalive)[0]


def _numbered(listens: Iterable[Listen], known: dict[str, int]) -> tuple[Listen, ...]:
    """Number listeners by their names, new ones behind those that are `known`."""
    return tuple(replace(listen, number=known.setdefault(listen.name, len(known))) for listen in listens)


@contextmanager
def forked_worker(
    tmp_path: Path, *listens: Listen, descriptors: int = 0, held: bool = False, **more: Any
) -> Iterator[ForkedWorker]:
    """Start a worker that is ready, and end it whatever the test does.

    Args:
        descriptors: its limit of open files, 0 for this process's own.
        held: it waits for BEGIN.
        more: the rest of WorkerSettings.
    """
    wanted: dict[str, Any] = {"workers": 1, "shard_seed": 1, "access_log": AccessLog(True, LogFormat.JSON)} | more
    settings = WorkerSettings(listens=_numbered(listens, {}), **wanted)
    sockets = tuple(open_listener(listen, settings) for listen in listens)
    board = Scoreboard.create(
        tmp_path / "scoreboard", Layout(1, len(listens) + _SPARE), supervisor_pid=os.getpid(), started_ns=1
    )
    table = SourceTable.create(room=1, seed=1)
    ours, theirs = socket_pair()
    reader, writer = os.pipe()
    post = Post(0, None, settings, sockets, board.row(0), table, 0, theirs, held=held)
    pid = os.fork()
    if pid == 0:
        _live(post, writer, leave=(ours.fileno(), reader), descriptors=descriptors)
    worker = ForkedWorker(pid, post=post, channel=ours, stderr=reader)
    theirs.close()
    os.close(writer)
    try:
        assert worker.report() is (Report.HELD if held else Report.READY)
        yield worker
    finally:
        worker.kill()
        board.close()
        table.close()


def _live(post: Post, stderr: int, *, leave: tuple[int, ...], descriptors: int) -> NoReturn:
    """Do what `gateway.child` does after a fork; besides, put away the hub that this test process may have."""
    code = 99
    try:
        gc.freeze()  # what the test process has is not this one's to collect
        os.dup2(stderr, 2)
        for descriptor in (*leave, stderr):
            os.close(descriptor)
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115  # as long as the process
        logging.basicConfig(stream=sys.stderr, force=True, level=logging.INFO)
        gevent.get_hub().destroy(destroy_loop=True)
        if descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        from workers.worker import run

        code = run(post)
    except BaseException:  # noqa: BLE001  # a child must not come back into the test's stack
        _log.exception("the worker failed")
    finally:
        logging.shutdown()
        os._exit(code)

"""The two ends of a session as raw sockets: what they send, what they hear, and how that ended.

Nothing here knows the gateway. Blocking sockets with a time limit, so a byte that never comes fails a test by name.
"""

import fcntl
import random
import select
import socket
import struct
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import Self
from zlib import crc32

from tests.floor import silent_address

PATIENCE_S = 30.0
CHUNK_BYTES = 1 << 18
LOOPBACK = "127.0.0.1"
_RESET = struct.pack("ii", 1, 0)


class End(Enum):
    """How the other end left."""

    FIN = auto()
    RESET = auto()


class Heard:
    """All that one end got, and how that ended. Not a dataclass, whose megabytes pytest would compare line by line."""

    def __init__(self, data: bytes, end: End) -> None:
        self.data = data
        self.end = end

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Heard) and (self.data, self.end) == (other.data, other.end)

    __hash__ = None  # type: ignore[assignment]  # like any mutable thing that is equal by its content

    def __repr__(self) -> str:
        return f"<Heard {len(self.data)} bytes, CRC {crc32(self.data):08x}, then {self.end.name}>"


def pattern(size: int, *, seed: int = 0) -> bytes:
    """Bytes in which none is lost, doubled or out of place without showing."""
    return random.Random(seed).randbytes(size)


def connect(port: int, *, source: str = LOOPBACK, host: str = LOOPBACK) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.settimeout(PATIENCE_S)
        if ":" not in host:
            sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT, ip(7): the port is chosen at connect
            sock.bind((source, 0))
        sock.connect((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def hear(sock: socket.socket) -> Heard:
    """Read to the end, whichever it is."""
    data = bytearray()
    try:
        while chunk := sock.recv(CHUNK_BYTES):
            data += chunk
    except ConnectionResetError:
        return Heard(bytes(data), End.RESET)
    return Heard(bytes(data), End.FIN)


def visit(port: int, said: bytes = b"", *, source: str = LOOPBACK) -> Heard:
    """Connect, say something and hear all; for where a reset may come as early as the connection does."""
    try:
        with connect(port, source=source) as sock:
            sock.sendall(said)
            return hear(sock)
    except ConnectionResetError:
        return Heard(b"", End.RESET)


def hear_exactly(sock: socket.socket, size: int) -> bytes:
    """Read `size` bytes and leave what follows."""
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(min(CHUNK_BYTES, size - len(data)))
        assert chunk, f"the stream must go on for {size} bytes; it ended after {len(data)}"
        data += chunk
    return bytes(data)


def reset(sock: socket.socket) -> None:
    """Leave with a reset; what this end has sent and its kernel still holds is lost."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


def wait_acknowledged(sock: socket.socket) -> None:
    """Wait until the other end's kernel has all that was sent."""
    for _ in range(int(PATIENCE_S / 0.01)):
        if struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0] == 0:
            return
        select.select([], [], [sock], 0.01)
    raise AssertionError("what was sent must be acknowledged")


def is_silent(sock: socket.socket, *, for_s: float) -> bool:
    """Tell whether nothing comes, not even an end."""
    return not select.select([sock], [], [], for_s)[0]


class Talker:
    """One end that sends and reads at once and never waits, for `talk` to turn. Owns its socket from here on.

    Attributes:
        sent: bytes of its content that its kernel took.
        heard: what it got so far.
        end: how the other end left; None while it has not.
    """

    def __init__(self, sock: socket.socket, content: bytes) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.sent = 0
        self.heard = bytearray()
        self.end: End | None = None
        self._content = memoryview(content)

    def turn(self) -> None:
        """Send and read once; which of the two hears of a reset is the kernel's choice."""
        try:
            with suppress(BlockingIOError):
                self.sent += self.sock.send(self._content[self.sent : self.sent + CHUNK_BYTES])
            with suppress(BlockingIOError):
                chunk = self.sock.recv(CHUNK_BYTES)
                self.heard += chunk
                self.end = None if chunk else End.FIN
        except ConnectionResetError:
            self.end = End.RESET

    @property
    def is_there(self) -> bool:
        """Neither side has ended it."""
        return self.end is None and self.sock.fileno() >= 0

    @property
    def waits_for(self) -> int:
        """What lets it go on, as poll(2) has it."""
        return select.POLLIN | (select.POLLOUT if self.sent < len(self._content) else 0)


def talk(talkers: Sequence[Talker], *, until: Callable[[], bool]) -> None:
    """Turn all `talkers` that are still there, those that can go on, until a fact holds."""
    poll = select.poll()
    by_fd = {talker.sock.fileno(): talker for talker in talkers if talker.is_there}
    for fd, talker in by_fd.items():
        poll.register(fd, talker.waits_for)
    while not until():
        ready = poll.poll(PATIENCE_S * 1000)
        assert ready, "somebody must be able to send or read"
        for fd, _ in ready:
            by_fd[fd].turn()
            if by_fd[fd].is_there:
                poll.modify(fd, by_fd[fd].waits_for)
            else:
                poll.unregister(fd)


class Destination:
    """Where sessions lead: a listening socket of the test."""

    def __init__(self, host: str = LOOPBACK, *, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family, backlog=4096)
        self.listener.settimeout(PATIENCE_S)
        self.host = host
        self.port: int = self.listener.getsockname()[1]

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def accept(self) -> socket.socket:
        sock, _ = self.listener.accept()
        sock.settimeout(PATIENCE_S)
        return sock


@contextmanager
def session(port: int, destination: Destination) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Open a session through a forwarding listener; gives the client's end and the destination's."""
    with connect(port) as client, destination.accept() as far:
        yield client, far


@contextmanager
def refusing() -> Iterator[int]:
    """Hold a port on which nobody listens, so that connecting to it is refused."""
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        yield sock.getsockname()[1]


@contextmanager
def black_hole() -> Iterator[int]:
    """Give a port that never answers."""
    with silent_address() as (_, port):
        yield port


def anonymous_bytes(pid: int) -> int:
    """Give what a process holds of memory for itself alone, without mapped files."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split(maxsplit=1)[0]) * 1024

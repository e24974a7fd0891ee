"""The lab's client: fetches from the origin over a connection of its own, and notes what came when."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import h11

from gateway.lab.network_namespace import entered
from gateway.lab.payload import payload
from gateway.lab.results import Curve, Times
from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.errors import MidmileError

_READ_BYTES: Final = 262_144
_PATIENCE_S: Final = 30.0  # without a byte


class FetchError(MidmileError):
    """An answer did not come, or not as it should; the message says what came instead."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """One answer, in seconds since the client began to connect.

    Attributes:
        connected_s: until the connection stood.
        times: until the first byte of the answer, and until all of them.
        curve: how much of its body had come by when.
    """

    connected_s: float
    times: Times
    curve: Curve


def fetch(door: Endpoint, size_bytes: int, namespace: Path) -> Fetch:
    """Fetch `size_bytes` bytes from `door`, and check every one of them.

    Args:
        namespace: of the network in which the client stands.

    Raises:
        FetchError: the connection broke, nothing came for half a minute, or other bytes did.
    """
    with entered(namespace):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        sock.settimeout(_PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return _fetch(sock, door, size_bytes)
        except (OSError, h11.ProtocolError) as error:
            raise FetchError(f"expected {size_bytes} bytes from {door}; found {error}") from error


def _fetch(sock: socket.socket, door: Endpoint, size_bytes: int) -> Fetch:
    answer = _Answer()
    start_s = monotonic_s()
    sock.connect((door.host, door.port))
    connected_s = monotonic_s() - start_s
    sock.sendall(answer.asked_for(door, size_bytes))
    while not answer.is_whole:
        answer.take(sock.recv(_READ_BYTES), at_s=monotonic_s() - start_s)
    answer.require(payload(size_bytes))
    return Fetch(connected_s, Times(answer.first_byte_s, answer.points[-1][0]), Curve(answer.points))


class _Answer:
    """The answer as it comes in."""

    def __init__(self) -> None:
        self._connection = h11.Connection(h11.CLIENT)
        self._pieces: list[bytes] = []
        self.is_whole = False
        self.first_byte_s = 0.0
        self.points: list[tuple[float, int]] = [(0.0, 0)]

    def asked_for(self, door: Endpoint, size_bytes: int) -> bytes:
        """Give the request, which is one packet."""
        request = h11.Request(method="GET", target=f"/{size_bytes}", headers=[("host", str(door))])
        return b"".join(self._connection.send(event) or b"" for event in (request, h11.EndOfMessage()))

    def take(self, received: bytes, *, at_s: float) -> None:
        """Take in what was received at `at_s`; b"" is the end of the stream."""
        self.first_byte_s = self.first_byte_s or at_s
        self._connection.receive_data(received)
        size = self.points[-1][1]
        while (event := self._connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response) and event.status_code != 200:
                raise FetchError(f"expected the status 200; found {event.status_code}")
            if isinstance(event, h11.Data):
                self._pieces.append(bytes(event.data))
                size += len(event.data)
            if isinstance(event, h11.EndOfMessage):
                self.is_whole = True
                break
        self.points.append((at_s, size))

    def require(self, expected: bytes) -> None:
        """Raise FetchError unless these were the bytes."""
        found = b"".join(self._pieces)
        if found != expected:
            raise FetchError(f"expected {len(expected)} bytes that are known; found {len(found)}, and others")

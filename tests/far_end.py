"""The other end of a leg between gateways, spoken for by the test, frame by frame."""

import socket
from collections.abc import Callable
from typing import Final

import gevent

from pools.frame_bodies import Body, Open, decode, encode
from pools.frames import Frame, FrameReader, FrameType, Payload, Role
from pools.handshake import Handshake, OverlayKey
from pools.leg import PoolLeg
from pools.net import sockopts
from pools.net.endpoint import Endpoint
from tests.floor import LIMIT_S, Floor, send_all, tcp_pair, turn

KEY: Final = OverlayKey(b"k" * 32)
OPEN: Final = Open(Endpoint("192.0.2.7", 443), (), Endpoint("198.51.100.1", 5000), b"t" * 16)


def plain(kind: FrameType, session: int = 0) -> bytes:
    """Give a frame without a body."""
    return Frame(kind, session).encode()


class FarEnd:
    """A non-blocking socket on which frames are said and heard."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = FrameReader()
        self._rest = b""

    def say(self, body: Body, session: int = 0) -> None:
        """Send a frame with a body."""
        self.send(encode(body, session=session))

    def send(self, *frames: bytes) -> None:
        """Send bytes, as one segment where they are few."""
        send_all(self.sock, b"".join(frames))

    def hear(self) -> Frame | Payload:
        """Wait for the next frame, or stretch of payload."""
        with gevent.Timeout(LIMIT_S):
            while True:
                item, left = self._reader.take(memoryview(self._rest))
                self._rest = bytes(left)
                if item is not None:
                    return item
                self._rest = self._receive()

    def hear_body(self) -> Body | None:
        """Wait for the next frame and give what it says."""
        frame = self.hear()
        assert isinstance(frame, Frame)
        return decode(frame)

    def introduce(self, name: str = "oregon", *, key: OverlayKey = KEY, role: Role = Role.OPENER) -> str | None:
        """Go through the handshake and give the other end's name."""
        handshake = Handshake(role, name, keys=[key], nonce=b"n" * 32)
        self.send(handshake.begin())
        while handshake.peer_name is None:
            frame = self.hear()
            assert isinstance(frame, Frame)
            self.send(handshake.receive(frame))
        return handshake.peer_name

    def _receive(self) -> bytes:
        while True:
            try:
                data = self.sock.recv(65_536)
            except BlockingIOError:
                turn()
                continue
            assert data, "expected a frame; found the end"
            return data


class Keeper:
    """A keeper that only remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def regain(self, leg: PoolLeg) -> None:
        assert leg.fd >= 0
        self.told.append("regain")

    def lost(self, leg: PoolLeg) -> None:
        assert leg.fd < 0
        self.told.append("lost")


def pool_leg(floor: Floor, role: Role, *, send_buffer: int = 0, receive_buffer: int = 0) -> tuple[PoolLeg, FarEnd]:
    """Give a leg past its handshake, with a keeper, closing with a reset as those do; and its far end."""
    ours, theirs = tcp_pair(send_buffer=send_buffer, receive_buffer=receive_buffer)
    sockopts.linger_reset(ours)
    floor.keep(theirs)
    leg = floor.readiness.open(ours, PoolLeg)
    leg.begin(role, "oregon" if role is Role.ACCEPTOR else "mumbai")
    leg.keeper = Keeper()
    return leg, FarEnd(theirs)


def run(floor: Floor, job: Callable[[], object]) -> list[object]:
    """Run `job` in a greenlet; the list gets what it returns, or the error it raises."""
    outcome: list[object] = []

    def body() -> None:
        try:
            outcome.append(job())
        except Exception as error:  # noqa: BLE001  # the test looks at it
            outcome.append(error)

    floor.in_hub(lambda: floor.greenlets.run(body))
    return outcome

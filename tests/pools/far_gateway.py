"""The gateway at the other end of pool legs, spoken for by the test in its own loop: true sockets, a true handshake.

It answers PING, refuses each session that is opened (which ends it in order), and does what breaks legs: falls silent,
leaves, comes back.
"""

import errno
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import gevent

from pools import padding
from pools.frame_bodies import NONCE_BYTES, TRACE_BYTES, Open, Refused, Where
from pools.frames import Role
from pools.handshake import Handshake, OverlayKey
from pools.introduction import introduce
from pools.key_file import written
from pools.leg import PoolLeg
from pools.net import sockopts
from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.errors import MidmileError
from pools.net.readiness import Readiness
from pools.net.resolver import Resolver
from pools.net.transport import Transport, open_stream
from pools.peer import Peer

LIMIT_S: Final = 30.0
KEY: Final = OverlayKey(bytes(range(32)))
NAME: Final = "mumbai"
_TICK_S: Final = 0.005

OPEN: Final = Open(Endpoint("192.0.2.1", 443), (), Endpoint("192.0.2.2", 50_000), bytes(TRACE_BYTES))


def wait_until(fact: Callable[[], object], expected: str = "") -> None:
    """Let the loop run until `fact` holds; what other processes do has to be looked for."""
    hub = gevent.get_hub()
    deadline_s = monotonic_s() + LIMIT_S
    while not fact():
        assert monotonic_s() < deadline_s, f"expected {expected or 'a fact'} in time; found it missing"
        timer = hub.loop.timer(_TICK_S)
        try:
            hub.wait(timer)
        finally:
            timer.close()


def sockets(pid: int) -> int:
    """Count the open sockets of a process."""
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed while we look
            found += os.readlink(descriptor).startswith("socket:")
    return found


def addresses_only() -> Resolver:
    """Give a resolver that needs no threads, since it is asked for addresses only."""
    return Resolver(again_after_s=60.0, on_failure=lambda: None, lookup=socket.getaddrinfo)


def write_key(folder: Path, key: OverlayKey = KEY) -> Path:
    """Write a key file that nobody else may read."""
    path = folder / "overlay.key"
    path.touch(mode=0o600)
    path.write_bytes(written([key]))
    return path


def hold_session(leg: PoolLeg) -> None:
    """Have one session on a lent leg, which the far gateway refuses, and give the leg back."""
    leg.say(OPEN)
    while (answer := leg.hear_answer()) is None:
        leg.wait_readable()
    assert isinstance(answer, Refused)
    leg.finish()


class FarGateway:
    """Accepts legs.

    Attributes:
        legs: authenticated and open, the youngest last.
        met: how many have come so far.
        is_silent: it reads nothing and answers nothing; connections are still taken by its kernel.
    """

    def __init__(
        self, readiness: Readiness, *, name: str = NAME, key: OverlayKey = KEY, transport: Transport = Transport.TCP
    ) -> None:
        self.name = name
        self.legs: list[PoolLeg] = []
        self.met = 0
        self.refused = 0
        self.is_silent = False
        self._key = key
        self._transport = transport
        self._readiness = readiness
        self._strangers: set[PoolLeg] = set()
        self._listen(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.leave()

    def peer(self, **more: object) -> Peer:
        """Give what a gateway knows of this one."""
        wanted: dict[str, object] = {"pool_min": 4, "pool_max": 16, "magazine": 2} | more
        return Peer(self.name, self.endpoint, **wanted)  # type: ignore[arg-type]

    def leave(self) -> None:
        """End as a process does: all sockets are closed."""
        if self._listener.fileno() >= 0:
            self._stop()
            self._listener.close()
        self.drop(len(self.legs))
        for leg in list(self._strangers):
            leg.close()

    def come_back(self) -> None:
        """Start again at the same address."""
        self.is_silent = False
        self._listen(self.endpoint.port)

    def drop(self, count: int) -> None:
        """Close the oldest legs."""
        for leg in self.legs[:count]:
            self._close(leg)

    def leg_at(self, leg: PoolLeg) -> PoolLeg:
        """Give this end of a leg of ours."""
        port = leg.socket.getsockname()[1]
        return next(each for each in self.legs if each.socket.getpeername()[1] == port)

    def _listen(self, port: int) -> None:
        self._listener = open_stream(socket.socket, socket.AF_INET, self._transport)
        sockopts.reuse_address(self._listener)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(128)
        self.endpoint = Endpoint(*self._listener.getsockname())
        self._stop = self._readiness.watch(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        if self.is_silent:
            self._stop()  # what waits in the queue waits on
            self._stop = lambda: None
            return
        accepted, _ = self._listener.accept()
        accepted.setblocking(False)
        gevent.spawn(self._meet, self._readiness.open(accepted, PoolLeg))

    def _meet(self, leg: PoolLeg) -> None:
        self._strangers.add(leg)
        nonce = secrets.token_bytes(NONCE_BYTES)
        try:
            peer = introduce(leg, Handshake(Role.ACCEPTOR, self.name, keys=(self._key,), nonce=nonce))
        except MidmileError:
            leg.close()
            return
        finally:
            self._strangers.discard(leg)
        leg.begin(Role.ACCEPTOR, peer)
        leg.padder = padding.respond
        self.met += 1
        self.legs.append(leg)
        leg.on_readable = partial(self._hear, leg)
        self._hear(leg)

    def _hear(self, leg: PoolLeg) -> None:
        if self.is_silent:
            return
        try:
            while leg.hear_open() is not None:
                self.refused += 1
                leg.say(Refused(self.name, errno.ECONNREFUSED, 1, Where.CONNECT))
        except MidmileError:
            self._close(leg)

    def _close(self, leg: PoolLeg) -> None:
        leg.on_readable = None
        leg.close()
        self.legs.remove(leg)

"""The sessions of one worker among other gateways, inside the test's own process; the test speaks for all of those."""

import errno
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

import gevent
from gevent.event import Event

from pools.egress_rules import EgressRules
from pools.frame_bodies import Body, Open, Opened, Refused, Reset, Where, decode, encode
from pools.frames import Frame, FrameReader, FrameType, Payload, Role, data_header
from pools.leg import PoolLeg
from pools.net import sockopts
from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, Phase, Side
from pools.net.scoreboard import Cell
from pools.path_choice import PathSample
from pools.peer import Peer
from tests.far_end import OPEN, FarEnd, plain
from tests.floor import LIMIT_S, Floor, rest_of, tcp_pair, turn_until
from tests.workers.world import ANY, World
from workers.routing import Path
from workers.session import Session
from workers.settings import Listen, Mode, Timeouts, WorkerSettings

MUMBAI: Final[tuple[Path, ...]] = (("mumbai",),)
ASKER: Final = "virginia"
PEERS: Final = ("mumbai", "singapore", ASKER)


class Far(FarEnd):
    """The other end of a leg, told by what a session is to it.

    Attributes:
        session: the number of the session that was opened last.
    """

    session = 0

    def opened(self) -> Open:
        """Wait for OPEN, which must be what comes next."""
        frame = self.hear()
        assert isinstance(frame, Frame)
        assert frame.type is FrameType.OPEN, frame
        self.session = frame.session
        body = decode(frame)
        assert isinstance(body, Open)
        return body

    def hear_data(self, size: int) -> bytes:
        """Wait for exactly so much payload."""
        data = b""
        while len(data) < size:
            piece = self.hear()
            assert isinstance(piece, Payload), piece
            assert piece.header.session == self.session
            data += piece.part
        assert len(data) == size
        return data

    def hear_fin(self) -> None:
        """Wait for FIN, which must be what comes next."""
        frame = self.hear()
        assert frame == Frame(FrameType.FIN, self.session)

    def tell(self, body: Body) -> None:
        """Say something about the session."""
        self.say(body, self.session)

    def grant(self, gateway: str = "mumbai") -> None:
        """Say that the session is open."""
        self.tell(Opened(gateway, 7))

    def refuse(self, number: int = errno.ECONNREFUSED) -> None:
        """Say that the destination refuses."""
        self.tell(Refused("mumbai", number, 7, Where.CONNECT))

    def say_data(self, data: bytes) -> None:
        """Send payload."""
        self.send(data_header(self.session, len(data)) + data)

    def fin(self) -> None:
        """End this direction."""
        self.send(plain(FrameType.FIN, self.session))

    @property
    def is_quiet(self) -> bool:
        """Whether nothing more has come."""
        try:
            return not (self._rest or self.sock.recv(1, socket.MSG_PEEK))
        except (BlockingIOError, ConnectionResetError):
            return True

    def rest(self) -> tuple[list[Body | FrameType], bytes, str]:
        """Read to the end, and give what was said, the payload, and how it ended."""
        data, how = rest_of(self.sock)
        reader, said, payload = FrameReader(), [], b""
        for item in reader.feed(memoryview(self._rest + data)):
            if isinstance(item, Payload):
                payload += item.part
            else:
                said.append(decode(item) or item.type)
        return said, payload, how


def make_leg(floor: Floor, role: Role, peer: str, **buffers: int) -> tuple[PoolLeg, Far]:
    """Give a leg past its handshake, without a keeper, and its far end."""
    ours, theirs = tcp_pair(**buffers)
    sockopts.linger_reset(ours)
    floor.keep(theirs)
    leg = floor.readiness.open(ours, PoolLeg)
    leg.begin(role, peer)
    return leg, Far(theirs)


class _Slow(Event):  # type: ignore[misc]  # gevent has no types
    """A dial under way.

    Attributes:
        leg: what it gives.
    """

    leg: PoolLeg


class Legs:
    """Lends legs as `pools.broker_client.BrokerClient` does, and is their keeper."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._to_dial: deque[PoolLeg | LegError | Event] = deque()
        self.idle: list[PoolLeg] = []
        self.lent: set[PoolLeg] = set()
        self.dialled: list[str] = []
        self.misses = 0

    def ready(self, peer: str = "mumbai", **buffers: int) -> Far:
        """Have an idle leg, which is taken behind those that are there already."""
        leg, far = make_leg(self._floor, Role.OPENER, peer, **buffers)
        leg.keeper = self
        self.idle.insert(0, leg)
        return far

    def to_dial(self, peer: str = "mumbai", **buffers: int) -> Far:
        """Have the next dial give a leg."""
        leg, far = make_leg(self._floor, Role.OPENER, peer, **buffers)
        self._to_dial.append(leg)
        return far

    def dial_hangs(self) -> Event:
        """Have the next dial wait until the event, and then fail."""
        event = Event()
        self._to_dial.append(event)
        return event

    def dial_is_slow(self, peer: str = "mumbai") -> Callable[[], Far]:
        """Have the next dial wait until what is given is called, and then give a leg."""
        far, event = self.to_dial(peer), _Slow()
        leg = self._to_dial.pop()
        assert isinstance(leg, PoolLeg)
        event.leg = leg
        self._to_dial.append(event)

        def go_on() -> Far:
            event.set()
            return far

        return go_on

    def take(self, peer: str) -> PoolLeg | None:
        for leg in reversed(self.idle):
            if leg.peer == peer:
                self.idle.remove(leg)
                self.lent.add(leg)
                return leg
        self.misses += 1
        return None

    def dial(self, peer: str, *, limit_s: float) -> PoolLeg:
        self.dialled.append(peer)
        outcome = self._to_dial.popleft() if self._to_dial else _refusal(peer, errno.ECONNREFUSED)
        if isinstance(outcome, Event):
            timeout = gevent.Timeout.start_new(limit_s, _refusal(peer, errno.ETIMEDOUT))
            try:
                outcome.wait()
            finally:
                timeout.close()
            outcome = outcome.leg if isinstance(outcome, _Slow) else _refusal(peer, errno.ECONNREFUSED)
        if isinstance(outcome, LegError):
            raise outcome
        outcome.keeper = self
        self.lent.add(outcome)
        return outcome

    def state(self, peer: str) -> PathSample:
        assert peer in PEERS
        return PathSample(is_up=True)

    def regain(self, leg: PoolLeg) -> None:
        assert leg.state.is_reusable
        self.lent.remove(leg)
        self.idle.append(leg)

    def lost(self, leg: PoolLeg) -> None:
        self.lent.remove(leg)

    def close(self) -> None:
        turn_until(lambda: not self.lent)
        for leg in (*self.idle, *(each for each in self._to_dial if isinstance(each, PoolLeg))):
            leg.keeper = None
            leg.close()


def _refusal(peer: str, number: int) -> LegError:
    return LegError(Side.OUTBOUND, Phase.CONNECT, number, f"gateway {peer}", retryable=True)


class Asking:
    """The legs on which another gateway asks for sessions: does what `workers.overlay.Overlay` does, and no more."""

    def __init__(self, floor: Floor, begin: Callable[[PoolLeg, Open], None]) -> None:
        self._floor = floor
        self._begin = begin
        self.idle: set[PoolLeg] = set()
        self.legs: set[PoolLeg] = set()

    def leg(self) -> Far:
        """Let a gateway come in."""
        leg, far = make_leg(self._floor, Role.ACCEPTOR, ASKER)
        leg.keeper = self
        self.legs.add(leg)
        self._floor.in_hub(lambda: self.regain(leg))
        return far

    def regain(self, leg: PoolLeg) -> None:
        assert leg not in self.idle
        self.idle.add(leg)
        leg.on_readable = partial(self._hear, leg)
        self._floor.readiness.defer(partial(self._hear, leg))

    def lost(self, leg: PoolLeg) -> None:
        self.legs.discard(leg)
        self.idle.discard(leg)

    def _hear(self, leg: PoolLeg) -> None:
        if leg in self.idle and (message := leg.hear_open()):
            self.idle.discard(leg)
            leg.on_readable = None
            self._begin(leg, message)

    def close(self) -> None:
        turn_until(lambda: self.idle == self.legs)
        for leg in list(self.idle):
            leg.on_readable = None
            leg.close()


class Crossroads(World):
    """A world in which this gateway is called oregon, and others are there. Close it before the floor.

    Attributes:
        legs: what is lent to sessions.
        clients: those that came, in order.
        asking: where another gateway asks.
    """

    def __init__(
        self,
        floor: Floor,
        *,
        paths: tuple[Path, ...] = MUMBAI,
        allow: tuple[str, ...] = (),
        **more: Any,
    ) -> None:
        self._paths = paths
        self._allow = allow
        self.legs = Legs(floor)
        self.more = {"legs": self.legs}
        super().__init__(floor, **more)
        self.clients: list[socket.socket] = []
        self.asking = Asking(floor, self.sessions.begin_for_peer)

    def settings(self, listen: Listen, timeouts: Timeouts) -> WorkerSettings:
        listens = (replace(listen, paths=self._paths), Listen("overlay", ANY, Mode.OVERLAY, number=1))
        allow = self._allow or (str(self.target),)
        return WorkerSettings(
            listens,
            1,
            1,
            timeouts=timeouts,
            gateway="oregon",
            peers=tuple(Peer(name, Endpoint("192.0.2.1", 7400)) for name in PEERS),
            egress=EgressRules.parse(allow),
        )

    def begin(self, words: bytes = b"") -> socket.socket:
        self.clients.append(super().begin(words))
        return self.clients[-1]

    @property
    def session(self) -> Session:
        """The only one."""
        (session,) = self.sessions
        return session

    @property
    def counts(self) -> dict[str, int]:
        """What was counted of other gateways, without what was not."""
        cells = (Cell.OPENS, Cell.OPENS_REFUSED, Cell.OPEN_RETRIES, Cell.LEGS_STALE, Cell.PEER_PROTOCOL_ERRORS)
        return {cell.name: self.row[cell] for cell in cells if self.row[cell]}

    def ask(self, *via: str, to: Endpoint | None = None, then: bytes = b"") -> Far:
        """Have another gateway ask for a session on a leg of its own, with some payload behind."""
        far = self.asking.leg()
        self.ask_again(far, *via, to=to, then=then)
        return far

    def ask_again(self, far: Far, *via: str, to: Endpoint | None = None, then: bytes = b"") -> None:
        """The same on a leg that is there."""
        far.session += 1
        words = encode(replace(OPEN, destination=to or self.target, via=via), session=far.session)
        far.send(words + (data_header(far.session, len(then)) + then if then else b""))

    def lets_go(self) -> None:
        """Wait until no session lives and no leg is lent."""
        with gevent.Timeout(LIMIT_S):
            turn_until(lambda: not (self.sessions.live or self.sessions.relayed or self.legs.lent))

    def close(self) -> None:
        super().close()
        self.lets_go()
        self.legs.close()
        self.asking.close()


def reset_of(said: tuple[list[Body | FrameType], bytes, str]) -> int:
    """Give the errno of the RESET that ended a leg, which must be its last word."""
    last = said[0][-1]
    assert isinstance(last, Reset), said
    return last.errno


@contextmanager
def crossroads(**more: Any) -> Iterator[Crossroads]:
    """Give a world on a floor of its own."""
    with Floor() as floor:
        world = Crossroads(floor, **more)
        yield world
        world.close()

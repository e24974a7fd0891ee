"""Where other gateways come in: legs of peers in one worker, from accept to their end, while no session has them.

Who a newcomer is, is settled by the door; what a session does with a leg is the session's. Here is what lies between:
hearing the next OPEN, and seeing legs off.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import gevent

from pools import padding
from pools.frame_bodies import Link, Open
from pools.frames import FrameType, Role
from pools.leg import EndOfLeg, PoolLeg
from pools.leg_dial import keep_alive
from pools.net import sockopts
from pools.net.clock import monotonic_s
from pools.net.errors import ProtocolError
from pools.net.rate_limit import OncePer
from pools.net.readiness import Readiness
from pools.net.resolver import SocketAddress
from pools.net.scoreboard import Cell, Row
from pools.net.stream import StreamFailed
from workers.door import Door
from workers.greeting import endpoint_of

_log = logging.getLogger(__name__)

_NOTHING_CHOSEN: Final[Mapping[str, str]] = MappingProxyType({})
_PARTING_S: Final = 60.0  # what timeouts.half_closed is by default
_LOOKS_PER_LIMIT: Final = 20
_AGAIN_S: Final = 1.0  # right behind the handshake GOAWAY would be more than its opener expects there
_WARN_EVERY_S: Final = 10.0


class Overlay:
    """The legs of peers that one worker accepted: a `pools.leg.LegKeeper`. Owns each while no session has it.

    It goes on from one service to the next: who takes over sets the attributes anew.

    Args:
        door: whom newcomers prove themselves to; its `on_peer` is this one's from here on.
        row: where legs are counted.
        congestions: congestion control by peer, for what is sent on its legs; without an entry it stays the system's.
        parting_s: how long an opener may take to end a refused session, or to close a leg after GOAWAY; seconds.

    Attributes:
        room: legs this worker may hold. A newcomer above that is closed at once, so that its gateway hears so at once.
        on_open: called in the hub with a leg and the OPEN that came on it. The session that begins there has the leg
            until it calls `PoolLeg.finish` or `PoolLeg.close`.
        links: gives what openers are told of this gateway's own links.
    """

    def __init__(  # noqa: PLR0913  # two ways out, to sessions and to the operator's limits
        self,
        door: Door,
        *,
        readiness: Readiness,
        room: int,
        row: Row,
        on_open: Callable[[PoolLeg, Open], None],
        links: Callable[[], tuple[Link, ...]] = tuple,
        congestions: Mapping[str, str] = _NOTHING_CHOSEN,
        parting_s: float = _PARTING_S,
    ) -> None:
        self._door = door
        self._readiness = readiness
        self.room = room
        self._row = row
        self.on_open = on_open
        self.links = links
        self._congestions = congestions
        self._parting_s = parting_s
        self._legs: set[PoolLeg] = set()
        self._idle: set[PoolLeg] = set()  # of those, the ones that no session has
        self._parting: dict[PoolLeg, float] = {}  # idle ones that must end by a time, the first to do so first
        self._looks = gevent.get_hub().loop.timer(parting_s / _LOOKS_PER_LIMIT, parting_s / _LOOKS_PER_LIMIT)
        self._again = gevent.get_hub().loop.timer(_AGAIN_S, _AGAIN_S)
        self._draining = self._closed = False
        self._warn = OncePer(_WARN_EVERY_S)
        door.on_peer = self._admit

    def __len__(self) -> int:
        return len(self._legs)

    @property
    def idle(self) -> int:
        """Legs that no session has."""
        return len(self._idle)

    def accept(self, leg: PoolLeg, client: SocketAddress) -> None:
        """Take a connection just accepted, which nobody knows yet; in the hub."""
        if self._closed:
            leg.close()
        elif len(self._legs) >= self.room:
            leg.close()
            self._tell("takes no leg of %s: has %d, as many as it may", endpoint_of(client), len(self._legs))
        else:
            self._door.knock(leg, client)

    def regain(self, leg: PoolLeg) -> None:
        """Take a leg back from its session, which ended there in order or was refused; see `PoolLeg.finish`.

        What a refused session's opener still sends is thrown away up to its FIN. What has come already is looked at
        in the hub soon: no edge may tell of it any more.
        """
        self._idle.add(leg)
        leg.on_readable = partial(self._hear, leg)
        self._look_after(leg)

    def lost(self, leg: PoolLeg) -> None:
        """Forget a leg that was closed."""
        if leg in self._legs:
            self._legs.discard(leg)
            self._row.add(Cell.LEGS_INBOUND, -1)
        self._parting.pop(leg, None)
        if leg in self._idle:
            self._idle.discard(leg)
            leg.on_readable = None

    def choose(self, congestions: Mapping[str, str]) -> None:
        """Go by another choice of congestion control, by peer; in the hub. Legs that it changes for hear GOAWAY."""
        before, self._congestions = self._congestions, congestions
        for leg in list(self._legs):
            if congestions.get(leg.peer) != before.get(leg.peer):
                self._dismiss(leg)

    def drain(self) -> None:
        """Say GOAWAY on every leg; in the hub. Openers close them once they are idle.

        An OPEN that was on its way still comes to `on_open`. So do those of gateways that are at the door already, or
        come before they have heard of it: they are let in, and hear it a moment later.
        """
        self._draining = True
        for leg in list(self._legs):
            self._dismiss(leg)

    def close(self) -> None:
        """Close all legs that no session has, in order, and those that come back later."""
        self._draining = self._closed = True
        self._door.close()
        for leg in list(self._idle):
            _part(leg)
        for timer in (self._looks, self._again):
            timer.stop()
            timer.close()

    def _admit(self, leg: PoolLeg, peer: str) -> None:
        keep_alive(leg)
        leg.begin(Role.ACCEPTOR, peer)
        self._choose_congestion(leg)
        leg.keeper = self
        leg.links = self._our_links
        leg.padder = padding.respond
        self._legs.add(leg)
        self._row.add(Cell.LEGS_ACCEPTED)
        self._row.add(Cell.LEGS_INBOUND)
        if self._draining:
            self._again.again(self._dismiss_late)
        self.regain(leg)

    def _dismiss_late(self) -> None:
        self._again.stop()
        self.drain()

    def _our_links(self) -> tuple[Link, ...]:
        return self.links()

    def _choose_congestion(self, leg: PoolLeg) -> None:
        if name := self._congestions.get(leg.peer):
            try:
                sockopts.congestion(leg.socket, name)
            except sockopts.OptionError as error:
                self._tell("a leg of gateway %s keeps the system's congestion control: %s", leg.peer, error)

    def _hear(self, leg: PoolLeg) -> None:
        """Look at what has come on an idle leg; in the hub."""
        if leg not in self._idle:  # a session has it, or it was closed, since this was put off
            return
        try:
            body = leg.hear_open()
        except EndOfLeg:
            _part(leg)
        except StreamFailed:
            leg.close()
        except ProtocolError as error:
            self._expel(leg, str(error))
        else:
            self._look_after(leg) if body is None else self._begin(leg, body)

    def _begin(self, leg: PoolLeg, body: Open) -> None:
        self._idle.discard(leg)
        self._parting.pop(leg, None)
        leg.on_readable = None
        self.on_open(leg, body)

    def _look_after(self, leg: PoolLeg) -> None:
        """See to it that an idle leg is heard soon if there is something to hear, and ends if it must."""
        if self._closed:
            _part(leg)
        elif leg.state.is_spent:
            leg.close()
        else:
            self._limit(leg)
            if leg.rest or leg.readable:
                self._readiness.defer(partial(self._hear, leg))

    def _limit(self, leg: PoolLeg) -> None:
        if not (leg.state.in_session or leg.state.going_away):
            self._parting.pop(leg, None)
        elif leg not in self._parting:
            self._parting[leg] = monotonic_s() + self._parting_s
            if len(self._parting) == 1:
                self._looks.again(self._see_off)

    def _see_off(self) -> None:
        """Close the legs whose time is over."""
        now_s = monotonic_s()
        for leg in [leg for leg, until_s in self._parting.items() if now_s >= until_s]:
            if leg.state.in_session:
                self._expel(leg, f"expected the end of a refused session within {self._parting_s:g} s; found none")
            else:
                _part(leg)
        if not self._parting:
            self._looks.stop()

    def _dismiss(self, leg: PoolLeg) -> None:
        try:
            if not leg.state.is_spent and Role.ACCEPTOR not in leg.state.going_away:
                leg.say_plain(FrameType.GOAWAY)
        except (StreamFailed, ProtocolError):  # broken, or nobody reads there: its session will see it
            if leg in self._idle:
                leg.close()
        else:
            if leg in self._idle:
                self._look_after(leg)

    def _expel(self, leg: PoolLeg, reason: str) -> None:
        leg.close()
        self._row.add(Cell.PEER_PROTOCOL_ERRORS)
        self._tell("closes a leg of gateway %s: %s", leg.peer, reason)

    def _tell(self, line: str, *values: object) -> None:
        if self._warn.allow(monotonic_s()):
            _log.warning(line + " (%d such lines not shown)", *values, self._warn.suppressed)


def _part(leg: PoolLeg) -> None:
    """Close in order. What is owed, and what still comes, must not make the end look like a reset."""
    leg.close_after(bytes(leg.owed))

"""All live sessions of one service: beginning and ending them, and what they share."""

import errno
import logging
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Final

from pools.frame_bodies import Open
from pools.leg import PoolLeg
from pools.net.clock import monotonic_s
from pools.net.errors import Phase
from pools.net.pump import PumpRoom
from pools.net.rate_limit import OncePer
from pools.net.resets import Resets
from pools.net.resolver import SocketAddress
from pools.net.scoreboard import Cell
from pools.net.stream import Stream
from pools.path_choice import PathSample
from workers.access_log import AccessLog, EndedBy
from workers.egress import Egress
from workers.greeting import endpoint_of
from workers.peer_greeting import Refusal
from workers.relay import Relay
from workers.routing import Routes
from workers.session import Session
from workers.session_record import record_of
from workers.settings import WorkerSettings
from workers.source_limit import SourceCounts
from workers.tally import Tally
from workers.watch import Watch

if TYPE_CHECKING:
    from pools.broker_client import BrokerClient
    from workers.early_syn import EarlySyn

_log = logging.getLogger(__name__)

_WARN_EVERY_S: Final = 10.0
_BY_ERRNO: Final = {
    errno.ECONNREFUSED: Cell.CONNECT_REFUSED,
    errno.ETIMEDOUT: Cell.CONNECT_TIMED_OUT,
    errno.EHOSTUNREACH: Cell.CONNECT_UNREACHABLE,
    errno.ENETUNREACH: Cell.CONNECT_UNREACHABLE,
}
_REFUSED: Final = {errno.EACCES: Cell.AUTH_FAILED, errno.ELOOP: Cell.NOT_CAPTURED}
_BROKEN: Final = {EndedBy.INBOUND: Cell.RESET_BY_INBOUND, EndedBy.OUTBOUND: Cell.RESET_BY_OUTBOUND}


class Sessions:
    """The sessions of one service. Owns each from `begin` until the session calls `ended`.

    Args:
        slot: the worker's, for session ids.
        sources: sessions per client address; None when they are not limited.
        log: None when no line is wanted.
        routes: the paths of each listener; None where every session is dialled for from here.
        legs: legs to other gateways; None where there are none.
        numbers: for session ids; where other services number theirs, too, they share them.

    Attributes:
        early: begins sessions before they are accepted; None where nothing does.
        limit: how many the worker may have, those of other services too; the acceptor keeps to it for clients, this for
            other gateways.
        live: how many there are.
        relayed: how many of them a relay carries; each session says so itself.
        on_exhausted: called with the errno when a session ends because we have no descriptor left for it.
        on_end: called after each session's end, for whoever waits for room.
    """

    def __init__(  # noqa: PLR0913  # what all sessions share comes together here
        self,
        settings: WorkerSettings,
        *,
        slot: int,
        room: PumpRoom,
        resets: Resets,
        egress: Egress,
        tally: Tally,
        sources: SourceCounts | None,
        log: AccessLog | None,
        routes: Routes | None = None,
        legs: "BrokerClient | None" = None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self.listens = settings.listens
        self.timeouts = settings.timeouts
        self.gateway = settings.gateway
        self.rules = settings.egress
        self.peers = frozenset(peer.name for peer in settings.peers)
        self.routes = routes or Routes(settings.listens, lambda _: PathSample(is_up=True))
        self.legs = legs
        self.count = tally.count
        self.room = room
        self.resets = resets
        self.egress = egress
        self.watch = Watch(settings.timeouts, settings.keepalive, count=tally.count, count_bytes=self._count_bytes)
        self.early: EarlySyn | None = None
        self.live = self.relayed = 0
        self.limit = sys.maxsize
        self.on_exhausted: Callable[[int], None] = lambda _: None
        self.on_end: Callable[[], None] = lambda: None
        self._slot = slot
        self._tally = tally
        self._tallies = tally.of(settings.listens)
        self._sources = sources
        self._log = log
        self._numbers = numbers or count(1)
        self._warn = OncePer(_WARN_EVERY_S)

    def __iter__(self) -> Iterator[Session]:
        return iter(self.watch)

    def begin(self, inbound: Stream, *, client: SocketAddress, listen_index: int) -> None:
        """Start a session on a leg just accepted, unless its source has as many as it may; in the hub."""
        ahead = None if self.early is None else self.early.claim(inbound, client, listen_index)
        if self._sources is not None and not self._sources.admit(client[0]):
            self._tally.count(Cell.SOURCE_REFUSED)
            inbound.close()
            if ahead is not None:
                ahead.cancel()
            return
        number = next(self._numbers)
        session = Session(self, inbound, client=client, listen_index=listen_index, number=number)
        if ahead is not None:
            session.join(ahead)
        self._start(session)

    def welcomes(self, host: str) -> bool:
        """Tell whether a session of the client at `host` would begin now, as far as its source goes."""
        return self._sources is None or self._sources.has_room(host)

    def begin_for_peer(self, leg: PoolLeg, message: Open) -> None:
        """Start a session that another gateway asks for on its leg; in the hub."""
        self.count(Cell.OPENS)
        client: SocketAddress = (message.client.host, message.client.port)
        listen_index = len(self.listens) - 1  # the overlay's listener is the last
        number = next(self._numbers)
        session = Session(self, leg, client=client, listen_index=listen_index, number=number, origin=message)
        self._start(session)

    def _start(self, session: Session) -> None:
        self.live += 1
        self._tally.live += 1
        tally = self._tallies[session.listen_index]
        tally.live += 1
        tally.total += 1
        self.watch.add(session)
        session.start()

    @property
    def full(self) -> int:
        """The errno of why another gateway may open no session now; 0 while it may. See `begin_for_peer`."""
        return errno.EUSERS if self._tally.live > self.limit else 0

    @property
    def setting_up(self) -> int:
        """How many no relay carries yet."""
        return self.live - self.relayed

    def ended(self, session: Session, who: EndedBy, number: int) -> None:
        """Count, log and forget a session whose legs are about to be closed; called by it, once."""
        self.live -= 1
        self._tally.live -= 1
        self.watch.discard(session)
        if self._sources is not None and session.origin is None:
            self._sources.release(session.client[0])
        self._count(session, who, number)
        if self._log is not None:
            dropped = self._log.add(record_of(session, who, number, slot=self._slot))
            if dropped:
                self._tally.count(Cell.LOG_LINES_DROPPED, dropped)
        if number in (errno.EMFILE, errno.ENFILE):
            self.on_exhausted(number)
        self.on_end()

    def kill_all(self) -> None:
        """Reset what is left, by the operator's word; in the hub."""
        for session in list(self.watch):
            session.kill(EndedBy.KILLED)

    def _count(self, session: Session, who: EndedBy, number: int) -> None:
        tally = self._tallies[session.listen_index]
        tally.live -= 1
        if session.relay is not None:
            self.relayed -= 1
            self._count_bytes(session, session.relay)
        else:
            tally.failed += 1
        if number == errno.ELOOP and who is EndedBy.REFUSED and session.listen.captures:
            self._tell_straight(session)
        if number == errno.EPROTO:  # the kernel has no such error for TCP: a peer's frames made no sense
            self._tally.count(Cell.PEER_PROTOCOL_ERRORS)
        if isinstance(session.failed, Refusal):  # counted already, as a session that a peer asked for
            return
        if who is not EndedBy.NORMAL and (cell := end_cell(session.phase, who, number)) is not None:
            self._tally.count(cell)

    def _tell_straight(self, session: Session) -> None:
        if self._warn.allow(monotonic_s()):
            text = "listener %s: reset a connection of %s, made to it and not led here by the firewall (%d not shown)"
            _log.warning(text, session.listen.name, endpoint_of(session.client), self._warn.suppressed)

    def _count_bytes(self, session: Session, relay: Relay) -> None:
        forward, backward = session.untold_bytes(relay)
        tally = self._tallies[session.listen_index]
        tally.forward_bytes += forward
        tally.backward_bytes += backward


def end_cell(phase: Phase, who: EndedBy, number: int) -> Cell | None:
    """Say which total counts an end that was not in order; None where another place counts it already."""
    if who is EndedBy.INTERNAL:
        return Cell.INTERNAL_ERRORS
    if who is EndedBy.KILLED:  # nobody's failure
        return None
    if phase is Phase.REQUEST:
        return _request_cell(who, number)
    if phase is Phase.RESOLVE:
        return Cell.RESOLVE_FAILED
    if phase is Phase.CONNECT:
        return _BY_ERRNO.get(number, Cell.CONNECT_FAILED) if who is not EndedBy.INBOUND else Cell.RESET_BY_INBOUND
    return _BROKEN.get(who)


def _request_cell(who: EndedBy, number: int) -> Cell | None:
    if who is EndedBy.INBOUND_TIMEOUT:
        return Cell.HANDSHAKE_TIMED_OUT
    if who is EndedBy.REFUSED:
        return _REFUSED.get(number, Cell.BAD_REQUESTS)
    return Cell.RESET_BY_INBOUND if number else Cell.NULL_SESSIONS

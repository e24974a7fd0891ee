"""Sets one session up, from its first words to two connected legs, in a greenlet that is told from top to bottom.

What has to be waited for is here: the client's words, the resolver, the connection, the answer of a gateway further on.
The session that has nothing of that to wait for but one connection does without (`Session.start`).
"""

import errno
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Final

import gevent
from greenlet import getcurrent, greenlet

from pools.frame_bodies import TRACE_BYTES, Open, Opened, Where
from pools.leg import PoolLeg
from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, Phase, ProtocolError, Side
from pools.net.scoreboard import Cell
from pools.net.stream import StreamClosed, StreamFailed
from workers import head_start
from workers.access_log import EndedBy
from workers.crossing import Crossing, LegBroke
from workers.greeting import Greeting, endpoint_of
from workers.ingress.conversation import NotCaptured, Request
from workers.peer_greeting import PeerGreeting, Refusal
from workers.preconnect import ready_for
from workers.preserved_source import source_of
from workers.routing import Path
from workers.settings import ProxyHeader

if TYPE_CHECKING:
    from pools.broker_client import BrokerClient
    from workers.session import Session

_log = logging.getLogger(__name__)

_TRY_MIN_S: Final = 1.0
_ELSEWHERE: Final = Endpoint("0.0.0.0", 0)  # the address that a gateway further on dialled from is not known here


class SettingUp:
    """One session's way to its relay. Borrows the session and what it owns."""

    __slots__ = ("_crossing", "_gone", "_greenlet", "_is_asking", "_session", "_words")

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._greenlet: greenlet | None = None
        self._crossing: Crossing | None = None
        self._gone: LegError | None = None
        self._is_asking = False  # without a greenlet
        self._words = b""

    def start(self) -> None:
        """Begin, in the hub."""
        if not self._ask_at_once():
            self._session.room.greenlets.run(self.run)

    def run(self) -> None:
        """Learn the destination, reach it, and hand both legs to a relay."""
        session = self._session
        greeting = session.greeting
        self._greenlet = getcurrent()
        try:
            request = self._hear(greeting)
            self._reach(request)
        except LegError as error:
            session.refuse(error)
        except ProtocolError as error:
            if error.reply:
                session.inbound.close_after(error.reply)
            session.end(EndedBy.REFUSED, error.errno)
        except StreamFailed as failure:
            session.end(EndedBy.INBOUND, failure.errno)
        except StreamClosed:  # ended from outside
            pass
        except Exception:  # noqa: BLE001  # the top of a session
            _log.exception("session from %s: an error nobody expected", endpoint_of(session.client))
            session.end(EndedBy.INTERNAL)
        finally:
            self._greenlet = None

    def interrupt(self, error: LegError | StreamClosed) -> None:
        """Break off; in the hub, where the greenlet that may be busy here is parked."""
        if self._greenlet is not None:
            self._greenlet.throw(error)
        elif self._is_asking:
            self._is_asking = False
            assert self._crossing is not None
            self._crossing.give_up(error.errno if isinstance(error, LegError) else errno.ECONNABORTED)
            if isinstance(error, LegError):
                self._session.refuse(error)

    def let_go(self) -> None:
        """Untie what this, the crossing and its pump hold of each other, so that no collector is needed.

        What was begun before the client was accepted, and not used, is cancelled.
        """
        crossing, self._crossing = self._crossing, None
        if crossing is not None:
            crossing.forward = None
        ahead, self._session.ahead = self._session.ahead, None
        if ahead is not None:  # what of it was not wanted
            ahead.cancel()

    def _ask_at_once(self) -> bool:
        """Do without a greenlet where a leg of the pool is at hand, and there is nothing to wait for but its answer.

        It saves a fifth of what a short session through another gateway costs.
        """
        session = self._session
        path = self._only_path()
        if not path or session.legs is None or not session.knows(path[0]):
            return False
        try:
            request = self._hear(session.greeting)
        except LegError as error:
            session.refuse(error)
            return True
        except NotCaptured:  # `run` has the words for it
            return False
        crossing = self._prepare(path, session.legs)
        ahead = head_start.through(session.ahead, path)
        if ahead is not None and not ahead.has_leg:
            return False  # it is dialled
        leg = session.legs.take(path[0]) if ahead is None else ahead.take()
        if leg is None:
            crossing.dials = True
            return False
        self._is_asking = True
        message = self._message(path, request) if ahead is None else None
        crossing.begin(leg, message, partial(self._answered, leg))
        return True

    def _only_path(self) -> Path:
        """Give the path through other gateways of a session that has no other, and of which nobody has to be heard."""
        session = self._session
        listen, paths = session.listen, session.paths()
        is_told = listen.to is not None or listen.captures
        if session.origin is None and (not is_told or listen.accept_proxy or listen.send_proxy is not ProxyHeader.OFF):
            return ()
        return paths[0] if len(paths) == 1 else ()

    def _answered(self, leg: PoolLeg, answer: Opened | LegError) -> None:
        """Go on with what came on the leg that was asked at once; in the hub."""
        if not self._is_asking:
            return
        self._is_asking = False
        session = self._session
        try:
            self._go_on(leg, answer)
        except LegError as error:
            session.refuse(error)
        except Exception:  # noqa: BLE001  # the top of a session, as in `run`
            _log.exception("session from %s: an error nobody expected", endpoint_of(session.client))
            session.end(EndedBy.INTERNAL)

    def _go_on(self, leg: PoolLeg, answer: Opened | LegError) -> None:
        if isinstance(answer, LegBroke):
            self._leg_was_stale()
            self._session.room.greenlets.run(self.run)
        elif isinstance(answer, LegError):  # not raised: its traceback and this frame would hold each other
            self._session.refuse(answer)
        else:
            self._opened(answer, leg)

    def _hear(self, greeting: Greeting | PeerGreeting) -> Request:
        session = self._session
        try:
            request = greeting.hear()
        finally:
            if isinstance(greeting, Greeting):
                session.proxied = greeting.proxied  # for the log, even where the rest made no sense
        session.destination = request.destination
        session.requested_s = session.resolved_s = session.requested_s or monotonic_s()  # what is heard again is old
        if isinstance(greeting, Greeting):
            self._words = greeting.words(request, session.client)
        return request

    def _reach(self, request: Request) -> None:
        """Try one path after another, each but the last with its share of the time that is left."""
        session = self._session
        session.phase = Phase.CONNECT  # from here its deadline is that of connecting, of which each try gets its share
        paths = session.paths()
        for left in range(len(paths), 0, -1):
            try:
                self._take(paths[-left], request, left)
            except LegError as error:
                if left == 1 or not error.retryable:
                    raise
                session.count(Cell.OPEN_RETRIES)
            else:
                return

    def _take(self, path: Path, request: Request, left: int) -> None:
        self._check_gone()
        now_s = monotonic_s()
        share_s = max(_TRY_MIN_S, (self._session.deadline_s - now_s) / left)
        if path:
            self._cross(path, request, now_s + share_s)
        else:
            self._dial_within(request, share_s if left > 1 else None)
            self._dialled(request)

    def _dial_within(self, request: Request, limit_s: float | None) -> None:
        """Dial from here; without a limit, up to the session's deadline, at which the error comes from outside."""
        timeout = gevent.Timeout.start_new(limit_s)
        try:
            self._dial(request)
        except gevent.Timeout as fired:
            if fired is not timeout:
                raise
            target = str(request.destination)
            raise LegError(Side.OUTBOUND, self._session.phase, errno.ETIMEDOUT, target, retryable=True) from None
        finally:
            timeout.close()

    def _dial(self, request: Request) -> None:
        session = self._session
        egress, greeting = session.egress, session.greeting
        session.via = ()
        if self._join(request.destination):
            return
        session.check_inbound()
        if (ready := ready_for(session, request.destination)) is not None:
            session.outbound = ready.stream
            session.both_connected(ready.sockaddr)
            return
        session.phase = Phase.RESOLVE
        addresses = egress.resolve(request.destination)
        if isinstance(greeting, PeerGreeting):
            addresses = greeting.allowed(addresses)
        session.resolved_s = monotonic_s()
        session.phase = Phase.CONNECT
        session.check_inbound()  # it may have left while the name was looked up
        session.inbound.on_readable = session.inbound_stirs
        limit_s, source = session.deadline_s, source_of(session)
        outbound, address = egress.connect(request.destination, addresses, deadline_s=limit_s, source=source)
        session.outbound = outbound
        session.both_connected(address)

    def _join(self, destination: Endpoint) -> bool:
        """Go on with the connection that was begun before the client was accepted; False where there is none."""
        session, ahead = self._session, head_start.from_here(self._session.ahead)
        if ahead is None:
            return False
        session.phase = Phase.CONNECT
        session.inbound.on_readable = session.inbound_stirs
        outbound = ahead.connected(lambda leg: session.egress.finish(destination, leg))
        if outbound is None:
            return False
        session.outbound = outbound
        session.both_connected(ahead.address.sockaddr, at_s=ahead.answered_s)
        return True

    def _dialled(self, request: Request) -> None:
        session = self._session
        greeting, outbound = session.greeting, session.outbound
        assert outbound is not None  # it was just dialled
        words = self._words if self._crossing is None else self._crossing.said()
        try:
            outbound.send_all(words)
        except StreamFailed as failure:
            raise LegError(Side.OUTBOUND, Phase.DATA, failure.errno, str(request.destination)) from failure
        if isinstance(greeting, PeerGreeting):
            greeting.grant()
        else:
            greeting.grant(endpoint_of(outbound.socket.getsockname()))
            if self._crossing is not None and self._crossing.heard_end:
                session.inbound.readable = True  # its end is to be read again, by the pump that passes it on
        self._start_relay(len(words))

    def _cross(self, path: Path, request: Request, until_s: float) -> None:
        session = self._session
        legs = session.legs
        if legs is None or not session.knows(path[0]):
            raise Refusal(Where.PATH, errno.EHOSTUNREACH, f"gateway {path[0]}")
        crossing, message = self._prepare(path, legs), self._message(path, request)
        ahead = head_start.through(session.ahead, path)
        leg, opened = crossing.through(path[0], message, until_s=until_s, ahead=ahead)
        self._opened(opened, leg)

    def _prepare(self, path: Path, legs: "BrokerClient") -> Crossing:
        session = self._session
        session.phase = Phase.CONNECT
        session.via = path
        session.inbound.on_readable = session.inbound_stirs
        if self._crossing is None:
            self._crossing = Crossing(
                session.inbound,
                legs=legs,
                room=session.room,
                resets=session.resets,
                words=self._words,
                on_stale=self._leg_was_stale,
                on_gone=self._inbound_gone,
            )
        return self._crossing

    def _opened(self, opened: Opened, leg: PoolLeg) -> None:
        session, crossing = self._session, self._crossing
        assert crossing is not None
        assert crossing.forward is not None
        greeting = session.greeting
        session.outbound = leg
        session.opened = opened
        ahead = head_start.through(session.ahead, session.via)
        session.both_connected(leg.address, at_s=0.0 if ahead is None else ahead.answered_s)
        if isinstance(greeting, PeerGreeting):
            greeting.grant(opened, is_followed=leg.unread_bytes(at_most=1) > 0)
        else:
            greeting.grant(_ELSEWHERE)
        self._check_gone()
        session.make_relay(crossing.forward)
        session.room.readiness.defer(session.start_relay)

    def _start_relay(self, said: int) -> None:
        session = self._session
        session.make_relay(None)
        assert session.relay is not None
        session.relay.forward.moved_bytes = said  # what came together with the request has gone ahead
        session.room.copied_bytes += said
        session.room.readiness.defer(session.start_relay)

    def _message(self, path: Path, request: Request) -> Open:
        session = self._session
        origin = session.origin
        if origin is not None:
            return Open(request.destination, path[1:], origin.client, origin.trace_id)
        session.trace_id = session.trace_id or os.urandom(TRACE_BYTES)
        return Open(request.destination, path[1:], session.proxied or endpoint_of(session.client), session.trace_id)

    def _leg_was_stale(self) -> None:
        self._session.ahead = None  # if there was one, this was its leg
        self._session.count(Cell.LEGS_STALE)
        self._session.count(Cell.OPEN_RETRIES)
        self._check_gone()

    def _check_gone(self) -> None:
        if self._gone is not None:
            raise self._gone

    def _inbound_gone(self, number: int) -> None:
        """Give up soon: this may be called in the greenlet of a pump, which must come to its own end."""
        error = LegError(Side.INBOUND, self._session.phase, number, "the client left while its leg was opened")
        self._gone = error  # should the answer come first
        self._session.room.readiness.defer(partial(self.interrupt, error))

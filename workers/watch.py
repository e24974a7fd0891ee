"""Looks after live sessions by the clock: late set-ups, idle and half-closed relays, options only long-lived legs need.

Nothing here is touched per byte or per event. A session is looked at a few times per limit, and what it moved since
the last look tells whether it was idle; spliced bytes count like any others.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final

from pools.leg import PoolLeg
from pools.leg_dial import USER_TIMEOUT_S
from pools.net import sockopts
from pools.net.clock import monotonic_s
from pools.net.errors import Phase
from pools.net.keepalive import Keepalive
from pools.net.scoreboard import Cell
from pools.net.stream import Stream
from pools.net.timer_wheel import TimerWheel
from pools.net.transport import unheard_s
from workers.access_log import EndedBy
from workers.relay import Relay
from workers.session import Session
from workers.settings import Timeouts

TICK_S: Final = 0.1
_FIRST_LOOK_S: Final = 5.0  # most sessions are over by then and never cost a look
_SET_UP_LOOK_S: Final = 0.25
_LOOKS_PER_LIMIT: Final = 8  # so a limit is kept to within an eighth of itself


class Watch:
    """The live sessions of one worker, each with the time of its next look.

    Args:
        count: told of each session that is ended here, for a counter.
        count_bytes: told of each relay at each look, so that totals grow while a long transfer lives.
    """

    def __init__(
        self,
        timeouts: Timeouts,
        keepalive: Keepalive,
        *,
        count: Callable[[Cell], None],
        count_bytes: Callable[[Session, Relay], None],
    ) -> None:
        self._timeouts = timeouts
        self._keepalive = keepalive
        self._count = count
        self._count_bytes = count_bytes
        self._wheel: TimerWheel[Session] = TimerWheel(TICK_S, monotonic_s())
        self._first_s = min(_FIRST_LOOK_S, timeouts.connect, timeouts.handshake, _period_s(timeouts))
        self._every_s = _period_s(timeouts)

    def __len__(self) -> int:
        return len(self._wheel)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._wheel)

    def add(self, session: Session) -> None:
        """Begin to watch a session that was just accepted."""
        self._wheel.add(session, session.began_s + self._first_s)

    def discard(self, session: Session) -> None:
        """Forget a session that has ended."""
        self._wheel.discard(session)

    def look(self) -> None:
        """Look at the sessions whose time has come; in the hub, once a tick."""
        now_s = monotonic_s()
        for session in self._wheel.expired(now_s):
            if session.relay is None:
                self._look_at_set_up(session, now_s)
            else:
                self._look_at_relay(session, session.relay, now_s)

    def _look_at_set_up(self, session: Session, now_s: float) -> None:
        self._wheel.add(session, min(max(session.deadline_s, now_s), now_s + _SET_UP_LOOK_S))
        if now_s >= session.deadline_s:
            session.time_out()

    def _look_at_relay(self, session: Session, relay: Relay, now_s: float) -> None:
        if session.watched < 0 and session.outbound is not None and not session.via:  # legs to gateways have their own
            self._keep_alive(session.outbound)
        if session.moved_on(relay):
            session.active_s = now_s
            self._count_bytes(session, relay)
        elif (leg := _given_up(session)) is not None:
            session.kill(EndedBy.INBOUND_TIMEOUT if leg is session.inbound else EndedBy.OUTBOUND_TIMEOUT)
            return
        half_closed = relay.phase is Phase.LAST
        limit_s = self._timeouts.half_closed if half_closed else self._timeouts.idle
        if limit_s and now_s - session.active_s >= limit_s:
            self._count(Cell.HALF_CLOSED_TIMED_OUT if half_closed else Cell.IDLE_TIMED_OUT)
            session.kill(EndedBy.OUTBOUND_TIMEOUT if relay.forward.ended else EndedBy.INBOUND_TIMEOUT)
            return
        self._wheel.add(session, now_s + self._every_s)

    def _keep_alive(self, outbound: Stream) -> None:
        """Set what inbound legs have from their listener; only a leg that lives needs it, so it waits until now."""
        k = self._keepalive
        sockopts.keepalive(outbound.socket, idle_s=k.idle, interval_s=k.interval, probes=k.probes)
        sockopts.user_timeout(outbound.socket, k.user_timeout)


def _given_up(session: Session) -> PoolLeg | None:
    """Give the session's leg on which another gateway has been silent for too long; of MPTCP, see `keep_alive`."""
    for leg in (session.inbound, session.outbound):
        if isinstance(leg, PoolLeg) and leg.fd >= 0 and leg.unsent_bytes and unheard_s(leg.socket) >= USER_TIMEOUT_S:
            return leg
    return None


def _period_s(timeouts: Timeouts) -> float:
    limits = [limit_s for limit_s in (timeouts.idle, timeouts.half_closed) if limit_s]
    return max(TICK_S, min(limits, default=math.inf) / _LOOKS_PER_LIMIT) if limits else _FIRST_LOOK_S

"""The leg on which a peer is probed: dialled, kept and dialled again here, and never lent.

`pools.link_health` says when a probe is due and what its answer, or the want of one, tells.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

import gevent
from gevent import Greenlet

from pools import idle_leg
from pools.frame_bodies import Link, Ping
from pools.leg import PoolLeg
from pools.leg_dial import HANDSHAKE_S, LegDialler
from pools.link_health import LinkHealth, LinkState
from pools.net.clock import monotonic_s
from pools.net.errors import LegError, ProtocolError
from pools.net.stream import StreamFailed
from pools.peer import Peer

_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 4.0
"""Between two attempts to reach a peer. Sessions wait for nothing else to take its path again, so it is short."""


class LinkProbe:
    """Probes one peer for as long as it lives, in the hub. Owns its leg.

    Args:
        peer: whom to probe.
        dialler: makes its legs.
        on_change: called with the old state and the new one.
        on_failure: called with the error of an attempt that made no leg.

    Attributes:
        health: what is known of the link.
    """

    def __init__(
        self,
        peer: Peer,
        *,
        dialler: LegDialler,
        on_change: Callable[[LinkState, LinkState], object],
        on_failure: Callable[[LegError], object],
    ) -> None:
        self.health = LinkHealth()
        self._peer = peer
        self._dialler = dialler
        self._on_change = on_change
        self._on_failure = on_failure
        self._chance = Random()
        self._leg: PoolLeg | None = None
        self._pinged = 0  # the probe that the last PING stands for
        self._failures = 0
        self._is_closed = False
        self._dialling: Greenlet | None = None
        self._timer = gevent.get_hub().loop.timer(0.0)

    def __repr__(self) -> str:
        return f"<LinkProbe {self._peer.name} {self.health.state} {self._leg!r}>"

    @property
    def leg(self) -> PoolLeg | None:
        """The leg that is probed on, which stays ours; None while there is none."""
        return self._leg

    @property
    def links(self) -> tuple[Link, ...]:
        """The peer's own links, as it told of them last; none while nothing leads there."""
        return self._leg.told_links if self._leg is not None else ()

    def start(self) -> None:
        """Probe now and from now on."""
        self._look()

    def close(self) -> None:
        """Stop, and close the leg; in the hub."""
        self._is_closed = True
        self._timer.stop()
        self._timer.close()
        if self._dialling:
            self._dialling.kill(block=False)
        self._drop_leg()

    def _look(self) -> None:
        """Give up what is overdue, send what is due, and come back in time."""
        now_s = monotonic_s()
        self._turn_to(self.health.judged(now_s))
        if self.health.next_probe_s <= now_s:
            self._probe(now_s)
        self._timer.stop()
        self._timer.close()
        self._timer = gevent.get_hub().loop.timer(max(0.001, self.health.wake_s - now_s))
        self._timer.start(self._look)

    def _probe(self, now_s: float) -> None:
        """Send a probe. While a leg is dialled, or a PING waits, it has nothing to go on, and shares that one's fate.

        The wire allows one PING at a time; TCP repeats it, so a second one would tell no more.
        """
        self._turn_to(self.health.probed(now_s=now_s, jitter=self._chance.random()))
        if self._leg is None:
            if not self._dialling:
                self._dialling = gevent.spawn(self._dial)
        elif not self._leg.state.awaits_pong:
            self._ping(self._leg, now_s)

    def _ping(self, leg: PoolLeg, now_s: float) -> None:
        self._pinged = self.health.waiting[-1].number
        try:
            leg.say(Ping(self._pinged, int(now_s * 1e6)))
        except (StreamFailed, ProtocolError):
            self._broken(leg)

    def _hear(self, leg: PoolLeg) -> None:
        is_open = idle_leg.is_sound(leg) or not leg.readable  # GOAWAY forbids sessions, not probes
        if not leg.state.awaits_pong and self._pinged:
            self._answered(self._pinged)
        if not is_open and self._leg is leg:
            self._broken(leg)

    def _answered(self, number: int) -> None:
        self._pinged = 0
        now_s = monotonic_s()
        self._turn_to(replace(self.health.judged(now_s).answered(number, now_s=now_s), waiting=()))

    def _dial(self) -> None:
        try:
            leg = self._dialler.dial(self._peer, limit_s=HANDSHAKE_S)
        except LegError as error:
            if not self._is_closed:
                self._on_failure(error)
                self._failed()
            return
        if self._is_closed:  # it was there before it could be called off
            idle_leg.retire(leg)
            return
        self._failures = 0
        self._leg = leg
        leg.on_readable = lambda: self._hear(leg)
        self._try_again(self.health, pause_s=0.0)  # a dial takes several round trips; the PING that follows takes one

    def _broken(self, leg: PoolLeg) -> None:
        assert leg is self._leg
        self._drop_leg()
        self._failed()

    def _failed(self) -> None:
        """Count one failure, for all probes that shared it, and try again after a pause."""
        longest_s = min(_FIRST_PAUSE_S * 2.0**self._failures, _LONGEST_PAUSE_S)
        self._failures = min(self._failures + 1, 8)
        self._try_again(self.health.failed(), pause_s=longest_s * (0.5 + self._chance.random() / 2))

    def _try_again(self, health: LinkHealth, *, pause_s: float) -> None:
        self._dialling = None
        self._pinged = 0
        self._turn_to(replace(health, waiting=(), next_probe_s=monotonic_s() + pause_s))
        self._look()

    def _turn_to(self, health: LinkHealth) -> None:
        before, self.health = self.health.state, health
        if health.state is not before:
            if health.state is LinkState.DOWN:
                self._drop_leg()  # TCP repeats ever more rarely on it; a fresh one finds sooner that the peer is back
            self._on_change(before, health.state)

    def _drop_leg(self) -> None:
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.on_readable = None
            leg.close()

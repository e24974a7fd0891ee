"""One peer at the broker: does what `pools.peer_pool` decides, and shows how the peer fares."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from gevent.pool import Group

from pools import idle_leg, padding
from pools.broker_messages import Empty, FromWorker, Full, Give, Gone, Held, PeerState, Stats, Take
from pools.depot import Delivery, largest_size
from pools.leg import PoolLeg
from pools.leg_dial import LegDialler
from pools.link_health import LinkState
from pools.link_probe import LinkProbe
from pools.link_report import LinkReport
from pools.net.clock import monotonic_s
from pools.net.errors import LegError
from pools.net.link_board import LinkCell, LinkRow
from pools.net.rate_limit import OncePer
from pools.net.readiness import Readiness
from pools.peer import Peer
from pools.peer_pool import PeerPool
from pools.refill import DEMAND_INTERVAL_S, PoolLimits
from pools.worker_lines import WorkerLines

_log = logging.getLogger(__name__)

_WARN_EVERY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the desks of one broker share.

    Attributes:
        readiness: the broker's.
        dialler: makes legs.
        dial_s: seconds that making one may take.
        lines: to the workers.
        workers: how many this gateway has.
    """

    readiness: Readiness
    dialler: LegDialler
    dial_s: float
    lines: WorkerLines
    workers: int


class PeerDesk:
    """Sees to one peer: its depot, the dials that fill it, its link. Owns the idle legs that are in the depot.

    Args:
        peer: which.
        row: where its numbers go.
    """

    def __init__(self, peer: Peer, row: LinkRow, around: Surroundings) -> None:
        limits = PoolLimits(peer.pool_min, peer.pool_max, max_age_s=peer.max_age)
        largest = largest_size(pool_max=peer.pool_max, workers=around.workers)
        size = min(peer.magazine, largest)
        self.peer = peer
        self.pool: PeerPool[PoolLeg] = PeerPool(limits, size=size, largest=largest, card_of=idle_leg.card_of)
        self._around = around
        self._report = LinkReport(row)
        self._probe = LinkProbe(peer, dialler=around.dialler, on_change=self._link_changed, on_failure=self._complain)
        self._dials = Group()
        self._dead: set[int] = set()  # numbers of the depot's legs that are of no use any more
        self._is_closed = self._turn_is_due = False
        self._is_crowded = False
        self._warning = OncePer(_WARN_EVERY_S)
        self._reason = 0
        self._chance = Random()

    def __repr__(self) -> str:
        return f"<PeerDesk {self.peer.name} {self.pool!r} {self._probe!r}>"

    def start(self) -> None:
        """Begin to probe and to dial."""
        self._probe.start()
        self.turn()

    def follow(self, around: Surroundings) -> None:
        """Go on among other surroundings, with the legs that there are; what changes is announced at the next turn."""
        self._around = around
        self.pool.depot.refit(largest_size(pool_max=self.peer.pool_max, workers=around.workers))

    def close(self) -> None:
        """Close every leg that is here, in order, and make no other; in the hub. Those that workers have are theirs."""
        self._is_closed = True
        self._dials.kill(block=False)
        self._probe.close()
        idle_leg.retire_all(self.pool.depot)
        self._report.end(legs=len(self.pool.ledger))

    # What workers say, see `pools.worker_lines.Desk`.

    def hear(self, slot: int, message: FromWorker, legs: Sequence[PoolLeg]) -> None:
        """Do what a worker's message wants."""
        if self._dead:
            self.turn()  # so that none of them is dealt out
        match message:
            case Take(rounds=rounds):
                self._deliver(self.pool.take(slot, rounds))
            case Give():
                deliveries = self.pool.give(slot, legs)
                self._report.add(LinkCell.EXCHANGES_TOTAL)
                self._shelve(legs)
                self._deliver(deliveries)
            case Held(legs=ids):
                self.pool.held(slot, ids)
                self._report.worker_holds(slot, len(ids))
            case Gone(legs=ids):
                self.pool.gone(slot, ids)
                self._report.add(LinkCell.CLOSED_TOTAL, len(ids))
            case Stats():
                self.pool.reported(slot, message)
                self._report.worker_said(slot, message)

    def worker_left(self, slot: int, unsent: Sequence[PoolLeg]) -> Sequence[PoolLeg]:
        """Forget a worker whose channel has ended and the legs that it had; take back those that were never sent.

        Returns:
            Of the legs that were not sent, those of other desks.
        """
        ours = [leg for leg in unsent if self.pool.has_sent(slot, leg)]
        self._report.add(LinkCell.CLOSED_TOTAL, self.pool.worker_died(slot, ours))
        self._shelve(ours)
        self._report.worker_left(slot)
        self._turn_soon()
        return [leg for leg in unsent if leg not in ours]

    # The clock.

    def turn(self) -> None:
        """Do what is due: a few times a second, and whenever something has happened."""
        self._turn_is_due = False
        if self._is_closed:
            return
        now_s = monotonic_s()
        health = self._probe.health
        dead = frozenset(self._dead)
        self._dead.clear()
        rtt_s = health.round_trip.smoothed_s if health.round_trip else 0.0
        orders = self.pool.turn(now_s=now_s, rtt_s=rtt_s, is_up=health.state is not LinkState.DOWN, dead=dead)
        self._is_crowded = orders.is_crowded
        self._close(orders.close)
        self._deliver(orders.deliveries)
        for _ in range(orders.dial):
            self._dials.spawn(self._dial)
        self._around.lines.announce(self._state(), now_s=now_s)
        if self._report.write(self.pool, health, is_crowded=orders.is_crowded):
            _log.info("gateway %s: %d legs are ready", self.peer.name, self.pool.limits.pool_min)

    def end_interval(self) -> None:
        """End an interval of demand, DEMAND_INTERVAL_S after the last one."""
        if self.pool.end_interval(DEMAND_INTERVAL_S):
            _log.info("gateway %s: magazines grow to %d rounds", self.peer.name, self.pool.depot.size)
        self._report.write_window(self.pool.depot)
        self._report.write_first_window(self._probe.leg)

    # How.

    def _state(self) -> PeerState:
        health = self._probe.health
        rtt_us = round(health.round_trip.smoothed_s * 1e6) if health.round_trip else 0
        is_up = health.state is not LinkState.DOWN
        return PeerState(
            self.peer.name,
            is_up,
            self._is_crowded,
            self.pool.depot.size,
            rtt_us,
            round(health.loss * 1e6),
            self._probe.links,
            edition=self.peer.edition,
        )

    def _dial(self) -> None:
        leg: PoolLeg | None = None
        try:
            leg = self._make()
        except LegError as error:
            self._report.add(LinkCell.DIAL_FAILED_TOTAL)
            self._complain(error)
        finally:
            if leg is None:
                self.pool.dial_failed(now_s=monotonic_s(), jitter=self._chance.random())
        if leg is not None:
            self._enter(leg)
        self._turn_soon()

    def _enter(self, leg: PoolLeg) -> None:
        if self._is_closed:  # it was there before it could be called off
            idle_leg.retire(leg)
            return
        self._report.add(LinkCell.DIALLED_TOTAL)
        deliveries = self.pool.dialled(leg)
        self._shelve([leg])
        self._deliver(deliveries)

    def _make(self) -> PoolLeg:
        leg = self._around.dialler.dial(self.peer, limit_s=self._around.dial_s)
        if self.peer.warm:
            padding.warm(leg, self.peer.warm)
        return leg

    def _shelve(self, legs: Iterable[PoolLeg]) -> None:
        for leg in legs:
            idle_leg.watch(leg, self._unsound)
            if not idle_leg.is_sound(leg):
                self._unsound(leg)

    def _unsound(self, leg: PoolLeg) -> None:
        self._dead.add(idle_leg.card_of(leg).leg)
        self._turn_soon()

    def _turn_soon(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            self._around.readiness.defer(self.turn)

    def _deliver(self, deliveries: Iterable[Delivery[PoolLeg]]) -> None:
        for delivery in deliveries:
            if not delivery.legs:
                self._around.lines.send(delivery.slot, Empty(self.peer.name, edition=self.peer.edition))
                continue
            for leg in delivery.legs:
                leg.on_readable = None
            cards = tuple(idle_leg.card_to_send(leg) for leg in delivery.legs)
            self._report.add(LinkCell.EXCHANGES_TOTAL)
            full = Full(self.peer.name, cards, edition=self.peer.edition)
            self._around.lines.send(delivery.slot, full, delivery.legs)

    def _close(self, legs: Sequence[PoolLeg]) -> None:
        self._report.add(LinkCell.CLOSED_TOTAL, len(legs))
        idle_leg.retire_all(legs)

    def _link_changed(self, _before: LinkState, now: LinkState) -> None:
        round_trip = self._probe.health.round_trip
        if now is LinkState.DOWN:
            self._report.add(LinkCell.WENT_DOWN_TOTAL)
            _log.warning("gateway %s at %s is down: no answer", self.peer.name, self.peer.address)
        elif round_trip is not None:
            _log.info("gateway %s is up: %.3f ms away", self.peer.name, round_trip.smoothed_s * 1000)
        self._turn_soon()

    def _complain(self, error: LegError) -> None:
        """Say why there is no leg: at once where that is another reason than the last one, else now and then."""
        is_news, self._reason = error.errno != self._reason, error.errno
        if self._warning.allow(monotonic_s()) or is_news:
            _log.warning("cannot make a leg: %s; %s", error, error.__cause__ or "no more is known")

"""All legs to one peer, as the broker sees them: depot, ledger, demand and back-off, moved by events.

Decisions only. The broker turns messages, finished dials and its clock into calls, and does what they return: sends a
delivery, closes legs, dials. No sockets, no clock, no randomness.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pools.broker_messages import Stats
from pools.depot import Delivery, Depot
from pools.ledger import DEPOT, Ledger
from pools.message_rules import LegCard
from pools.refill import WORKING_SET_INTERVAL_S, BackOff, Decision, Demand, PoolLimits, PoolSnapshot, decide, lead_s

Leg = TypeVar("Leg")


@dataclass(frozen=True, slots=True)
class Orders(Generic[Leg]):
    """What the broker does at the end of one turn of its clock.

    Attributes:
        deliveries: to workers.
        close: legs that the broker owns and closes.
        dial: dials to start.
        is_crowded: what workers are told, see `pools.refill.Decision`.
    """

    deliveries: tuple[Delivery[Leg], ...]
    close: tuple[Leg, ...]
    dial: int
    is_crowded: bool


class PeerPool(Generic[Leg]):
    """One peer's legs over all processes of this gateway.

    Args:
        limits: the operator's.
        size: rounds of a magazine to begin with; largest: what they may grow to.
        card_of: gives a leg's card; no two legs have one number.
    """

    def __init__(self, limits: PoolLimits, *, size: int, largest: int, card_of: Callable[[Leg], LegCard]) -> None:
        self.limits = limits
        self.depot: Depot[Leg] = Depot(size, largest=largest, born_s=lambda leg: card_of(leg).born_s)
        self.ledger = Ledger()
        self.dialling = 0
        self.demand = Demand()
        self.back_off = BackOff()
        self._card_of = card_of
        self._reports: dict[int, Stats] = {}
        self._misses = 0
        self._is_up = True
        self._tide_s: float | None = None

    def __repr__(self) -> str:
        return f"<PeerPool {self.depot!r} {self.ledger!r} dialling={self.dialling}>"

    @property
    def with_workers(self) -> int:
        """Legs that workers have, or are being sent."""
        return len(self.ledger) - len(self.depot)

    @property
    def lent(self) -> int:
        """Of those, legs that carry a session, as the workers last said."""
        return min(self.with_workers, sum(stats.lent for stats in self._reports.values()))

    @property
    def worker_dialling(self) -> int:
        """Legs that workers dial, as they last said."""
        return sum(stats.dialling for stats in self._reports.values())

    # A worker's messages. Each raises ProtocolError, with nothing changed, where the ledger shows that it cannot be.

    def take(self, slot: int, rounds: int) -> list[Delivery[Leg]]:
        """Take an empty magazine; deliver what there is."""
        self.depot.hand_in_empty(slot, rounds)
        return self._deal() if self._is_up else self.depot.refuse()

    def give(self, slot: int, legs: Sequence[Leg]) -> list[Delivery[Leg]]:
        """Take legs back; deliver them to workers that wait."""
        self.ledger.move(self._ids(legs), slot, DEPOT)
        self.depot.hand_in_full(legs)
        return self._deal()

    def held(self, slot: int, legs: Sequence[int]) -> None:
        """Book legs that a worker dialled, or has from before this broker."""
        self.ledger.enter(legs, slot)

    def gone(self, slot: int, legs: Sequence[int]) -> None:
        """Strike out legs that a worker closed."""
        self.ledger.strike(legs, slot)

    def reported(self, slot: int, stats: Stats) -> None:
        """Take in a worker's numbers, instead of its last."""
        before = self._reports.get(slot)
        if before is not None:  # what was missed before this broker's time says nothing of its magazines
            self._misses += max(0, stats.misses - before.misses)
        self._reports[slot] = stats

    def has_sent(self, slot: int, leg: Leg) -> bool:
        """Tell whether a leg is one of those here that a worker has, or is being sent."""
        return self.ledger.is_with(self._card_of(leg).leg, slot)

    def worker_died(self, slot: int, unsent: Sequence[Leg] = ()) -> int:
        """Forget a worker whose channel has ended; tell how many legs went with it.

        Args:
            unsent: legs that were dealt to it and never sent. They stay here, to be dealt out at the next turn.
        """
        self._reports.pop(slot, None)
        self.depot.withdraw(slot)
        self.ledger.move(self._ids(unsent), slot, DEPOT)
        self.depot.restock(unsent)
        return self.ledger.strike_all(slot)

    # The broker's own dials.

    def dialled(self, leg: Leg) -> list[Delivery[Leg]]:
        """Take in a leg that the broker dialled and authenticated."""
        self.ledger.enter(self._ids([leg]), DEPOT)
        self.dialling -= 1
        self.back_off = BackOff()
        self.depot.restock([leg])
        return self._deal()

    def dial_failed(self, *, now_s: float, jitter: float) -> None:
        """Take in that a dial ended without a leg; `jitter` is drawn evenly from 0 to 1."""
        self.dialling -= 1
        self.back_off = self.back_off.after_failure(now_s=now_s, jitter=jitter)

    # The clock.

    def end_interval(self, interval_s: float) -> bool:
        """End an interval of demand; tell whether magazines have grown, which workers must hear."""
        self.demand = self.demand.after(sum(stats.lent_peak for stats in self._reports.values()))
        misses, self._misses = self._misses, 0
        return self.depot.adapt(interval_s, misses=misses)

    def turn(self, *, now_s: float, rtt_s: float, is_up: bool, dead: frozenset[int] = frozenset()) -> Orders[Leg]:
        """Do what is due; call it a few times a second, and whenever a dial ends.

        Args:
            now_s: seconds on the broker's monotonic clock.
            rtt_s: to the peer, smoothed; 0.0 while unknown.
            is_up: what `pools.link_health` says of the peer. When it goes down the depot's legs are closed: they are
                dead too, and no session shall find that out. What is dialled from then on shows that it is back.
            dead: numbers of the depot's legs that broke, became readable, or whose peer said GOAWAY.
        """
        went_down, self._is_up = self._is_up and not is_up, is_up

        def is_fit(leg: Leg) -> bool:
            card = self._card_of(leg)
            return not went_down and card.leg not in dead and card.expires_s > now_s

        closing = self.depot.weed(is_fit)
        self.ledger.strike(self._ids(closing), DEPOT)
        decision = decide(self.limits, self._snapshot(now_s, rtt_s))
        shed = self.depot.shed(decision.shed)
        self.ledger.strike(self._ids(shed), DEPOT)
        self.dialling += decision.dial
        return self._orders(decision, closing + shed)

    def _orders(self, decision: Decision, closing: tuple[Leg, ...]) -> Orders[Leg]:
        deliveries = self._deal() if self._is_up else self.depot.refuse()
        return Orders(tuple(deliveries), closing, decision.dial, decision.is_crowded)

    def _snapshot(self, now_s: float, rtt_s: float) -> PoolSnapshot:
        horizon_s = now_s + lead_s(rtt_s)
        return PoolSnapshot(
            now_s=now_s,
            depot=len(self.depot),
            unused=self._surplus(now_s),
            worker_idle=self.with_workers - self.lent,
            lent=self.lent,
            dialling=self.dialling,
            worker_dialling=self.worker_dialling,
            expiring=sum(self._card_of(leg).expires_s <= horizon_s for leg in self.depot),
            rtt_s=rtt_s,
            demand=self.demand,
            back_off=self.back_off,
            is_up=self._is_up,
        )

    def _surplus(self, now_s: float) -> int:
        if self._tide_s is not None and now_s < self._tide_s:
            return 0
        is_first = self._tide_s is None
        self._tide_s = now_s + WORKING_SET_INTERVAL_S
        unused = self.depot.turn_tide()
        return 0 if is_first else unused

    def _deal(self) -> list[Delivery[Leg]]:
        deliveries = self.depot.deal()
        for delivery in deliveries:
            self.ledger.move(self._ids(delivery.legs), DEPOT, delivery.slot)
        return deliveries

    def _ids(self, legs: Iterable[Leg]) -> list[int]:
        return [self._card_of(leg).leg for leg in legs]

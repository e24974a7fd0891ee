"""Workers, channels and a broker together: no leg is lost, lent twice, or left open for ever."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pools.broker_messages import (
    Empty,
    FromBroker,
    FromWorker,
    Full,
    Give,
    Gone,
    Held,
    PeerState,
    Stats,
    Take,
    decode_from_broker,
    decode_from_worker,
)
from pools.core_cache import CoreCache, NoLegReady
from pools.depot import Delivery, largest_size
from pools.ledger import DEPOT, leg_id
from pools.message_rules import LegCard
from pools.net.errors import ProtocolError
from pools.peer_pool import PeerPool
from pools.refill import DEMAND_INTERVAL_S, PoolLimits, expires_s

PEER = "mumbai"
WORKERS = 3
LIMITS = PoolLimits(pool_min=5, pool_max=24, dials=4, max_age_s=600.0)
LARGEST = largest_size(pool_max=LIMITS.pool_max, workers=WORKERS)
TURN_S = 0.25
RTT_S = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class FakeLeg:
    card: LegCard


@dataclass(slots=True)
class Kernel:
    """Which legs are open; the far end may have let go of some that are."""

    open: set[FakeLeg] = field(default_factory=set)
    broken: set[FakeLeg] = field(default_factory=set)
    made: int = 0

    def establish(self, origin: int, now_s: float, jitter: float) -> FakeLeg:
        self.made += 1
        ends_s = expires_s(born_s=now_s, max_age_s=LIMITS.max_age_s, jitter=jitter)
        leg = FakeLeg(LegCard(leg_id(origin, self.made), now_s, ends_s))
        self.open.add(leg)
        return leg

    def close(self, leg: FakeLeg) -> None:
        """Close a leg's one copy. What is closed twice has had two owners, which `remove` does not forgive."""
        self.open.remove(leg)


CARD_OF: Callable[[FakeLeg], LegCard] = attrgetter("card")
Letter = tuple[bytes, tuple[FakeLeg, ...]]


@dataclass(slots=True)
class Channel:
    """Both directions between one worker and the broker, with the legs in flight."""

    to_broker: deque[Letter] = field(default_factory=deque)
    to_worker: deque[Letter] = field(default_factory=deque)

    def in_flight(self) -> list[FakeLeg]:
        return [leg for _, legs in (*self.to_broker, *self.to_worker) for leg in legs]


class FakeWorker:
    """One worker's part, as the worker will do it: it acts on what the core cache returns."""

    def __init__(self, slot: int, origin: int, kernel: Kernel, size: int) -> None:
        self.slot, self.origin, self.kernel = slot, origin, kernel
        self.cache: CoreCache[FakeLeg] = CoreCache(size)
        self.channel: Channel | None = None
        self.is_spoken_of = False  # by the broker, on this channel
        self.is_crowded = False
        self.dialling = self.hits = self.misses = self.unfit = self.lent_peak = 0

    def connect(self) -> None:
        self.channel = Channel()

    def disconnect(self) -> None:
        self.channel, self.is_spoken_of = None, False

    def introduce(self) -> None:
        self.is_spoken_of = True
        self.cache.broker_came()
        if held := (*self.cache.idle, *self.cache.lent):
            self._send(Held(PEER, _ids(held)))

    def take(self, now_s: float) -> None:
        try:
            taken = self.cache.take(lambda leg: self.is_fit(leg, now_s), now_s=now_s)
            self.hits += 1
            self.ask(taken.ask)
        except NoLegReady as miss:
            self.misses += 1
            self.dialling += 1
            self.ask(miss.ask)
        self.bury()
        self.lent_peak = max(self.lent_peak, self.cache.lent_count)

    def is_fit(self, leg: FakeLeg, now_s: float) -> bool:
        return leg not in self.kernel.broken and leg.card.expires_s > now_s

    def dialled(self, now_s: float, jitter: float) -> None:
        self.dialling -= 1
        leg = self.kernel.establish(self.origin, now_s, jitter)
        self.cache.adopt(leg)
        self._send(Held(PEER, _ids([leg])))
        self.lent_peak = max(self.lent_peak, self.cache.lent_count)

    def give(self, leg: FakeLeg) -> None:
        if self.is_crowded:
            self.end(leg)
        else:
            self.hand_back(self.cache.give(leg))

    def end(self, leg: FakeLeg) -> None:
        self.cache.forget(leg)
        self.close([leg])

    def sweep(self, now_s: float) -> None:
        self.cache.sweep(lambda leg: self.is_fit(leg, now_s))
        self.bury()

    def bury(self) -> None:
        unfit = self.cache.collect()
        self.unfit += len(unfit)
        self.close(unfit)

    def report(self) -> None:
        lent = self.cache.lent_count
        peak, self.lent_peak = max(lent, self.lent_peak), lent
        self._send(Stats(PEER, lent, peak, self.dialling, self.hits, self.misses, self.unfit))

    def hear(self, letter: Letter, now_s: float) -> None:
        payload, legs = letter
        if not self.is_spoken_of:
            self.introduce()
        match decode_from_broker(payload, descriptors=len(legs)):
            case Full():
                self.hand_back(self.cache.receive(legs))
            case Empty():
                self.cache.refused(now_s=now_s)
            case PeerState(is_crowded=is_crowded, rounds=rounds):
                self.is_crowded = is_crowded
                self.hand_back(self.cache.resize(rounds))
        self.ask(self.cache.ask(now_s=now_s))

    def ask(self, rounds: int) -> None:
        if rounds and not self._send(Take(PEER, rounds)):
            self.cache.refused(now_s=0.0)

    def hand_back(self, legs: tuple[FakeLeg, ...] | list[FakeLeg]) -> None:
        if legs and not self._send(Give(PEER, tuple(leg.card for leg in legs)), tuple(legs)):
            self.close(legs)

    def close(self, legs: tuple[FakeLeg, ...] | list[FakeLeg]) -> None:
        for leg in legs:
            self.kernel.close(leg)
        if legs:
            self._send(Gone(PEER, _ids(legs)))

    def owned(self) -> list[FakeLeg]:
        return [*self.cache.idle, *self.cache.lent]

    def _send(self, message: FromWorker, legs: tuple[FakeLeg, ...] = ()) -> bool:
        if self.channel is None or not self.is_spoken_of:
            return False
        self.channel.to_broker.append((message.encode(), legs))
        return True


class FakeBroker:
    """The broker's part, as the broker will do it: it acts on what the pool returns."""

    def __init__(self, origin: int, kernel: Kernel, size: int) -> None:
        self.origin, self.kernel = origin, kernel
        self.pool: PeerPool[FakeLeg] = PeerPool(LIMITS, size=size, largest=LARGEST, card_of=CARD_OF)
        self.channels: dict[int, Channel] = {}
        self.told: PeerState | None = None

    def welcome(self, slot: int, channel: Channel) -> None:
        self.channels[slot] = channel
        if self.told:
            self._send(slot, self.told)

    def hear(self, slot: int, letter: Letter) -> None:
        payload, legs = letter
        match decode_from_worker(payload, descriptors=len(legs)):
            case Take(rounds=rounds):
                self.deliver(self.pool.take(slot, rounds))
            case Give():
                self.deliver(self.pool.give(slot, legs))
            case Held(legs=ids):
                self.pool.held(slot, ids)
            case Gone(legs=ids):
                self.pool.gone(slot, ids)
            case Stats() as stats:
                self.pool.reported(slot, stats)

    def worker_died(self, slot: int) -> None:
        del self.channels[slot]
        self.pool.worker_died(slot)

    def dialled(self, now_s: float, jitter: float) -> None:
        self.deliver(self.pool.dialled(self.kernel.establish(self.origin, now_s, jitter)))

    def turn(self, now_s: float, *, is_up: bool) -> None:
        known = len(self.pool.ledger) + self.pool.dialling
        dead = frozenset(leg.card.leg for leg in self.pool.depot if leg in self.kernel.broken)
        orders = self.pool.turn(now_s=now_s, rtt_s=RTT_S, is_up=is_up, dead=dead)
        assert known - len(orders.close) + orders.dial <= max(LIMITS.pool_max, known)
        assert self.pool.dialling <= LIMITS.dials
        for leg in orders.close:
            self.kernel.close(leg)
        self.deliver(orders.deliveries)
        self.tell(PeerState(PEER, is_up, orders.is_crowded, self.pool.depot.size, int(RTT_S * 1e6), 0))

    def tell(self, state: PeerState) -> None:
        if state != self.told:
            self.told = state
            for slot in self.channels:
                self._send(slot, state)

    def deliver(self, deliveries: list[Delivery[FakeLeg]] | tuple[Delivery[FakeLeg], ...]) -> None:
        for delivery in deliveries:
            cards = tuple(leg.card for leg in delivery.legs)
            self._send(delivery.slot, Full(PEER, cards) if cards else Empty(PEER), delivery.legs)

    def _send(self, slot: int, message: FromBroker, legs: tuple[FakeLeg, ...] = ()) -> None:
        self.channels[slot].to_worker.append((message.encode(), legs))


def _ids(legs: tuple[FakeLeg, ...] | list[FakeLeg]) -> tuple[int, ...]:
    return tuple(leg.card.leg for leg in legs)


SLOTS = st.integers(0, WORKERS - 1)
JITTER = st.floats(0, 1)


class Pool(RuleBasedStateMachine):
    """Three workers and a broker over channels that deliver late, any of which may be killed at any moment.

    What holds after every step:

    - Each leg that the kernel has open is at exactly one place: in a worker's magazine, with one session, in the depot,
      or in flight in a channel that somebody still reads. So no leg is lost, lent twice, or open for ever.
    - No place has a leg that is closed.
    - The broker's ledger names the depot's legs exactly; of a worker it names what that has, but for what is on its way
      in a message of either.
    - A worker holds at most two magazines idle; magazines stay between the first size and the largest.
    - The broker never dials past pool_max, nor more at once than it may.

    And once nothing disturbs any more: at least pool_min legs are idle, all together are at most pool_max, and the
    ledger agrees with every worker to the leg.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.origins = 0
        self.is_up = True
        self.kernel = Kernel()
        self.broker: FakeBroker | None = None
        self.workers = [self.new_worker(slot) for slot in range(WORKERS)]
        self.start_broker()

    def new_worker(self, slot: int) -> FakeWorker:
        self.origins += 1
        return FakeWorker(slot, self.origins, self.kernel, 2)

    @precondition(lambda self: self.broker is None)
    @rule()
    def start_broker(self) -> None:
        self.origins += 1
        self.broker = FakeBroker(self.origins, self.kernel, 2)
        for worker in self.workers:
            self.join(worker)

    def join(self, worker: FakeWorker) -> None:
        worker.connect()
        if self.broker and worker.channel:
            self.broker.welcome(worker.slot, worker.channel)

    @rule(slot=SLOTS, count=st.integers(1, 12))
    def sessions_begin(self, slot: int, count: int) -> None:
        for _ in range(count):
            self.workers[slot].take(self.now_s)

    @rule(slot=SLOTS, jitter=JITTER, fails=st.booleans(), count=st.integers(1, 8))
    def worker_dials_end(self, slot: int, jitter: float, fails: bool, count: int) -> None:
        worker = self.workers[slot]
        for _ in range(min(worker.dialling, count)):
            if fails:
                worker.dialling -= 1
            else:
                worker.dialled(self.now_s, jitter)

    @rule(slot=SLOTS, in_order=st.sampled_from([True, True, True, False]), count=st.integers(1, 12))
    def sessions_end(self, slot: int, in_order: bool, count: int) -> None:
        worker = self.workers[slot]
        for leg in sorted(worker.cache.lent, key=lambda leg: leg.card.leg)[:count]:
            if in_order:
                worker.give(leg)
            else:
                worker.end(leg)

    @rule(slot=SLOTS)
    def worker_sweeps_and_reports(self, slot: int) -> None:
        self.workers[slot].sweep(self.now_s)
        self.workers[slot].report()

    @rule(slot=SLOTS, count=st.integers(1, 4))
    def broker_hears(self, slot: int, count: int) -> None:
        channel = self.workers[slot].channel
        while self.broker and channel and channel.to_broker and count:
            self.broker.hear(slot, channel.to_broker.popleft())
            count -= 1

    @rule(slot=SLOTS, count=st.integers(1, 4))
    def worker_hears(self, slot: int, count: int) -> None:
        channel = self.workers[slot].channel
        while channel and channel.to_worker and count:
            self.workers[slot].hear(channel.to_worker.popleft(), self.now_s)
            count -= 1

    @precondition(lambda self: self.broker)
    @rule(jitter=JITTER, fails=st.sampled_from([False, False, True]), count=st.integers(1, 4))
    def broker_dials_end(self, jitter: float, fails: bool, count: int) -> None:
        assert self.broker
        for _ in range(min(self.broker.pool.dialling, count)):
            if fails:
                self.broker.pool.dial_failed(now_s=self.now_s, jitter=jitter)
            else:
                self.broker.dialled(self.now_s, jitter)

    @rule(slot=SLOTS, count=st.integers(4, 12))
    def sessions_rush_in_and_miss(self, slot: int, count: int) -> None:
        """Who finds nothing dials past pool_max; the pool must come back below it."""
        worker = self.workers[slot]
        self.sessions_begin(slot, count)
        for _ in range(worker.dialling):
            worker.dialled(self.now_s, 0.5)
        worker.report()

    @precondition(lambda self: self.broker)
    @rule(turns=st.integers(1, 80))
    def time_passes(self, turns: int) -> None:
        assert self.broker
        for turn in range(turns):
            self.now_s += TURN_S
            self.broker.turn(self.now_s, is_up=self.is_up)
            if turn % 4 == 3:
                self.broker.pool.end_interval(DEMAND_INTERVAL_S)

    @rule()
    def an_age_passes(self) -> None:
        self.now_s += LIMITS.max_age_s

    @rule(every=st.integers(1, 4))
    def far_end_lets_go(self, every: int) -> None:
        self.kernel.broken.update(sorted(self.kernel.open, key=lambda leg: leg.card.leg)[::every])

    @rule()
    def link_turns(self) -> None:
        self.is_up = not self.is_up

    @rule(slot=SLOTS)
    def worker_is_killed(self, slot: int) -> None:
        """Its legs die with it, and what is in flight to it; what it sent is still read."""
        worker = self.workers[slot]
        lost = [*worker.owned(), *(leg for _, legs in (worker.channel or Channel()).to_worker for leg in legs)]
        if self.broker and worker.channel:
            worker.channel.to_worker.clear()
            while worker.channel.to_broker:
                self.broker.hear(slot, worker.channel.to_broker.popleft())
                # An answer to the dead: its descriptors go with the last end of the channel.
                lost += [leg for _, legs in worker.channel.to_worker for leg in legs]
                worker.channel.to_worker.clear()
            self.broker.worker_died(slot)
        for leg in lost:
            self.kernel.close(leg)
        self.workers[slot] = self.new_worker(slot)
        if self.broker:
            self.join(self.workers[slot])

    @precondition(lambda self: self.broker)
    @rule()
    def broker_is_killed(self) -> None:
        """The depot dies with it, and what is in flight to it; what it sent is still read."""
        assert self.broker
        lost = list(self.broker.pool.depot)
        self.broker = None
        for worker in self.workers:
            assert worker.channel
            channel, worker.channel = worker.channel, None
            lost += [leg for _, legs in channel.to_broker for leg in legs]
            while channel.to_worker:
                worker.hear(channel.to_worker.popleft(), self.now_s)
            worker.disconnect()
        for leg in lost:
            self.kernel.close(leg)

    @invariant()
    def each_open_leg_is_at_one_place(self) -> None:
        places = [leg for worker in self.workers for leg in worker.owned()]
        places += [leg for worker in self.workers if worker.channel for leg in worker.channel.in_flight()]
        places += self.broker.pool.depot if self.broker else []
        assert len(places) == len(set(places))
        assert set(places) == self.kernel.open

    @invariant()
    def ledger_is_right_but_for_what_is_on_its_way(self) -> None:
        if self.broker:
            ledger = self.broker.pool.ledger
            assert ledger.legs_of(DEPOT) == {leg.card.leg for leg in self.broker.pool.depot}
            for worker in self.workers:
                if worker.channel and worker.is_spoken_of and not worker.channel.to_broker:
                    arriving = {leg.card.leg for leg in worker.channel.in_flight()}
                    assert ledger.legs_of(worker.slot) == {*_ids(worker.owned()), *arriving}

    @invariant()
    def sizes_are_bounded(self) -> None:
        for worker in self.workers:
            assert 2 <= worker.cache.size <= LARGEST
            assert len(worker.cache.idle) <= 2 * worker.cache.size
        if self.broker:
            assert 2 <= self.broker.pool.depot.size <= LARGEST
            assert self.broker.pool.depot.empties <= WORKERS
            assert not (self.broker.pool.depot.empties and len(self.broker.pool.depot))

    def teardown(self) -> None:
        """Let everything come to rest and look at the whole."""
        self.is_up = True
        if self.broker is None:
            self.start_broker()
        assert self.broker
        for slot in range(WORKERS):
            self.workers[slot].dialling = 0
            self.sessions_end(slot, in_order=True, count=1000)
        for _ in range(120):
            self.settle()
        self.each_open_leg_is_at_one_place()
        idle = sum(len(worker.cache.idle) for worker in self.workers) + len(self.broker.pool.depot)
        assert LIMITS.pool_min <= idle == len(self.kernel.open) == len(self.broker.pool.ledger) <= LIMITS.pool_max
        self.ledger_is_right_but_for_what_is_on_its_way()

    def settle(self) -> None:
        assert self.broker
        self.time_passes(4)
        while self.broker.pool.dialling:
            self.broker.dialled(self.now_s, 0.5)
        for slot in range(WORKERS):
            self.worker_sweeps_and_reports(slot)
            self.broker_hears(slot, 1000)
            self.worker_hears(slot, 1000)


TestPool = Pool.TestCase
TestPool.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)


def leg(serial: int) -> FakeLeg:
    return FakeLeg(LegCard(leg_id(1, serial), float(serial), 1e6))


def pool(*, legs: int = 0) -> PeerPool[FakeLeg]:
    made: PeerPool[FakeLeg] = PeerPool(LIMITS, size=2, largest=LARGEST, card_of=CARD_OF)
    for serial in range(legs):
        made.dialling += 1
        made.dialled(leg(serial))
    return made


def test_an_ask_waits_until_a_leg_is_there() -> None:
    mumbai = pool()
    assert mumbai.take(0, 2) == []
    mumbai.dialling = 1
    fresh = leg(1)
    assert mumbai.dialled(fresh) == [Delivery(0, (fresh,))]
    assert mumbai.ledger.legs_of(0) == {fresh.card.leg}


def test_what_a_worker_gives_goes_to_the_one_that_waits() -> None:
    mumbai = pool(legs=2)
    [delivery] = mumbai.take(0, 2)
    assert mumbai.take(1, 2) == []
    assert mumbai.give(0, delivery.legs) == [Delivery(1, delivery.legs)]


def test_a_leg_that_the_worker_does_not_hold_is_a_bug_and_changes_nothing() -> None:
    mumbai = pool(legs=4)
    [delivery] = mumbai.take(0, 2)
    with pytest.raises(ProtocolError, match="must be held by 1"):
        mumbai.give(1, delivery.legs)
    with pytest.raises(ProtocolError, match="must be held by 0"):
        mumbai.gone(0, [delivery.legs[0].card.leg, leg(77).card.leg])
    with pytest.raises(ProtocolError, match="must be unknown"):
        mumbai.held(1, [delivery.legs[0].card.leg])
    assert (mumbai.ledger.count(0), len(mumbai.depot)) == (2, 2)


def test_pool_min_is_filled_at_the_start() -> None:
    mumbai = pool()
    orders = mumbai.turn(now_s=1.0, rtt_s=0.0, is_up=True)
    assert orders.dial == min(LIMITS.pool_min, LIMITS.dials) == mumbai.dialling


def test_a_peer_that_goes_down_loses_its_depot_and_answers_no_ask() -> None:
    mumbai = pool(legs=2)
    orders = mumbai.turn(now_s=1.0, rtt_s=0.2, is_up=False)
    assert (len(orders.close), len(mumbai.depot), orders.dial) == (2, 0, 1)
    assert mumbai.take(0, 2) == [Delivery(0, ())]


def test_the_leg_that_shows_that_a_peer_is_back_is_kept() -> None:
    mumbai = pool(legs=2)
    mumbai.turn(now_s=1.0, rtt_s=0.2, is_up=False)
    fresh = leg(9)
    mumbai.dialled(fresh)
    assert mumbai.turn(now_s=1.1, rtt_s=0.2, is_up=False).close == ()
    assert list(mumbai.depot) == [fresh]


def test_legs_that_wait_when_the_peer_goes_down_are_refused_once() -> None:
    mumbai = pool()
    mumbai.take(2, 2)
    assert mumbai.turn(now_s=1.0, rtt_s=0.2, is_up=False).deliveries == (Delivery(2, ()),)
    assert mumbai.turn(now_s=1.1, rtt_s=0.2, is_up=False).deliveries == ()


def test_dead_legs_leave_and_are_replaced() -> None:
    mumbai = pool(legs=5)
    dead = next(iter(mumbai.depot))
    orders = mumbai.turn(now_s=1.0, rtt_s=0.0, is_up=True, dead=frozenset([dead.card.leg]))
    assert (orders.close, orders.dial) == ((dead,), 1)


def test_a_dead_worker_takes_its_legs_out_of_the_account_and_its_ask_out_of_the_queue() -> None:
    mumbai = pool(legs=2)
    mumbai.take(0, 2)
    mumbai.take(0, 2)
    mumbai.reported(0, Stats(PEER, 2, 2, 0, 2, 0, 0))
    assert mumbai.worker_died(0) == 2
    assert (len(mumbai.ledger), mumbai.depot.empties) == (0, 0)
    assert mumbai.turn(now_s=1.0, rtt_s=0.0, is_up=True).dial == LIMITS.dials


def test_an_unused_leg_beyond_the_working_set_is_let_go() -> None:
    mumbai = pool(legs=20)
    closed = [len(mumbai.turn(now_s=float(second), rtt_s=0.2, is_up=True).close) for second in range(200)]
    assert sum(closed) == 20 - LIMITS.pool_min
    assert closed[:15] == [0] * 15
    assert closed[15] == 8

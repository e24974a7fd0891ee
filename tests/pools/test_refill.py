"""The policy by single snapshots, and over minutes of random load with a model of the pool around it."""

import heapq
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.refill import (
    AGE_JITTER,
    DEMAND_MEMORY,
    WORKING_SET_INTERVAL_S,
    BackOff,
    Demand,
    PoolLimits,
    PoolSnapshot,
    decide,
    expires_s,
    lead_s,
)

LIMITS = PoolLimits(pool_min=16, pool_max=512, dials=64)
NOTHING = PoolSnapshot(
    now_s=100.0,
    depot=0,
    unused=0,
    worker_idle=0,
    lent=0,
    dialling=0,
    worker_dialling=0,
    expiring=0,
    rtt_s=0.2,
)


def test_pool_min_is_dialled_without_any_demand() -> None:
    assert decide(LIMITS, NOTHING).dial == 16
    assert decide(LIMITS, replace(NOTHING, dialling=16)).dial == 0


def test_lent_legs_are_not_idle() -> None:
    assert decide(LIMITS, replace(NOTHING, worker_idle=10, lent=100)).dial == 6


def test_the_peak_and_its_rise_over_the_lead_are_covered() -> None:
    rising = replace(NOTHING, lent=30, demand=Demand((10, 30, 40, 35)))
    lead = 2  # intervals: one until it is reported, one for three round trips of 200 ms
    assert decide(LIMITS, rising).dial == 40 + 20 * lead - 30


def test_a_demand_that_only_falls_has_no_rise() -> None:
    assert Demand((50, 20, 5)).needed(1.0) == 50


def test_a_peak_is_forgotten_after_its_time() -> None:
    demand = Demand((100,))
    for _ in range(DEMAND_MEMORY):
        demand = demand.after(3)
    assert (demand.needed(1.0), len(demand.peaks)) == (3, DEMAND_MEMORY)


@given(st.integers(0, 600), st.integers(0, 600), st.integers(0, 64), st.integers(0, 600), st.integers(0, 50))
def test_no_dial_goes_past_pool_max_or_the_bound(
    depot: int, lent: int, dialling: int, peak: int, expiring: int
) -> None:
    snapshot = replace(
        NOTHING, depot=depot, lent=lent, dialling=dialling, demand=Demand((peak,)), expiring=min(expiring, depot)
    )
    decision = decide(LIMITS, snapshot)
    assert snapshot.total + decision.dial <= max(LIMITS.pool_max, snapshot.total)
    assert dialling + decision.dial <= LIMITS.dials
    assert 0 <= decision.shed <= depot
    assert decision.is_crowded == (snapshot.total > LIMITS.pool_max)
    assert not (decision.shed and decision.dial)


def test_what_is_past_pool_max_leaves_at_once() -> None:
    crowded = replace(NOTHING, depot=20, lent=500)
    assert (decide(LIMITS, crowded).shed, decide(LIMITS, crowded).is_crowded) == (8, True)


def test_a_leg_about_to_expire_is_replaced_before_it_leaves() -> None:
    assert decide(LIMITS, replace(NOTHING, depot=16, expiring=3)).dial == 3


def test_half_of_the_unused_surplus_is_let_go() -> None:
    quiet = replace(NOTHING, depot=116)
    assert decide(LIMITS, quiet).shed == 0
    assert decide(LIMITS, replace(quiet, unused=116)).shed == 50
    assert decide(LIMITS, replace(quiet, unused=7)).shed == 4


def test_shedding_leaves_slack_above_the_demand() -> None:
    busy = replace(NOTHING, depot=40, lent=80, unused=40, demand=Demand((100, 100)))
    assert decide(LIMITS, busy).shed == 0
    assert decide(LIMITS, replace(busy, depot=55, unused=40)).shed == 5


@pytest.mark.parametrize(
    ("failing", "dials"),
    [
        ({"back_off": BackOff(3, retry_s=100.5)}, 0),
        ({"back_off": BackOff(3, retry_s=100.0)}, 1),
        ({"back_off": BackOff(3, retry_s=100.0), "dialling": 1}, 0),
        ({"is_up": False}, 1),
        ({"is_up": False, "back_off": BackOff(1, retry_s=101.0)}, 0),
    ],
)
def test_a_dead_peer_is_dialled_once_at_a_time(failing: dict[str, object], dials: int) -> None:
    assert decide(LIMITS, replace(NOTHING, **failing)).dial == dials  # type: ignore[arg-type]


@given(st.lists(st.floats(0, 1), min_size=12, max_size=12))
def test_pauses_double_up_to_the_longest_with_jitter(jitters: list[float]) -> None:
    back_off, now_s, longest_s = BackOff(), 0.0, 0.25
    for jitter in jitters:
        back_off = back_off.after_failure(now_s=now_s, jitter=jitter)
        assert longest_s / 2 - 1e-6 <= back_off.retry_s - now_s <= longest_s + 1e-6
        now_s, longest_s = back_off.retry_s, min(2 * longest_s, 30.0)


def test_dials_that_fail_together_are_one_failure() -> None:
    back_off = BackOff().after_failure(now_s=10.0, jitter=1.0)
    assert back_off.after_failure(now_s=10.1, jitter=1.0) == back_off


@given(st.floats(0, 1), st.floats(0, 1e6))
def test_a_leg_lives_for_its_age_less_a_part(jitter: float, born_s: float) -> None:
    life_s = expires_s(born_s=born_s, max_age_s=1000.0, jitter=jitter) - born_s
    assert 1000.0 * (1 - AGE_JITTER) - 1e-6 <= life_s <= 1000.0 + 1e-6


@pytest.mark.parametrize(("least", "most"), [(-1, 5), (6, 5)])
def test_limits_that_contradict_are_refused(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="pool_min"):
        PoolLimits(pool_min=least, pool_max=most)


class Minutes:
    """A pool under random load: sessions come by a Poisson process, and dials take their round trips."""

    def __init__(self, *, rate_per_s: float, life_s: Callable[[random.Random], float], rtt_s: float) -> None:
        self.rate_per_s, self.life_s, self.rtt_s = rate_per_s, life_s, rtt_s
        self.random = random.Random(7)
        self.demand = Demand()
        self.idle = self.low_tide = self.peak = 0
        self.ends: list[float] = []
        self.dials: list[float] = []
        self.sessions = self.misses = self.dialled = 0
        self.arrival_s = 0.0

    def run(self, start_s: int, end_s: int) -> None:
        for second in range(start_s, end_s):
            for quarter in range(4):
                self.turn(second + quarter / 4)
            self.demand, self.peak = self.demand.after(self.peak), len(self.ends)

    def turn(self, now_s: float) -> None:
        is_tide = now_s % WORKING_SET_INTERVAL_S == 0
        unused = min(self.low_tide, self.idle) if is_tide else 0
        self.low_tide = self.idle if is_tide else self.low_tide
        decision = decide(
            LIMITS,
            replace(
                NOTHING,
                now_s=now_s,
                depot=self.idle,
                unused=unused,
                lent=len(self.ends),
                dialling=len(self.dials),
                rtt_s=self.rtt_s,
                demand=self.demand,
            ),
        )
        self.idle -= decision.shed
        self.dialled += decision.dial
        self.dials += [now_s + 3 * self.rtt_s] * decision.dial
        self.low_tide = min(self.low_tide, self.idle)
        self.live(now_s + 0.25)

    def live(self, until_s: float) -> None:
        while (now_s := min([self.arrival_s, *self.ends[:1], *self.dials[:1]])) < until_s:
            if self.dials and self.dials[0] == now_s:
                heapq.heappop(self.dials)
                self.idle += 1
            elif self.ends and self.ends[0] == now_s:
                heapq.heappop(self.ends)
                self.idle += 1
            else:
                self.session(now_s)

    def session(self, now_s: float) -> None:
        self.sessions += 1
        self.misses += not self.idle
        self.idle = max(0, self.idle - 1)
        self.low_tide = min(self.low_tide, self.idle)
        heapq.heappush(self.ends, now_s + self.life_s(self.random))
        self.peak = max(self.peak, len(self.ends))
        self.arrival_s = now_s + self.random.expovariate(self.rate_per_s)


@pytest.mark.parametrize(
    ("rate_per_s", "life_s", "rtt_s"),
    [
        (200, lambda _: 0.3, 0.2),
        (200, lambda chance: chance.expovariate(1), 0.2),
        (20, lambda chance: chance.expovariate(1 / 3), 0.05),
    ],
    ids=["short", "of a second", "long and few"],
)
def test_steady_load_misses_nothing_and_dials_next_to_nothing(
    rate_per_s: float, life_s: Callable[[random.Random], float], rtt_s: float
) -> None:
    pool = Minutes(rate_per_s=rate_per_s, life_s=life_s, rtt_s=rtt_s)
    pool.run(0, 60)
    pool.sessions = pool.misses = pool.dialled = 0
    pool.run(60, 240)
    assert pool.misses <= pool.sessions / 1000
    assert pool.dialled <= pool.sessions / 1000


def test_a_burst_like_the_last_finds_its_legs() -> None:
    pool = Minutes(rate_per_s=1, life_s=lambda _: 0.5, rtt_s=0.2)
    missed = []
    for burst in range(3):
        pool.run(30 * burst, 30 * burst + 30)
        before = pool.misses
        for _ in range(100):
            pool.session(30.0 * (burst + 1))
        missed.append(pool.misses - before)
    assert missed[0] > 50
    assert missed[1:] == [0, 0]


def test_the_lead_is_a_report_and_a_dial() -> None:
    assert lead_s(0.0) == 1.0
    assert lead_s(0.2) == pytest.approx(1.6)

"""The timer wheel against a sorted list, and what it keeps."""

import tracemalloc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pools.net.timer_wheel import TimerWheel

TICK_S = 0.25  # a power of two, so that the model's arithmetic is exact
START_S = 1000.0


class WheelAgainstAList(RuleBasedStateMachine):
    """Any order of adds, discards and pauses gives out what a sorted list of deadlines would."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = START_S
        self.wheel: TimerWheel[int] = TimerWheel(TICK_S, self.now_s)
        self.ticks: dict[int, int] = {}

    @rule(item=st.integers(0, 12), ahead_s=st.floats(-5, 200))
    def add(self, item: int, ahead_s: float) -> None:
        self.wheel.add(item, self.now_s + ahead_s)
        due = int((self.now_s + ahead_s) / TICK_S) + 1
        self.ticks[item] = max(due, int(self.now_s / TICK_S) + 1)

    @rule(item=st.integers(0, 12))
    def discard(self, item: int) -> None:
        self.wheel.discard(item)
        self.ticks.pop(item, None)

    @rule(pause_s=st.one_of(st.floats(0, 1), st.floats(0, 200)))
    def wait(self, pause_s: float) -> None:
        self.now_s += pause_s
        given = self.wheel.expired(self.now_s)
        due = [item for item, tick in self.ticks.items() if tick <= int(self.now_s / TICK_S)]
        assert sorted(given) == sorted(due)
        ticks = [self.ticks.pop(item) for item in given]
        assert ticks == sorted(ticks)

    @invariant()
    def holds_the_same(self) -> None:
        assert len(self.wheel) == len(self.ticks)
        assert all(item in self.wheel for item in self.ticks)
        assert set(self.wheel) == set(self.ticks)


TestWheelAgainstAList = WheelAgainstAList.TestCase
TestWheelAgainstAList.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_never_early_and_at_most_a_tick_late() -> None:
    wheel: TimerWheel[str] = TimerWheel(0.1, START_S)
    wheel.add("session", START_S + 3.0)
    assert wheel.expired(START_S + 2.99) == []
    assert wheel.expired(START_S + 3.11) == ["session"]
    assert wheel.expired(START_S + 3600) == []


def test_a_deadline_many_turns_away_waits_for_its_own_turn() -> None:
    wheel: TimerWheel[str] = TimerWheel(1.0, 0.0)
    wheel.add("far", 3600.0)
    assert [second for second in range(4000) if wheel.expired(float(second))] == [3601]


def test_a_deadline_in_the_past_is_given_at_the_next_tick() -> None:
    wheel: TimerWheel[str] = TimerWheel(1.0, 100.0)
    wheel.add("late", 50.0)
    assert wheel.expired(101.0) == ["late"]


def test_a_new_deadline_replaces_the_old() -> None:
    wheel: TimerWheel[str] = TimerWheel(1.0, 0.0)
    wheel.add("session", 10.0)
    wheel.add("session", 20.0)
    assert wheel.expired(15.0) == []
    assert wheel.expired(21.0) == ["session"]


def test_a_clock_that_stands_still_or_goes_back_gives_nothing_twice() -> None:
    wheel: TimerWheel[str] = TimerWheel(1.0, 100.0)
    wheel.add("session", 101.0)
    assert wheel.expired(102.0) == ["session"]
    wheel.add("next", 101.0)
    assert wheel.expired(90.0) == []
    assert wheel.expired(103.0) == ["next"]


@pytest.mark.parametrize("apart_s", [0.0, 0.01, 0.4])
def test_an_idle_session_costs_less_than_150_bytes(apart_s: float) -> None:
    items = [object() for _ in range(9000)]
    tracemalloc.start()
    try:
        wheel: TimerWheel[object] = TimerWheel(0.1, START_S)
        for index, item in enumerate(items):
            wheel.add(item, START_S + 3600 + index * apart_s)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(items) < 150


def test_nothing_lingers_after_discard() -> None:
    items = [object() for _ in range(9000)]
    tracemalloc.start()
    try:
        wheel: TimerWheel[object] = TimerWheel(0.1, START_S)
        for item in items:
            wheel.add(item, START_S + 3600)
        for item in items:
            wheel.discard(item)
        assert len(wheel) == 0
        wheel.add(items[0], START_S + 3600)
        for _ in range(20_000):  # one session after the other beside a lasting one
            wheel.add(items[1], START_S + 3600)
            wheel.discard(items[1])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 64 * 1024


def test_a_slot_gives_its_room_back_within_a_turn() -> None:
    items = [object() for _ in range(9000)]
    tracemalloc.start()
    try:
        wheel: TimerWheel[object] = TimerWheel(0.1, 0.0)
        for item in items:
            wheel.add(item, 3600.0)
        for item in items[1:]:
            wheel.discard(item)
        before, _ = tracemalloc.get_traced_memory()
        assert wheel.expired(30.0) == []
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert items[0] in wheel
    assert after < 0.6 * before  # what stays is the table that finds an item's slot; new items shrink that

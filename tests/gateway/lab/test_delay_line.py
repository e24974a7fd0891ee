import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.lab.delay_line import DelayLine, LineCounts, LineTerms

Arrival = tuple[float, int]  # at this time in seconds, so many bytes

SECONDS = st.floats(min_value=0, max_value=10)
SIZES = st.integers(min_value=2, max_value=1_500)
ARRIVALS = st.lists(st.tuples(SECONDS, SIZES), max_size=40).map(sorted)


def through(line: DelayLine, arrivals: Sequence[Arrival]) -> list[tuple[float, int]]:
    """Send packets, each told from the others by its first two bytes; give when each left, and which it was."""
    for number, (now_s, size) in enumerate(arrivals):
        line.enter(number.to_bytes(2, "big").ljust(size, b"."), now_s=now_s)
    return drained(line)


def drained(line: DelayLine) -> list[tuple[float, int]]:
    gone = []
    while leaving := line.leave(now_s=math.inf):
        gone.append((leaving[0], int.from_bytes(leaving[1][:2], "big")))
    return gone


@given(ARRIVALS, SECONDS)
def test_a_packet_leaves_when_it_came_plus_the_delay(arrivals: list[Arrival], delay_s: float) -> None:
    gone = through(DelayLine(LineTerms(delay_s=delay_s)), arrivals)
    assert gone == [(now_s + delay_s, number) for number, (now_s, _) in enumerate(arrivals)]


def test_a_packet_stays_until_its_time_has_come() -> None:
    line = DelayLine(LineTerms(delay_s=0.5))
    line.enter(b"first", now_s=1.0)
    assert line.next_s == 1.5
    assert line.leave(now_s=1.49) is None
    assert line.leave(now_s=1.5) == (1.5, b"first")
    assert line.next_s is None


def test_packets_at_once_leave_one_after_another_at_the_rate() -> None:
    line = DelayLine(LineTerms(delay_s=1.0, rate_bits_s=8_000))
    assert through(line, [(0.0, 500), (0.0, 250), (5.0, 1_000)]) == [(1.5, 0), (1.75, 1), (7.0, 2)]


@given(ARRIVALS, st.integers(min_value=1_000, max_value=1_000_000))
def test_no_stretch_of_time_carries_more_than_the_rate(arrivals: list[Arrival], rate: int) -> None:
    gone = through(DelayLine(LineTerms(rate_bits_s=rate)), arrivals)
    assert all(
        after - before >= 8 * arrivals[number][1] / rate - 1e-9 for (before, _), (after, number) in pairwise(gone)
    )


@given(ARRIVALS, st.integers(min_value=1_000, max_value=100_000), st.integers(min_value=0, max_value=3_000))
def test_nobody_waits_behind_more_than_the_queue(arrivals: list[Arrival], rate: int, queue: int) -> None:
    line = DelayLine(LineTerms(rate_bits_s=rate, queue_bytes=queue))
    for gone_s, number in through(line, arrivals):
        came_s, size = arrivals[number]
        assert gone_s - came_s <= (queue + size) * 8 / rate + 1e-9
    assert line.counts.left + line.counts.overflowed == len(arrivals)


def test_a_queue_that_is_full_drops_the_newcomer_and_takes_the_next_once_there_is_room() -> None:
    line = DelayLine(LineTerms(rate_bits_s=8_000, queue_bytes=1_000))
    gone = through(line, [(0.0, 1_000), (0.0, 1_000), (0.0, 1_000), (0.5, 1_000), (1.5, 1_000)])
    assert gone == [(1.0, 0), (2.0, 1), (3.0, 4)]
    assert line.counts == LineCounts(entered=5, left=3, overflowed=2)


def test_equal_seeds_lose_the_same_packets_and_others_lose_others() -> None:
    arrivals = [(float(number), 100) for number in range(1_000)]
    lossy = LineTerms(loss=0.1)
    first, same, other = (through(DelayLine(lossy, seed=seed), arrivals) for seed in (1, 1, 2))
    assert first == same
    assert first != other
    assert 850 <= len(first) <= 950


def test_a_line_cut_loses_all_that_enters_and_delivers_what_was_on_its_way() -> None:
    line = DelayLine(LineTerms(delay_s=1.0))
    line.enter(b"before", now_s=0.0)
    line.terms = LineTerms(delay_s=1.0, loss=1.0)
    line.enter(b"after", now_s=0.1)
    assert line.leave(now_s=10.0) == (1.0, b"before")
    assert line.leave(now_s=10.0) is None
    assert line.counts == LineCounts(entered=2, left=1, lost=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"delay_s": -0.1}, {"delay_s": math.nan}, {"rate_bits_s": -1}, {"rate_bits_s": math.inf},
        {"queue_bytes": -1}, {"loss": 1.1}, {"loss": -0.1}, {"loss": math.nan},
    ],
)  # fmt: skip
def test_terms_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))} must be"):
        LineTerms(**wrong)  # type: ignore[arg-type]  # what a command may bring


TERMS = st.builds(
    LineTerms,
    delay_s=SECONDS,
    rate_bits_s=st.sampled_from([0.0, 8_000.0, 1e6]),
    queue_bytes=st.integers(min_value=0, max_value=10_000),
    loss=st.sampled_from([0.0, 0.5, 1.0]),
)


class AnyOrderOfEvents(RuleBasedStateMachine):
    """Whatever comes, and however terms change: order stays, and every packet is accounted for."""

    def __init__(self) -> None:
        super().__init__()
        self.line = DelayLine(LineTerms())
        self.now_s = 0.0
        self.entered = 0
        self.gone: list[int] = []

    @rule(terms=TERMS)
    def change(self, terms: LineTerms) -> None:
        self.line.terms = terms

    @rule(size=st.integers(min_value=8, max_value=1_500), pause_s=SECONDS)
    def enter(self, size: int, pause_s: float) -> None:
        self.now_s += pause_s
        self.line.enter(self.entered.to_bytes(8, "big").ljust(size, b"."), now_s=self.now_s)
        self.entered += 1

    @rule(pause_s=SECONDS)
    def leave(self, pause_s: float) -> None:
        self.now_s += pause_s
        while leaving := self.line.leave(now_s=self.now_s):
            assert leaving[0] <= self.now_s
            self.gone.append(int.from_bytes(leaving[1][:8], "big"))
        assert self.line.next_s is None or self.line.next_s > self.now_s

    @invariant()
    def order_stays(self) -> None:
        assert self.gone == sorted(set(self.gone))

    @invariant()
    def every_packet_is_accounted_for(self) -> None:
        counts = self.line.counts
        assert counts.entered == self.entered
        assert counts.left == len(self.gone)
        assert counts.left + counts.lost + counts.overflowed <= counts.entered

    def teardown(self) -> None:
        on_the_way = len(drained(self.line))
        counts = self.line.counts
        assert counts.left + counts.lost + counts.overflowed == counts.entered
        assert counts.left == len(self.gone) + on_the_way


TestAnyOrderOfEvents = AnyOrderOfEvents.TestCase
TestAnyOrderOfEvents.settings = settings(max_examples=40, stateful_step_count=40)

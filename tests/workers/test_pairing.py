"""What waits for its client: found by the connection's ends, bounded, and given out once, whatever happens."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from workers.pairing import Key, Pairing, Pauses, Verdict

PENDING, PER_SOURCE, LIFETIME_S = 6, 3, 3.0
HOSTS = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")


def pairing(**more: Any) -> Pairing[int]:
    told = {"pending": PENDING, "per_source": PER_SOURCE, "rate": 0, "lifetime_s": LIFETIME_S, "now_s": 0.0}
    return Pairing(**{**told, **more})


def key(port: int, host: str = HOSTS[0]) -> Key:
    return host, port, "198.51.100.1", 443


def judged(table: Pairing[int], of: Key, *, besides: int = 0, now_s: float = 0.0) -> Verdict:
    return table.judge(of, besides=besides, now_s=now_s)


def test_the_same_connection_is_found_once() -> None:
    table = pairing()
    table.add(key(1), 7, now_s=0.0)
    assert judged(table, key(1)) is Verdict.KNOWN
    assert [table.take(key(2)), table.take(key(1)), table.take(key(1))] == [None, 7, None]
    assert judged(table, key(1)) is Verdict.BEGIN


def test_one_source_cannot_have_all_places_and_a_48_is_not_one_source() -> None:
    table = pairing()
    for port in range(PER_SOURCE):
        table.add(key(port, HOSTS[2]), port, now_s=0.0)
    assert judged(table, key(9, HOSTS[3])) is Verdict.SOURCE_FULL
    assert judged(table, key(9, HOSTS[4])) is Verdict.BEGIN
    table.take(key(0, HOSTS[2]))
    assert judged(table, key(9, HOSTS[3])) is Verdict.BEGIN


def test_those_that_still_end_take_places_too() -> None:
    table = pairing()
    assert judged(table, key(1), besides=PENDING - 1) is Verdict.BEGIN
    assert judged(table, key(1), besides=PENDING) is Verdict.TOO_MANY


def test_nothing_may_wait_where_none_may() -> None:
    assert judged(pairing(pending=0), key(1)) is Verdict.TOO_MANY


def test_what_comes_faster_than_the_rate_is_not_looked_at_and_repeated_ones_count() -> None:
    table = pairing(rate=2)
    table.add(key(1), 1, now_s=0.0)
    verdicts = [judged(table, key(1)), judged(table, key(2)), judged(table, key(3)), judged(table, key(3), now_s=0.5)]
    assert verdicts == [Verdict.KNOWN, Verdict.BEGIN, Verdict.TOO_FAST, Verdict.BEGIN]


def test_what_is_of_no_use_is_weeded_out() -> None:
    table = pairing()
    for port in range(4):
        table.add(key(port, HOSTS[port]), port, now_s=0.0)
    assert sorted(table.weed(lambda number: number % 2 == 0)) == [1, 3]
    assert sorted(table.clear()) == [0, 2]


class Table(RuleBasedStateMachine):
    """Any order of SYNs, accepts and time; beside it a model that keeps a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.made = 0
        self.table = pairing()
        self.waiting: dict[Key, tuple[int, float]] = {}
        self.out: list[int] = []

    @rule(port=st.integers(1, 4), host=st.sampled_from(HOSTS), besides=st.integers(0, 2))
    def a_syn(self, port: int, host: str, besides: int) -> None:
        verdict = self.table.judge(key(port, host), besides=besides, now_s=self.now_s)
        if verdict is Verdict.BEGIN:
            assert len(self.waiting) + besides < PENDING
            assert key(port, host) not in self.waiting
            self.made += 1
            self.table.add(key(port, host), self.made, now_s=self.now_s)
            self.waiting[key(port, host)] = self.made, self.now_s + LIFETIME_S
        else:
            assert verdict in (Verdict.KNOWN, Verdict.TOO_MANY, Verdict.SOURCE_FULL)
            assert (verdict is Verdict.KNOWN) == (key(port, host) in self.waiting)

    @rule(port=st.integers(1, 4), host=st.sampled_from(HOSTS))
    def an_accept(self, port: int, host: str) -> None:
        expected = self.waiting.pop(key(port, host), (None, 0.0))[0]
        assert self.table.take(key(port, host)) == expected
        if expected is not None:
            self.out.append(expected)

    @rule(passed_s=st.floats(0.0, 2.0))
    def time_passes(self, passed_s: float) -> None:
        self.now_s += passed_s

    @rule()
    def a_look(self) -> None:
        due = [one for one, until_s in self.waiting.values() if until_s <= self.now_s]
        self.waiting = {at: (one, until_s) for at, (one, until_s) in self.waiting.items() if until_s > self.now_s}
        assert sorted(self.table.expired(self.now_s)) == sorted(due)
        self.out += due

    @precondition(lambda self: self.waiting)
    @rule(even=st.booleans())
    def some_fail(self, even: bool) -> None:
        failed = [one for one, _ in self.waiting.values() if (one % 2 == 0) is even]
        self.waiting = {at: each for at, each in self.waiting.items() if each[0] not in failed}
        assert sorted(self.table.weed(lambda one: (one % 2 == 0) is not even)) == sorted(failed)
        self.out += failed

    @rule()
    def an_end(self) -> None:
        self.out += self.table.clear()
        self.waiting.clear()

    @invariant()
    def each_is_in_one_place_and_none_is_forgotten(self) -> None:
        inside = [one for one, _ in self.waiting.values()]
        assert sorted(inside + self.out) == list(range(1, self.made + 1))
        assert len(self.table) == len(inside) <= PENDING

    @invariant()
    def sources_leave_nothing_behind(self) -> None:
        assert sum(self.table._of_source.values()) == len(self.waiting)
        assert all(0 < count <= PER_SOURCE for count in self.table._of_source.values())


Table.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTable = Table.TestCase


def test_pauses_grow_while_they_do_not_help_for_as_long_as_they_were() -> None:
    pauses, now_s, lengths = Pauses(), 100.0, []
    for _ in range(8):
        lengths.append(pauses.begin(now_s))
        now_s = pauses.until_s + 0.9 * lengths[-1]
    assert lengths == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


@pytest.mark.parametrize("times", [0, 1, 7])
def test_a_pause_that_helped_is_followed_by_a_short_one(times: int) -> None:
    pauses, length_s = Pauses(), 0.0
    for _ in range(times):
        length_s = pauses.begin(pauses.until_s if length_s else 100.0)
    assert pauses.begin(pauses.until_s + length_s if times else 0.0) == 1.0


@pytest.mark.parametrize("rate", [1, 1000])
def test_a_quiet_time_lets_a_second_s_worth_through_at_once_and_no_more(rate: int) -> None:
    table = pairing(rate=rate, pending=10**6)
    verdicts = [judged(table, key(port), now_s=3600.0) for port in range(rate + 1)]
    assert verdicts == [Verdict.BEGIN] * rate + [Verdict.TOO_FAST]

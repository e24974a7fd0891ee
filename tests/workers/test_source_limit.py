"""The sketch against an exact count, and over real forks."""

import os
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, initialize, multiple, rule

from workers.source_limit import SourceCounts, SourceTable, source_of

WORKERS = 3
LIMIT = 4
HOSTS = [f"192.0.2.{number}" for number in range(6)] + ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]


def view_of(table: SourceTable, slot: int, limit: int = LIMIT) -> SourceCounts:
    return table.of(slot, workers=WORKERS, limit=limit)


def admitted(table: SourceTable, slot: int, host: str, limit: int = LIMIT) -> int:
    """Admit until refused; give how often that went well."""
    view = view_of(table, slot, limit)
    count = 0
    while view.admit(host):
        count += 1
    return count


class AgainstAnExactCount(RuleBasedStateMachine):
    """A source is never admitted above its limit, and nothing but live sessions is ever counted."""

    sessions: Bundle[tuple[int, str]] = Bundle("sessions")

    @initialize()
    def make(self) -> None:
        self.table = SourceTable.create(room=WORKERS, seed=11)
        self.live: Counter[tuple[int, str]] = Counter()

    def count(self, host: str) -> int:
        source = source_of(host)
        return sum(count for (_, other), count in self.live.items() if source_of(other) == source)

    @rule(target=sessions, slot=st.integers(0, WORKERS - 1), host=st.sampled_from(HOSTS))
    def admit(self, slot: int, host: str) -> tuple[int, str] | MultipleResults[tuple[int, str]]:
        before = self.count(host)
        has_room = view_of(self.table, slot).has_room(host)
        is_admitted = view_of(self.table, slot).admit(host)
        assert is_admitted is has_room
        if not is_admitted:
            return multiple()
        assert before < LIMIT
        self.live[slot, host] += 1
        return slot, host

    @rule(session=consumes(sessions))
    def release(self, session: tuple[int, str]) -> None:
        if self.live[session]:  # else its worker was cleared meanwhile, and has no such session any more
            view_of(self.table, session[0]).release(session[1])
            self.live[session] -= 1

    @rule(slot=st.integers(0, WORKERS - 1))
    def clear(self, slot: int) -> None:
        self.table.clear(slot)
        for session in self.live:
            if session[0] == slot:
                self.live[session] = 0

    def teardown(self) -> None:
        for (slot, host), count in self.live.items():
            for _ in range(count):
                view_of(self.table, slot).release(host)
        for host in {source_of(host): host for host in HOSTS}.values():
            assert admitted(self.table, 0, host) == LIMIT
        self.table.close()


TestAgainstAnExactCount = AgainstAnExactCount.TestCase
TestAgainstAnExactCount.settings = settings(max_examples=40, deadline=None)  # a clear touches half a megabyte


@pytest.fixture
def table() -> SourceTable:
    return SourceTable.create(room=WORKERS, seed=11)


def test_a_source_has_its_limit_over_all_workers(table: SourceTable) -> None:
    view = view_of(table, 0)
    assert view.admit("192.0.2.1")
    assert view.admit("192.0.2.1")
    assert admitted(table, 2, "192.0.2.1") == LIMIT - 2
    assert not view_of(table, 1).admit("192.0.2.1")


def test_a_released_session_makes_room_for_one(table: SourceTable) -> None:
    assert admitted(table, 0, "192.0.2.1") == LIMIT
    view_of(table, 0).release("192.0.2.1")
    assert admitted(table, 1, "192.0.2.1") == 1


def test_one_source_at_its_limit_leaves_others_alone(table: SourceTable) -> None:
    assert admitted(table, 0, "192.0.2.1") == LIMIT
    assert admitted(table, 0, "192.0.2.2") == LIMIT


def test_clear_forgets_one_worker_only(table: SourceTable) -> None:
    assert view_of(table, 0).admit("192.0.2.1")
    assert admitted(table, 1, "192.0.2.1") == LIMIT - 1
    table.clear(1)
    assert admitted(table, 2, "192.0.2.1") == LIMIT - 1


def test_a_release_without_an_admit_is_refused_and_changes_nothing(table: SourceTable) -> None:
    assert view_of(table, 0).admit("192.0.2.1")
    with pytest.raises(ValueError, match=r"must have been admitted; found none of 192\.0\.2\.1"):
        view_of(table, 1).release("192.0.2.1")
    assert admitted(table, 1, "192.0.2.1") == LIMIT - 1


@pytest.mark.parametrize(
    ("host", "other", "same"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_network(host: str, other: str, same: bool) -> None:
    assert (source_of(host) == source_of(other)) is same


def test_twenty_thousand_single_sessions_are_hardly_ever_refused() -> None:
    table = SourceTable.create(room=1, seed=11)
    view = table.of(0, workers=1, limit=2)
    refused = sum(not view.admit(f"10.{number >> 8}.{number & 255}.1") for number in range(20_000))
    assert refused < 60  # about 9 are expected; with one row, or two that agree, 300
    table.close()


def test_processes_that_count_at_once_lose_nothing() -> None:
    table = SourceTable.create(room=WORKERS, seed=11)
    children = [os.fork() or work(table, slot) for slot in range(1, WORKERS)]
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    assert admitted(table, 0, "192.0.2.1", limit=1000) == 1000 - 2 * (WORKERS - 1)


def work(table: SourceTable, slot: int) -> int:
    """Be a child that ends with two sessions after many came and went."""
    failed = 1
    try:
        view = view_of(table, slot, limit=1000)
        assert view.admit("192.0.2.1")
        assert view.admit("192.0.2.1")
        for _ in range(5000):
            assert view.admit("192.0.2.1")
            view.release("192.0.2.1")
        failed = 0
    finally:
        os._exit(failed)


def test_a_view_of_another_limit_goes_on_with_the_same_counts(table: SourceTable) -> None:
    before = view_of(table, 0)
    assert before.admit("192.0.2.1")
    after = view_of(table, 0, limit=1)
    assert not after.admit("192.0.2.1")
    before.release("192.0.2.1")
    assert after.admit("192.0.2.1")


def test_workers_that_come_and_those_that_are_one_too_many_count_too() -> None:
    table = SourceTable.create(room=4, seed=11)
    assert table.of(2, workers=3, limit=LIMIT).admit("192.0.2.1")
    fewer = table.of(0, workers=1, limit=LIMIT)  # the two others still have sessions
    assert sum(fewer.admit("192.0.2.1") for _ in range(LIMIT)) == LIMIT - 1
    more = table.of(3, workers=4, limit=LIMIT)
    assert not more.admit("192.0.2.1")
    table.clear(2)
    assert more.admit("192.0.2.1")
    table.close()


def test_numbers_out_of_range_are_refused(table: SourceTable) -> None:
    with pytest.raises(ValueError, match="at least 1 worker; found 0"):
        SourceTable.create(room=0, seed=1)
    with pytest.raises(ValueError, match="at least 1; found 0"):
        view_of(table, 0, limit=0)


@pytest.mark.parametrize("slot", [-1, WORKERS])
def test_a_slot_that_is_not_there_is_refused(table: SourceTable, slot: int) -> None:
    with pytest.raises(IndexError, match=f"from 0 to 2; found {slot}"):
        view_of(table, slot)
    with pytest.raises(IndexError, match=f"found {slot}"):
        table.clear(slot)


def test_close_ends_the_views(table: SourceTable) -> None:
    view = view_of(table, 0)
    table.close()
    with pytest.raises(ValueError, match="released"):
        view.admit("192.0.2.1")

"""When connections are dialled beforehand, and how long they keep: decisions on a clock of the test's own."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.standby import AT_ONCE, EARLY_S, Standby


def dials(standby: Standby, ready: int, dialling: int, now_s: float) -> int:
    return standby.dials(ready=ready, dialling=dialling, now_s=now_s)


def failed(standby: Standby, now_s: float) -> None:
    standby.failed(now_s=now_s, jitter=1.0)


def ended(standby: Standby, age_s: float, now_s: float) -> None:
    standby.ended(age_s, now_s=now_s, jitter=1.0)


def pauses(standby: Standby, count: int) -> list[float]:
    """Fail again each time as soon as a dial is wanted, and give how long each pause was."""
    found, now_s = [], 0.0
    for _ in range(count):
        failed(standby, now_s)
        began_s = now_s
        while not dials(standby, 0, 0, now_s):
            now_s += 0.25
        found.append(now_s - began_s)
    return found


def test_what_is_missing_is_dialled_so_many_at_a_time() -> None:
    standby = Standby(AT_ONCE + 4)
    assert dials(standby, 0, 0, 0.0) == AT_ONCE
    assert dials(standby, 0, AT_ONCE, 0.0) == 0
    assert dials(standby, AT_ONCE, 0, 0.0) == 4
    assert dials(standby, AT_ONCE + 4, 0, 0.0) == 0
    assert dials(standby, AT_ONCE + 9, 0, 0.0) == 0


def test_after_a_refusal_one_dial_at_a_time_with_longer_and_longer_pauses() -> None:
    standby = Standby(8)
    assert pauses(standby, 9) == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert dials(standby, 3, 0, 1000.0) == 1
    assert dials(standby, 3, 1, 1000.0) == 0
    standby.connected(1000.0)
    assert dials(standby, 4, 0, 1000.0) == 4
    failed(standby, 1001.0)
    assert dials(standby, 4, 0, 1001.25) == 1, "the pauses begin anew"


def test_dials_that_fail_together_count_once() -> None:
    standby = Standby(8)
    for _ in range(8):
        failed(standby, 0.0)
    assert dials(standby, 0, 0, 0.25) == 1


def test_where_unused_connections_end_at_once_one_at_a_time_finds_out() -> None:
    standby = Standby(8)
    for _ in range(8):
        ended(standby, 0.1, 10.0)
    assert dials(standby, 0, 0, 10.2) == 0
    assert dials(standby, 0, 0, 10.25) == 1
    standby.connected(10.3)
    assert dials(standby, 1, 0, 10.3) == 0, "this one is looked at first"
    ended(standby, 3.0, 13.3)
    assert dials(standby, 0, 0, 13.6) == 0
    assert dials(standby, 0, 0, 13.8) == 1
    standby.connected(13.9)
    bears_s = 13.8 + 2 * EARLY_S
    assert dials(standby, 1, 0, bears_s + 0.1) == 1
    standby.connected(bears_s + 0.2)
    assert dials(standby, 2, 0, bears_s + 0.2) == 6
    assert standby.keep_s(bears_s) == math.inf, "an early end says nothing of how long they keep"


def test_what_is_used_while_in_doubt_is_replaced() -> None:
    standby = Standby(8)
    ended(standby, 0.1, 0.0)
    standby.connected(0.5)
    assert dials(standby, 0, 0, 0.6) == 1


def test_they_are_replaced_before_the_server_ends_them() -> None:
    standby = Standby(8)
    assert standby.keep_s(0.0) == math.inf
    ended(standby, 60.0, 100.0)
    assert standby.keep_s(100.0) == pytest.approx(48.0)
    assert dials(standby, 7, 0, 100.0) == 1, "such an end is no failure"
    ended(standby, 120.0, 200.0)
    assert standby.keep_s(200.0) == pytest.approx(96.0)


def test_a_lesson_is_doubted_with_time() -> None:
    standby = Standby(8)
    ended(standby, 60.0, 0.0)
    assert standby.keep_s(599.0) == pytest.approx(48.0)
    assert standby.keep_s(601.0) == pytest.approx(96.0)
    assert standby.keep_s(1201.0) == pytest.approx(192.0)
    assert standby.keep_s(1e9) > 1e15
    ended(standby, 61.0, 1300.0)
    assert standby.keep_s(1300.0) == pytest.approx(48.8)


EVENTS = st.lists(
    st.tuples(st.sampled_from(["look", "fail", "end"]), st.floats(0.0, 40.0), st.floats(0.0, 1.0)), max_size=60
)


@given(wanted=st.integers(1, 40), events=EVENTS)
def test_never_more_than_are_wanted_nor_than_go_at_once(wanted: int, events: list[tuple[str, float, float]]) -> None:
    standby, now_s, ready, dialling = Standby(wanted), 0.0, 0, 0
    for event, wait_s, jitter in events:
        now_s += wait_s
        if event == "look":
            dialling += standby.dials(ready=ready, dialling=dialling, now_s=now_s)
            assert dialling <= AT_ONCE
            assert ready + dialling <= wanted
            standby.connected(now_s)
            ready, dialling = ready + dialling, 0
        elif event == "fail":
            standby.failed(now_s=now_s, jitter=jitter)
        elif ready:
            ready -= 1
            standby.ended(wait_s, now_s=now_s, jitter=jitter)
        assert standby.keep_s(now_s) >= 0.8 * EARLY_S

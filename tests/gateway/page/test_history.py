"""Charts: what stands in the ring, and the rates between its readings."""

from typing import Any

import pytest

from gateway.metrics import TOTALS
from gateway.page.history import COLUMNS, History
from gateway.page.reading import Reading
from pools.net.scoreboard import Cell


def reading(at_ms: int, *, sessions: int = 0, **totals: int) -> Reading:
    return Reading(at_ms, sessions, dict.fromkeys(TOTALS, 0) | {Cell[name]: total for name, total in totals.items()})


def history(*readings: Reading, length: int = 10) -> History:
    found = History(length)
    for each in readings:
        found.add(each)
    return found


def named(point: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(COLUMNS, point, strict=True))


def test_a_point_has_what_is_and_the_rates_since_the_reading_before() -> None:
    before = reading(1000, SESSIONS_TOTAL=10, SPLICED_BYTES=5_000, COPIED_BYTES=100, CONNECT_REFUSED=1)
    after = reading(3000, sessions=7, SESSIONS_TOTAL=15, SPLICED_BYTES=9_000, COPIED_BYTES=300, CONNECT_REFUSED=4)
    (point,) = history(before, after).points()
    assert named(point) == {
        "at_ms": 3000,
        "sessions": 7,
        "new_per_s": 2.5,
        "failed_per_s": 1.5,
        "bytes_per_s": 2100,
    }


def test_what_clients_break_off_themselves_is_no_failure() -> None:
    (point,) = history(reading(0), reading(1000, RESET_BY_INBOUND=5, NULL_SESSIONS=5, CONNECT_TIMED_OUT=1)).points()
    assert named(point)["failed_per_s"] == 1.0


@pytest.mark.parametrize("readings", [(), (reading(5),)])
def test_less_than_two_readings_make_no_point_and_no_rate(readings: tuple[Reading, ...]) -> None:
    assert history(*readings).points() == []
    assert history(*readings).directions(over_ms=60_000) == (0.0, 0.0)


def test_who_has_some_points_gets_those_after_them_the_oldest_first() -> None:
    found = history(*(reading(1000 * second) for second in range(6)))
    assert [point[0] for point in found.points()] == [1000, 2000, 3000, 4000, 5000]
    assert [point[0] for point in found.points(after_ms=3000)] == [4000, 5000]
    assert found.points(after_ms=5000) == []
    assert found.points(after_ms=10**15) == []


def test_the_oldest_reading_is_forgotten() -> None:
    found = history(*(reading(1000 * second) for second in range(9)), length=4)
    assert [point[0] for point in found.points()] == [6000, 7000, 8000]


def test_a_reading_that_is_not_later_is_dropped() -> None:
    found = history(reading(1000), reading(2000, SESSIONS_TOTAL=2), reading(2000, SESSIONS_TOTAL=9), reading(1500))
    assert [named(point)["new_per_s"] for point in found.points()] == [2.0]


def test_directions_are_those_of_the_last_while_or_of_what_there_is() -> None:
    found = history(*(reading(1000 * t, FORWARD_BYTES=100 * t * t, BACKWARD_BYTES=7 * t) for t in range(5)))
    assert found.directions(over_ms=1000) == (700.0, 7.0)
    assert found.directions(over_ms=60_000) == (400.0, 7.0)

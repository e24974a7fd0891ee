"""One event per period passes, and the others are counted."""

from pools.net.rate_limit import OncePer


def test_the_first_event_passes_even_at_time_zero() -> None:
    assert OncePer(5.0).allow(0.0)


def test_events_within_the_period_are_held_back_and_counted() -> None:
    once = OncePer(5.0)
    assert [once.allow(now_s) for now_s in (10.0, 11.0, 14.999, 15.0)] == [True, False, False, True]
    assert once.suppressed == 2


def test_the_count_starts_again_with_each_event_that_passes() -> None:
    once = OncePer(1.0)
    for now_s in (0.0, 0.5, 1.0, 2.0):
        once.allow(now_s)
    assert once.suppressed == 0

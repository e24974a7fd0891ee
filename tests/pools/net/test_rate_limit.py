"""So many events in a time pass, and no more."""

from pools.net.rate_limit import OncePer, TokenBucket


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


def test_a_quiet_time_is_worth_one_second_and_no_more() -> None:
    bucket = TokenBucket(3, now_s=0.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_on_the_long_run_the_rate_is_kept() -> None:
    bucket = TokenBucket(10, now_s=0.0)
    taken = sum(bucket.take(tick / 100) for tick in range(1001))
    assert 10 * 10 <= taken <= 10 + 10 * 10


def test_one_that_may_not_pass_costs_nothing() -> None:
    bucket = TokenBucket(1, now_s=0.0)
    assert [bucket.take(now_s) for now_s in (0.0, 0.25, 0.5, 0.75, 1.0)] == [True, False, False, False, True]

"""Growth of totals over a minute that moves on."""

from hypothesis import given
from hypothesis import strategies as st

from pools.last_minute import MINUTE_S, LastMinute


def test_the_first_look_is_where_it_counts_from() -> None:
    lately = LastMinute()
    assert lately.growth(1000, 500, now_s=7.0) == (0, 0)
    assert lately.growth(1010, 501, now_s=7.5) == (10, 1)


def test_what_is_more_than_a_minute_ago_counts_no_more() -> None:
    lately = LastMinute()
    lately.growth(0, 0, now_s=0.0)
    lately.growth(100, 7, now_s=5.0)
    assert lately.growth(100, 7, now_s=59.0) == (100, 7)
    assert lately.growth(100, 7, now_s=66.0) == (0, 0)


def test_a_long_silence_is_no_reason_to_forget_what_came_after_it() -> None:
    lately = LastMinute()
    lately.growth(0, 0, now_s=0.0)
    assert lately.growth(30, 0, now_s=1000.0) == (30, 0)
    assert lately.growth(30, 0, now_s=1061.0) == (0, 0)


@given(st.lists(st.tuples(st.floats(0.01, 4.9), st.integers(0, 50)), min_size=1, max_size=200))
def test_it_never_misses_what_came_within_a_minute_and_never_goes_back_much_farther(
    steps: list[tuple[float, int]],
) -> None:
    lately, now_s, total = LastMinute(), 0.0, 0
    history = [(now_s, total)]
    lately.growth(total, 0, now_s=now_s)
    for wait_s, amount in steps:
        now_s, total = now_s + wait_s, total + amount
        history.append((now_s, total))
        found, _ = lately.growth(total, 0, now_s=now_s)
        assert found >= total - max((then for at_s, then in history if at_s <= now_s - MINUTE_S), default=0)
        assert found <= total - max((then for at_s, then in history if at_s <= now_s - MINUTE_S - 10.0), default=0)

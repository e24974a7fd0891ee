import pytest

from gateway.top.figures import clipped, each_second, megabits, share


@pytest.mark.parametrize(
    ("bytes_per_s", "text"),
    [(0, "0"), (1, "<.01"), (38_750, "0.31"), (1.249e6, "9.99"), (1.5375e6, "12.3"), (117.6e6, "941"), (2e9, "16000")],
)
def test_a_throughput_has_three_digits_or_more(bytes_per_s: float, text: str) -> None:
    assert megabits(bytes_per_s) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, "0"), (0.01, "<.1"), (0.4, "0.4"), (9.96, "10"), (210.4, "210"), (9999.6, "10k"), (12e3, "12k")],
)
def test_a_rate_says_more_than_nothing_when_there_is_more(rate: float, text: str) -> None:
    assert each_second(rate) == text


@pytest.mark.parametrize(("part", "text"), [(1, "100%"), (0.9999, "99.9%"), (0.5, "50.0%"), (0, "0.0%")])
def test_only_all_is_100_percent(part: float, text: str) -> None:
    assert share(part) == text


def test_what_is_too_long_says_that_there_is_more() -> None:
    assert [clipped("mumbai", width, "…") for width in (6, 4, 1, 0)] == ["mumbai", "mum…", "…", ""]

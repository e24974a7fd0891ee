import pytest

from gateway.top.glyphs import ASCII, UNICODE, chart, glyphs_for


@pytest.mark.parametrize(("encoding", "glyphs"), [("utf-8", UNICODE), ("UTF8", UNICODE), ("iso-8859-1", ASCII)])
def test_a_terminal_gets_what_it_can_show(encoding: str, glyphs: object) -> None:
    assert glyphs_for(encoding) is glyphs
    "".join([ASCII.bars, ASCII.forward, ASCII.backward, ASCII.variation, ASCII.more]).encode("ascii")


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([], ""), ([0, 0], "▁▁"), ([0, 1, 1000], "▁▂█"), ([5, 5], "██"), ([1, 2, 3, 4], "▃▅▆█")],
)
def test_the_greatest_is_full_and_whatever_is_above_nothing_shows(values: list[float], drawn: str) -> None:
    assert chart(values, cells=10, bars=UNICODE.bars) == drawn


def test_more_values_than_cells_are_drawn_by_their_means_and_the_latest_stay() -> None:
    assert chart([0, 0, 0, 0, 4, 4], cells=3, bars=UNICODE.bars) == "▁▁█"
    assert chart([9, 0, 0, 4, 4], cells=2, bars="_+") == "+"
    assert len(chart([1.0] * 30, cells=15, bars="_+")) == 15


def test_charts_with_the_same_full_bar_can_be_compared() -> None:
    assert [chart([0, each], cells=9, bars=UNICODE.bars, full=100) for each in (1, 50, 100, 200)] == [
        "▁▂",
        "▁▅",
        "▁█",
        "▁█",
    ]

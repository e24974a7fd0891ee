from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from gateway.lab import ladder_picture, model, picture
from gateway.lab.model import Transfer
from gateway.lab.results import LadderResult, Punctuality, Stage, StageResult, Times

TALK = (0.028, 0.214, 0.032)


def later(times: Times, seconds: float) -> Times:
    return Times(times.first_byte_s + seconds, times.all_bytes_s + seconds)


def measured(late_s: float = 0.004) -> LadderResult:
    ladder = model.ladder(TALK, Transfer())
    stages = [StageResult(stage, [later(it, late_s), it, later(it, 1.0)], it) for stage, it in ladder.items()]
    return LadderResult(TALK, 43_000, stages, model.limits(TALK, Transfer()), Punctuality(1_000, 0, 0.0))


def texts(figure: Figure) -> str:
    found = figure.findobj(lambda artist: isinstance(artist, Text))
    return "\n".join(text.get_text() for text in found if isinstance(text, Text))


def bars_ms(figure: Figure) -> list[float]:
    """Give how long bars are, in the order in which they were drawn: all bytes, first byte, and so on downwards."""
    return [round(patch.get_width(), 3) for patch in figure.axes[-1].patches if isinstance(patch, Rectangle)]


def test_a_bar_is_the_median_and_the_model_stands_beside_it() -> None:
    figure = ladder_picture.draw(ladder_picture.of_result(measured()))
    assert bars_ms(figure)[:4] == [826, 552, 766, 552]
    assert "43 kB in 338 ms instead of 826" in texts(figure)
    assert "model 548 / 822" in texts(figure)
    assert "Median of 3." in texts(figure)


def test_all_stages_and_both_limits_have_their_names() -> None:
    shown = texts(ladder_picture.draw(ladder_picture.of_result(measured())))
    assert [stage.value for stage in Stage if stage.value not in shown] == []
    assert "limit: propagation, 274 ms" in shown
    assert "limit: clients as they are, 302 ms" in shown


def test_a_plan_is_drawn_as_such() -> None:
    figure = ladder_picture.draw(ladder_picture.of_plan(TALK, Transfer()))
    assert bars_ms(figure) == [822, 548, 762, 548, 702, 488, 520, 306, 338, 306, 334, 302]
    assert "model 5" not in texts(figure)
    assert "Computed" in texts(figure)


@pytest.mark.parametrize(
    ("rtts_s", "transfer"), [((0.0, 0.0), Transfer(1)), ((0.01,) * 16, Transfer()), (TALK, Transfer(50_000_000, 2e8))]
)
def test_whatever_can_be_planned_can_be_drawn(rtts_s: tuple[float, ...], transfer: Transfer, tmp_path: Path) -> None:
    figure = ladder_picture.draw(ladder_picture.of_plan(rtts_s, transfer))
    picture.save(figure, tmp_path / "it.svg")
    assert (tmp_path / "it.svg").stat().st_size > 0

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from gateway.lab import download_picture, picture
from gateway.lab.results import Curve, DownloadResult, DownloadWay, Punctuality, Way

MB = 1_000_000
WAYS = {Way.END_TO_END: 5.0, Way.SPLIT: 4.5, Way.EVERYTHING: 2.5, Way.BBR: 2.6}


def result(losses: tuple[float, ...] = (0.0, 0.001)) -> DownloadResult:
    """Downloads of 50 MB, ten times as long where there is loss; nothing comes in the first fifth."""
    ways = []
    for loss in losses:
        for way, best_s in WAYS.items():
            took_s = best_s * (10 if loss else 1)
            curve = Curve([(0.0, 0), *((took_s * part / 1_000, 50 * MB * part // 1_000) for part in range(200, 1_001))])
            ways.append(DownloadWay(way, loss, [curve], took_s - 0.25))
    return DownloadResult((0.028, 0.214, 0.032), 50 * MB, 2e8, ways, 2.35, Punctuality(1_000, 0, 0.0))


def texts(figure: Figure) -> str:
    found = figure.findobj(lambda artist: isinstance(artist, Text))
    return "\n".join(text.get_text() for text in found if isinstance(text, Text))


def test_each_loss_has_a_diagram_and_each_way_its_name_and_times() -> None:
    shown = texts(download_picture.draw(result()))
    assert "50 MB in 2.5 s instead of 5.0" in shown
    for text in ("no loss", "0.1% loss on the last mile", "200 Mbit/s"):
        assert text in shown
    for name, took, model in (("end to end", "50.0 s", "49.8 s"), ("everything on", "25.0 s", "24.8 s")):
        assert all(text in shown for text in (name, took, f"model {model}"))


def test_a_curve_ends_when_its_download_did_and_is_as_high_as_it_was_fast() -> None:
    figure = download_picture.draw(result())
    curves = [np.asarray(line.get_xydata()) for line in figure.axes[1].lines]
    ends = [curve[-1] for curve in curves if len(curve) > 1]
    assert [end[0] for end in ends] == pytest.approx(list(WAYS.values()))
    assert [end[1] for end in ends] == pytest.approx([400 / took_s for took_s in WAYS.values()], rel=0.1)


def test_one_loss_alone_can_be_drawn(tmp_path: Path) -> None:
    picture.save(download_picture.draw(result((0.0,))), tmp_path / "it.png")
    assert (tmp_path / "it.png").stat().st_size > 10_000

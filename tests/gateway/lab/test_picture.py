from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from gateway.lab import picture
from pools.net.errors import StartError


def texts(figure: Figure) -> list[str]:
    found = figure.findobj(lambda artist: isinstance(artist, Text))
    return [text.get_text() for text in found if isinstance(text, Text) and text.get_text()]


def test_a_slide_has_its_title_and_its_small_print() -> None:
    assert texts(picture.slide("Faster", below="measured")) == ["Faster", "measured"]


def test_a_path_names_its_sites_and_its_round_trips() -> None:
    figure = picture.slide("", below="")
    picture.draw_path(figure, (0.028, 0.2145, 0.032))
    drawn = texts(figure)
    assert [name for name in drawn if name.isalpha()] == ["client", "gateway", "gateway", "server"]
    assert {"28 ms", "214.5 ms", "32 ms"} <= set(drawn)


def test_legs_are_as_long_as_they_take_but_never_too_short_for_their_number() -> None:
    figure = picture.slide("", below="")
    picture.draw_path(figure, (0.0, 0.001, 0.999))
    sites = [text.get_position()[0] for text in figure.axes[0].texts if text.get_text().isalpha()]
    widths = [far - near for near, far in pairwise(sites)]
    assert widths[0] == pytest.approx(widths[1])
    assert widths[0] > 0.1
    assert sum(widths) == pytest.approx(1)


@pytest.mark.parametrize("rtts_s", [(0.0, 0.0), (0.01,) * 16])
def test_any_path_can_be_drawn(rtts_s: tuple[float, ...]) -> None:
    figure = picture.slide("", below="")
    picture.draw_path(figure, rtts_s)
    assert texts(figure)


def test_a_png_is_a_slide_of_full_size(tmp_path: Path) -> None:
    picture.save(picture.slide("Faster", below=""), tmp_path / "it.png")
    with Image.open(tmp_path / "it.png") as image:
        assert (image.format, image.size) == ("PNG", (1920, 1080))


def test_an_svg_is_the_same_file_each_time(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        figure = picture.slide("Faster", below="")
        picture.draw_path(figure, (0.028, 0.032))
        picture.save(figure, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert ET.parse(tmp_path / "one.svg").getroot().tag.endswith("}svg")


def test_without_matplotlib_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "find_spec", lambda _: None)
    with pytest.raises(StartError, match=r"pip install 'midmile\[lab\]'"):
        picture.require_drawable(tmp_path / "it.png")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    picture.require_drawable(tmp_path / "it.png")
    with pytest.raises(StartError, match=str(tmp_path / "nowhere")):
        picture.require_drawable(tmp_path / "nowhere/it.png")

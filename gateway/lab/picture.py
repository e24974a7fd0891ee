"""Pictures of what the lab computes and measures: one look, SVG or PNG. matplotlib is loaded when one is drawn."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pools.net.errors import StartError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS: Final = (".svg", ".png")

INK: Final = "#1b2733"
QUIET: Final = "#6b7885"
FAINT: Final = "#dde3e8"
DEEP: Final = "#12507b"
PALE: Final = "#8fc1e3"
ACCENT: Final = "#d1495b"
BRIGHT: Final = "#e5a023"

_WIDTH_IN, _HEIGHT_IN = 12.8, 7.2  # a slide of 16:9
_DOTS_PER_IN: Final = 150
_NARROWEST: Final = 0.14  # of the whole path, so that each leg has room for its number
_MOST_LEGS_DRAWN: Final = 6


def require_drawable(file: Path) -> None:
    """See to it that a picture can be drawn into `file`, before the work for it is done.

    Raises:
        StartError: matplotlib is not installed, or there is no such folder.
    """
    if find_spec("matplotlib") is None:
        raise StartError("--picture needs matplotlib, which is not installed: pip install 'midmile[lab]'")
    if not file.absolute().parent.is_dir():
        raise StartError(f"--picture needs a folder for its file; found none at {file.absolute().parent}")


def slide(title: str, *, below: str) -> "Figure":
    """Give an empty picture with a title, and a line of small print below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), dpi=_DOTS_PER_IN, facecolor="white")
    figure.text(0.04, 0.93, title, fontsize=23, fontweight="bold", color=INK, va="center")
    figure.text(0.04, 0.035, below, fontsize=11, color=QUIET, va="center")
    return figure


def draw_path(figure: "Figure", rtts_s: Sequence[float]) -> None:
    """Draw client, gateways and server below the title, each leg with its round-trip time."""
    axes = figure.add_axes((0.04, 0.79, 0.92, 0.1))
    axes.set_axis_off()
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-1.2, 1.0)
    if len(rtts_s) > _MOST_LEGS_DRAWN:
        text = f"{len(rtts_s)} legs, {sum(rtts_s) * 1e3:.0f} ms round trip from client to server"
        axes.text(0, 0, text, fontsize=14, color=QUIET, va="center")
        return
    places = _places(rtts_s)
    for near, far, rtt_s in zip(places, places[1:], rtts_s, strict=False):
        axes.plot([near, far], [0, 0], color=QUIET, linewidth=2, zorder=1)
        axes.text((near + far) / 2, 0.32, f"{rtt_s * 1e3:g} ms", fontsize=13, color=INK, ha="center", va="bottom")
    names = ["client", *["gateway"] * (len(rtts_s) - 1), "server"]
    for place, name in zip(places, names, strict=True):
        _draw_site(axes, place, name)


def _places(rtts_s: Sequence[float]) -> list[float]:
    """Give where sites are, from 0 to 1: as far apart as their round-trip times say, with room for a number between."""
    total_s = sum(rtts_s) or 1.0
    widths = [max(rtt_s / total_s, _NARROWEST) for rtt_s in rtts_s]
    return [sum(widths[:place]) / sum(widths) for place in range(len(widths) + 1)]


def _draw_site(axes: "Axes", place: float, name: str) -> None:
    shape, color = ("s", DEEP) if name == "gateway" else ("o", INK)
    axes.plot([place], [0], shape, color=color, markersize=13, zorder=2)
    axes.text(place, -0.42, name, fontsize=12, color=color, ha="center", va="top")


def bare(axes: "Axes") -> None:
    """Take away all lines around a diagram but a faint one below."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(length=0, labelsize=12, labelcolor=QUIET)


def save(figure: "Figure", file: Path) -> None:
    """Write a picture in the format that the file's name ends in.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "midmile"}):  # else ids are random; so the same result is the same file
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)

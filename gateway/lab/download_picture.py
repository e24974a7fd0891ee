"""Downloads as a picture: throughput over time, a diagram for each loss, a curve for each way."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gateway.lab import picture
from gateway.lab.quantities import count_text
from gateway.lab.results import DownloadResult, DownloadWay, Way

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS: Final = {
    Way.END_TO_END: picture.ACCENT,
    Way.SPLIT: picture.PALE,
    Way.EVERYTHING: picture.DEEP,
    Way.BBR: picture.BRIGHT,
}
_STEPS: Final = 400  # of the longest curve of a diagram
_SMOOTH: Final = 60  # and windows, at least
_HEAD: Final = 1.65  # times the highest throughput: room for the names above it
_LINE: Final = 0.082  # of a diagram's height


def draw(result: DownloadResult) -> "Figure":
    """Draw downloads."""
    figure = picture.slide(_title(result), below=_below(result))
    picture.draw_path(figure, result.rtts_s)
    losses = sorted({way.loss for way in result.ways})
    width = 0.92 / len(losses)
    for place, loss in enumerate(losses):
        axes = figure.add_axes((0.075 + place * width, 0.15, width - 0.075, 0.54))
        _draw_diagram(axes, result, [way for way in result.ways if way.loss == loss])
        title = f"{loss:.1%} loss on the last mile" if loss else "no loss"
        axes.set_title(title, fontsize=16, color=picture.INK, loc="left", pad=16)
    return figure


def _title(result: DownloadResult) -> str:
    first, last = (result.found(way, 0.0).typical.took_s for way in (Way.END_TO_END, Way.EVERYTHING))
    return f"{count_text(result.size_bytes, 'B')} in {last:.1f} s instead of {first:.1f}"


def _below(result: DownloadResult) -> str:
    rate = count_text(result.rate_bits_s, "bit/s")
    return (
        f"Lines of {rate} each. Real gateways in an emulated WAN on one machine; CUBIC. Marks at the foot: the model."
    )


def _draw_diagram(axes: "Axes", result: DownloadResult, ways: Sequence[DownloadWay]) -> None:
    longest_s = max(way.typical.took_s for way in ways)
    axes.set_xlim(0, longest_s * 1.15)
    window_s = max(sum(result.rtts_s), longest_s / _SMOOTH)
    for way in ways:
        _draw_way(axes, way, way.typical.mbit_s(window_s=window_s, step_s=longest_s / _STEPS))
    _draw_names(axes, ways)
    highest = axes.dataLim.ymax
    axes.set_ylim(0, highest * _HEAD)
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= highest])
    picture.bare(axes)
    axes.set_xlabel("seconds since the client began to connect", fontsize=12, color=picture.QUIET)
    axes.set_ylabel("Mbit/s", fontsize=12, color=picture.QUIET)


def _draw_way(axes: "Axes", way: DownloadWay, points: Sequence[tuple[float, float]]) -> None:
    color, (seconds, mbit_s) = _COLORS[way.way], zip(*points, strict=True)
    axes.plot(seconds, mbit_s, color=color, linewidth=2.6)
    if way.way is Way.EVERYTHING:
        axes.fill_between(seconds, mbit_s, color=color, alpha=0.12, linewidth=0)
    axes.plot([way.model_s], [0], "^", color=color, markersize=9, clip_on=False, zorder=5)


def _draw_names(axes: "Axes", ways: Sequence[DownloadWay]) -> None:
    """Name the curves at the head, with how long each took, and by the model."""
    columns = ((0.0, "left"), (0.68, "right"), (0.73, "left"))
    for line, way in enumerate(ways):
        texts = (way.way.value, f"{way.typical.took_s:.1f} s", f"model {way.model_s:.1f} s")
        looks = ((_COLORS[way.way], 14, "bold"), (_COLORS[way.way], 14, "bold"), (picture.QUIET, 12, "normal"))
        for (place, side), text, (color, size, weight) in zip(columns, texts, looks, strict=True):
            axes.text(
                place, 1 - line * _LINE, text, transform=axes.transAxes, color=color, fontsize=size, fontweight=weight,
                ha=side, va="top",
            )  # fmt: skip

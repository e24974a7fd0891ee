"""The ladder as a picture: for each stage a bar of time, to the first byte and to the last, with the model's marks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.lab import model, picture
from gateway.lab.model import Transfer
from gateway.lab.quantities import count_text
from gateway.lab.results import LadderResult, Limit, Times

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_THICKNESS: Final = 0.6
_ROOM: Final = 0.07  # of the whole width: what a number needs
_HEAD: Final = -0.72  # above the first bar, which is at 0
_TITLES: Final = {"propagation": "limit: propagation", "unmodified client": "limit: clients as they are"}


@dataclass(frozen=True, slots=True)
class Rung:
    """One bar, and what the model gives for it; None where the bar is the model's."""

    name: str
    times: Times
    model: Times | None = None


@dataclass(frozen=True, slots=True)
class Drawing:
    """All that the picture of a ladder shows."""

    rtts_s: Sequence[float]
    size_bytes: int
    rungs: Sequence[Rung]
    limits: Sequence[Limit]
    below: str


def of_result(result: LadderResult) -> Drawing:
    """Give the drawing of a ladder that was measured."""
    rungs = [Rung(stage.stage.value, stage.median, stage.model) for stage in result.stages]
    repeats = min(len(stage.samples) for stage in result.stages)
    below = f"Median of {repeats}. Real gateways in an emulated WAN on one machine; CUBIC, initial window 10."
    return Drawing(result.rtts_s, result.size_bytes, rungs, result.limits, below)


def of_plan(rtts_s: Sequence[float], transfer: Transfer) -> Drawing:
    """Give the drawing of what the model says."""
    rungs = [Rung(stage.value, times) for stage, times in model.ladder(rtts_s, transfer).items()]
    below = f"Computed by the model of docs/ladder.md; initial window {transfer.initial_window}."
    return Drawing(rtts_s, transfer.size_bytes, rungs, model.limits(rtts_s, transfer), below)


def draw(drawing: Drawing) -> "Figure":
    """Draw a ladder."""
    figure = picture.slide(_title(drawing), below=drawing.below)
    picture.draw_path(figure, drawing.rtts_s)
    axes = figure.add_axes((0.17, 0.135, 0.79, 0.62))
    longest_s = max(rung.times.all_bytes_s for rung in drawing.rungs) or 1.0
    axes.set_xlim(0, longest_s * 1.34e3)
    axes.set_ylim(len(drawing.rungs) - 0.45, _HEAD - 0.35)
    for row, rung in enumerate(drawing.rungs):
        _draw_rung(axes, row, rung)
    _draw_limits(axes, drawing)
    _draw_legend(axes, has_model=any(rung.model for rung in drawing.rungs))
    _finish(axes, drawing)
    return figure


def _title(drawing: Drawing) -> str:
    first, last = (drawing.rungs[end].times.all_bytes_s * 1e3 for end in (0, -1))
    return f"{count_text(drawing.size_bytes, 'B')} in {last:.0f} ms instead of {first:.0f}"


def _draw_rung(axes: "Axes", row: int, rung: Rung) -> None:
    first_ms, all_ms = rung.times.first_byte_s * 1e3, rung.times.all_bytes_s * 1e3
    gap = axes.get_xlim()[1] * 0.014
    axes.barh(row, all_ms, _THICKNESS, color=picture.PALE)
    axes.barh(row, first_ms, _THICKNESS, color=picture.DEEP)
    if first_ms > _ROOM * axes.get_xlim()[1]:
        axes.text(first_ms - gap, row, f"{first_ms:.0f}", fontsize=16, color="white", ha="right", va="center_baseline")
    said = axes.annotate(
        f"{all_ms:.0f} ms", (all_ms + gap, row), fontsize=18, fontweight="bold", color=picture.INK, va="center_baseline"
    )
    if rung.model:
        _draw_model(axes, row, rung.model)
        told = f"model {rung.model.first_byte_s * 1e3:.0f} / {rung.model.all_bytes_s * 1e3:.0f}"
        axes.annotate(told, (1.1, 0.5), xycoords=said, fontsize=12, color=picture.QUIET, va="center")


def _draw_model(axes: "Axes", row: int, model: Times) -> None:
    """Put marks above and below the bar, so that its own ends stay to be seen."""
    for at_ms in (model.first_byte_s * 1e3, model.all_bytes_s * 1e3):
        for edge, shape in ((-_THICKNESS / 2 - 0.06, "v"), (_THICKNESS / 2 + 0.06, "^")):
            axes.plot([at_ms], [row + edge], shape, color=picture.INK, markersize=6)


def _draw_limits(axes: "Axes", drawing: Drawing) -> None:
    """Draw a line for each limit with its name above: the lower to its left, the higher to its right."""
    ordered = sorted(drawing.limits, key=lambda limit: limit.times.all_bytes_s)
    for limit, side in zip(ordered, ("right", "left"), strict=False):
        at_ms = limit.times.all_bytes_s * 1e3
        ends = (_HEAD, len(drawing.rungs) - 0.45)
        axes.vlines(at_ms, *ends, color=picture.ACCENT, linewidth=1.5, linestyle=(0, (4, 3)), zorder=0)
        text = f" {_TITLES.get(limit.name, limit.name)}, {at_ms:.0f} ms "
        axes.text(at_ms, _HEAD, text, fontsize=12, color=picture.ACCENT, ha=side, va="bottom")


def _draw_legend(axes: "Axes", *, has_model: bool) -> None:
    from matplotlib.patches import Patch

    shown: list[Artist] = [
        Patch(color=picture.DEEP, label="until the first byte"),
        Patch(color=picture.PALE, label="until all bytes"),
    ]
    if has_model:
        shown += axes.plot([], [], "v", color=picture.INK, markersize=6, label="model")
    axes.legend(handles=shown, loc="lower right", frameon=False, fontsize=13, labelcolor=picture.INK)


def _finish(axes: "Axes", drawing: Drawing) -> None:
    picture.bare(axes)
    axes.set_yticks(range(len(drawing.rungs)), [rung.name for rung in drawing.rungs], fontsize=16, color=picture.INK)
    axes.tick_params(axis="y", pad=10)
    axes.set_xlabel("milliseconds since the client began to connect", fontsize=12, color=picture.QUIET)

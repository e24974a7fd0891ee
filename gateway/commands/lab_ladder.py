"""`gateway lab ladder`: each stage of the ladder measured in an emulated WAN, beside the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.commands.lab_picture import can_draw, drawn
from gateway.commands.lab_run import measured, progress
from gateway.commands.output import say, say_json, table, warn
from gateway.exit_codes import ExitCode
from gateway.lab import ladder_picture
from gateway.lab.ladder import run_ladder
from gateway.lab.quantities import milliseconds_text
from gateway.lab.results import LadderResult, Limit, StageResult

_COLUMNS: Final = ("stage", ">first byte", ">model", ">off", ">all bytes", ">model", ">off", ">all bytes from .. to")


def ladder(rtts_s: Sequence[float], *, size_bytes: int, repeats: int, as_json: bool, picture: Path | None) -> ExitCode:
    """Measure the ladder and show it.

    Returns:
        CANNOT_START where a right is missing, or something that the lab needs; UNWELL where an answer did not come.
    """
    if not can_draw(picture):
        return ExitCode.CANNOT_START
    result = measured(lambda: run_ladder(rtts_s, size_bytes=size_bytes, repeats=repeats, progress=progress))
    if isinstance(result, ExitCode):
        return result
    if as_json:
        say_json(result.as_dict())
    else:
        say(ladder_table(result))
    for warning in result.warnings:
        warn(f"warning: {warning}")
    return drawn(picture, lambda: ladder_picture.draw(ladder_picture.of_result(result)))


def ladder_table(result: LadderResult) -> str:
    """Write each stage with what was found, what the model gives and by how much they differ; then the limits."""
    return table(_COLUMNS, [*map(_stage, result.stages), *map(_limit, result.limits)])


def _stage(stage: StageResult) -> list[object]:
    found, model = stage.median, stage.model
    all_s = [times.all_bytes_s for times in stage.samples]
    return [
        stage.stage.value,
        *_compared(found.first_byte_s, model.first_byte_s),
        *_compared(found.all_bytes_s, model.all_bytes_s),
        f"{min(all_s) * 1e3:.0f} .. {max(all_s) * 1e3:.0f} ms",
    ]


def _compared(found_s: float, model_s: float) -> list[str]:
    return [milliseconds_text(found_s), milliseconds_text(model_s), f"{(found_s - model_s) * 1e3:+.0f} ms"]


def _limit(limit: Limit) -> list[object]:
    times = limit.times
    first_byte, all_bytes = milliseconds_text(times.first_byte_s), milliseconds_text(times.all_bytes_s)
    return [f"limit: {limit.name}", None, first_byte, None, None, all_bytes, None, None]

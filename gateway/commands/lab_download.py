"""`gateway lab download`: a large answer end to end, split, and with everything on; with loss and without."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.commands.lab_picture import can_draw, drawn
from gateway.commands.lab_run import measured, progress
from gateway.commands.output import say, say_json, table, warn
from gateway.exit_codes import ExitCode
from gateway.lab import download_picture
from gateway.lab.download import run_download
from gateway.lab.model import Transfer
from gateway.lab.results import DownloadResult, DownloadWay, Way

_COLUMNS: Final = (">loss", "way", ">took", ">model", ">Mbit/s", ">faster")


def download(
    rtts_s: Sequence[float], transfer: Transfer, *, repeats: int, as_json: bool, picture: Path | None
) -> ExitCode:
    """Measure downloads and show them.

    Returns:
        CANNOT_START where a right is missing, or something that the lab needs; UNWELL where an answer did not come.
    """
    if not can_draw(picture):
        return ExitCode.CANNOT_START
    result = measured(lambda: run_download(rtts_s, transfer, repeats=repeats, progress=progress))
    if isinstance(result, ExitCode):
        return result
    if as_json:
        say_json(result.as_dict())
    else:
        say(download_table(result))
    for warning in result.warnings:
        warn(f"warning: {warning}")
    return drawn(picture, lambda: download_picture.draw(result))


def download_table(result: DownloadResult) -> str:
    """Write how long each way took, how fast that is, and how many times as fast as end to end at the same loss."""
    rows = [_row(way, result) for way in result.ways]
    limit = [None, "limit: rate and propagation", None, f"{result.allowed_s:.2f} s", None, None]
    return table(_COLUMNS, [*rows, limit])


def _row(way: DownloadWay, result: DownloadResult) -> list[object]:
    took_s = way.typical.took_s
    return [
        f"{way.loss:.1%}",
        way.way.value,
        f"{took_s:.2f} s",
        f"{way.model_s:.2f} s",
        f"{result.size_bytes * 8e-6 / took_s:.0f}",
        f"{result.found(Way.END_TO_END, way.loss).typical.took_s / took_s:.2f}x",
    ]

"""`gateway lab plan`: the model alone."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway.commands.lab_picture import can_draw, drawn
from gateway.commands.output import say, say_json, table
from gateway.exit_codes import ExitCode
from gateway.lab import ladder_picture, model
from gateway.lab.model import Transfer
from gateway.lab.quantities import count_text, milliseconds_text
from gateway.lab.results import Limit, Times

_COLUMNS = ("stage", ">first byte", ">all bytes", ">faster")


def plan(rtts_s: Sequence[float], transfer: Transfer, *, as_json: bool, picture: Path | None) -> ExitCode:
    """Show when an answer is there at each stage of the ladder, and draw it if `picture` names a file.

    Returns:
        CANNOT_START where a picture cannot be drawn; then nothing is shown either.
    """
    if not can_draw(picture):
        return ExitCode.CANNOT_START
    rungs = {stage.value: times for stage, times in model.ladder(rtts_s, transfer).items()}
    limits = model.limits(rtts_s, transfer)
    if as_json:
        say_json(_as_dict(rtts_s, transfer, rungs, limits))
    else:
        say(f"{path_text(rtts_s)}; {_transfer_text(transfer)}\n")
        say(_table(rungs, limits))
    return drawn(picture, lambda: ladder_picture.draw(ladder_picture.of_plan(rtts_s, transfer)))


def path_text(rtts_s: Sequence[float]) -> str:
    """Write a chain with its round-trip times: client -28- gateway -214- gateway -32- server, in ms."""
    ends = [*["gateway"] * (len(rtts_s) - 1), "server"]
    return "client" + "".join(f" -{rtt_s * 1e3:g}- {end}" for rtt_s, end in zip(rtts_s, ends, strict=True)) + ", in ms"


def _transfer_text(transfer: Transfer) -> str:
    rate = f" at {count_text(transfer.rate_bits_s, 'bit/s')}" if transfer.rate_bits_s else ""
    return f"{count_text(transfer.size_bytes, 'B')}{rate}, windows of {transfer.initial_window} segments at first"


def _table(rungs: dict[str, Times], limits: Sequence[Limit]) -> str:
    all_of_it = rungs | {f"limit: {limit.name}": limit.times for limit in limits}
    slowest_s = next(iter(rungs.values())).all_bytes_s
    return table(_COLUMNS, [_cells(name, times, slowest_s) for name, times in all_of_it.items()])


def _cells(name: str, times: Times, slowest_s: float) -> list[object]:
    faster = slowest_s / times.all_bytes_s if times.all_bytes_s else None
    return [
        name,
        milliseconds_text(times.first_byte_s),
        milliseconds_text(times.all_bytes_s),
        faster and f"{faster:.2f}x",
    ]


def _as_dict(
    rtts_s: Sequence[float], transfer: Transfer, rungs: dict[str, Times], limits: Sequence[Limit]
) -> dict[str, Any]:
    return {
        "rtts_s": rtts_s,
        **asdict(transfer),
        "stages": [{"stage": stage, "model": _rounded(times)} for stage, times in rungs.items()],
        "limits": [{"name": limit.name, "times": _rounded(limit.times)} for limit in limits],
    }


def _rounded(times: Times) -> dict[str, float]:
    """Give times as they are to the microsecond, without what adding them in binary brings."""
    return {name: round(seconds, 6) for name, seconds in asdict(times).items()}

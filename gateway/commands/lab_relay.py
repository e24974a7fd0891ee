"""`gateway lab relay`: what copying, splicing and a sockmap cost for each byte, and who keeps back-pressure."""

from typing import Final

from gateway.commands.lab_run import measured, progress
from gateway.commands.output import bytes_text, say, say_json, table, warn
from gateway.exit_codes import ExitCode
from gateway.lab.relay_cost import run_relay
from gateway.lab.results import RelayCost, RelayResult

_COLUMNS: Final = ("way", ">CPU s/GB", ">of it its own", ">taken in unread", "back-pressure", "")


def relay(*, size_bytes: int, repeats: int, as_json: bool) -> ExitCode:
    """Measure ways of relaying and show them.

    Returns:
        CANNOT_START where a right is missing, or something that the lab needs; UNWELL where bytes did not come.
    """
    result = measured(lambda: run_relay(size_bytes=size_bytes, repeats=repeats, progress=progress))
    if isinstance(result, ExitCode):
        return result
    if as_json:
        say_json(result.as_dict())
    else:
        say(relay_table(result))
    for warning in result.warnings:
        warn(f"warning: {warning}")
    return ExitCode.OK


def relay_table(result: RelayResult) -> str:
    """Write what each way costs, and what it took in for a reader that read nothing."""
    return table(_COLUMNS, [_row(cost) for cost in result.costs])


def _row(cost: RelayCost) -> list[object]:
    keeps = {True: "kept", False: "not kept", None: None}[cost.keeps_back_pressure]
    seconds = [each if each is None else f"{each:.3f}" for each in (cost.cpu_s_per_gb, cost.own_cpu_s_per_gb)]
    return [cost.how, *seconds, bytes_text(cost.taken_in_bytes), keeps, cost.note]

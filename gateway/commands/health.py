"""`gateway health`: the verdict on the running gateway, of a look at the scoreboard and a question to its supervisor.

It works while the supervisor hangs, which is a reason then: nobody would replace a worker. The thresholds and the names
of peers come from the supervisor; without them the usual ones hold, and peers have numbers.
"""

from pathlib import Path
from typing import Any

from gateway import health
from gateway.commands.output import say, say_json
from gateway.commands.running import ask_supervisor, read_status
from gateway.exit_codes import ExitCode
from gateway.reasons import Code, Level, Reason, Thresholds, Verdict
from gateway.status import GatewayStatus


def judge(runtime_dir: Path, *, as_json: bool, strict: bool) -> ExitCode:
    """Tell whether the gateway that runs in `runtime_dir` takes new sessions, and what needs a look.

    Args:
        strict: degraded is not well, either.

    Raises:
        NotRunning: there is no gateway.
    """
    found = read_status(runtime_dir)
    told = ask_supervisor(runtime_dir) if found.is_supervisor_alive else None
    verdict = _verdict(found, told)
    if as_json:
        say_json(verdict.as_dict())
    else:
        say("\n".join([verdict.level.value, *(f"  {reason}" for reason in verdict.reasons)]))
    return ExitCode.OK if verdict.ok and not (strict and verdict.level is not Level.WELL) else ExitCode.UNWELL


def _verdict(found: GatewayStatus, told: dict[str, Any] | None) -> Verdict:
    if told is None:
        verdict = health.judge(found)
        silent = Reason(Code.SUPERVISOR_SILENT, "supervisor", "the supervisor does not answer, so nobody is replaced")
        return Verdict((*verdict.reasons, silent)) if found.is_supervisor_alive else verdict
    names = {peer.get("number", place): peer["name"] for place, peer in enumerate(told["peers"])}
    return health.judge(found, Thresholds.of(told.get("health", {})), peers=names)

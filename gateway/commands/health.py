"""`gateway health`: the verdict on the running gateway, of a look at the scoreboard and a question to its supervisor.

It works while the supervisor hangs, which is a reason then: nobody would replace a worker. The thresholds and the names
of peers come from the supervisor; without them the usual ones hold, and peers have numbers.
"""

from pathlib import Path

from gateway import health
from gateway.commands.output import say, say_json
from gateway.commands.running import ask_supervisor, read_status
from gateway.exit_codes import ExitCode
from gateway.reasons import Level


def judge(runtime_dir: Path, *, as_json: bool, strict: bool) -> ExitCode:
    """Tell whether the gateway that runs in `runtime_dir` takes new sessions, and what needs a look.

    Args:
        strict: degraded is not well, either.

    Raises:
        NotRunning: there is no gateway.
    """
    found = read_status(runtime_dir, over_s=0)
    told = ask_supervisor(runtime_dir) if found.is_supervisor_alive else None
    verdict = health.judge_as_told(found, told or {}, is_answering=told is not None)
    if as_json:
        say_json(verdict.as_dict())
    else:
        say("\n".join([verdict.level.value, *(f"  {reason}" for reason in verdict.reasons)]))
    return ExitCode.OK if verdict.ok and not (strict and verdict.level is not Level.WELL) else ExitCode.UNWELL

"""`gateway reload`: have the running gateway take its file as it is now, and say what became of that."""

from pathlib import Path

from gateway import control_client
from gateway.commands.output import say, say_json, warn
from gateway.control_client import Reloaded
from gateway.exit_codes import ExitCode


def reload(runtime_dir: Path, *, as_json: bool) -> ExitCode:
    """Have the gateway that runs in `runtime_dir` reload, and wait until it has, or has refused.

    Raises:
        NotRunning: there is none.
        NoAnswer: it does not take orders.
    """
    found = control_client.reload(runtime_dir)
    if as_json:
        say_json(found.as_dict())
    elif found.ok:
        say(f"reloaded: {found.changes}, in {found.took_s:.1f} s; generation {found.generation}")
    else:
        _complain(found)
    return found.exit_code


def _complain(found: Reloaded) -> None:
    for problem in found.problems:
        warn(str(problem))
    if not found.problems:
        warn(f"not reloaded: {found.error}")

"""`gateway upgrade`: have the running gateway go on with the code that is installed now, and tell how that went."""

from dataclasses import asdict
from pathlib import Path

from gateway import control_client
from gateway.commands.output import say, say_json, warn
from gateway.exit_codes import ExitCode


def upgrade(runtime_dir: Path, *, as_json: bool) -> ExitCode:
    """Have the gateway that runs in `runtime_dir` upgrade, and wait until it has, or goes on as it was.

    Raises:
        NotRunning: there is none.
        NoAnswer: it does not take orders.
    """
    found = control_client.upgrade(runtime_dir)
    ok = found.exit_code is ExitCode.OK
    if as_json:
        say_json({"ok": ok} | asdict(found))
    elif ok:
        say(f"upgraded: pid {found.pid} is the supervisor; pid {found.old_pid} retires, sessions left {found.sessions}")
    elif found.exit_code is ExitCode.UNWELL:
        warn(found.error)
    else:
        warn(f"not upgraded, the gateway goes on as it was: {found.error}")
    return found.exit_code

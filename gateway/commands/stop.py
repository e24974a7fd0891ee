"""`gateway stop`: order it, and wait until it is done."""

import os
from pathlib import Path

from gateway import control_client
from gateway.commands.output import say, say_json, warn
from gateway.exit_codes import ExitCode

_PATIENCE_S = 5.0
"""Beyond the gateway's own limit, for a host that is slow."""


def stop(runtime_dir: Path, *, now: bool, as_json: bool) -> ExitCode:
    """End the gateway that runs in `runtime_dir`.

    Raises:
        NotRunning: there is none.
        NoAnswer: it does not take orders.
    """
    ending = control_client.stop(runtime_dir, now=now)
    if not now and ending.sessions:
        warn(f"draining: sessions left {ending.sessions}, up to {ending.drain_s:g} s; `gateway stop --now` resets them")
    try:
        ended = control_client.wait_for_end(ending.pidfd, ending.limit_s + _PATIENCE_S)
    finally:
        os.close(ending.pidfd)
    if as_json:
        say_json({"pid": ending.pid, "sessions": ending.sessions, "stopped": ended})
    elif ended:
        say(f"stopped, pid {ending.pid}")
    if not ended:
        warn(f"pid {ending.pid} is still there; look at its log, or kill it")
    return ExitCode.OK if ended else ExitCode.UNWELL

"""`gateway status` and `gateway health`: from the scoreboard, so that they work while the supervisor hangs."""

from contextlib import closing
from pathlib import Path
from typing import Any

from gateway import control_client, health
from gateway.commands.output import bytes_text, duration_text, say, say_json, table, warn
from gateway.control_client import NoAnswer, NotRunning
from gateway.exit_codes import ExitCode
from gateway.runtime_dir import scoreboard_file
from gateway.status import ChildStatus, GatewayStatus, read_once
from pools.net.scoreboard import Scoreboard, ScoreboardError

_WORKER_COLUMNS = (
    ">worker", ">core", ">pid", "state", ">sessions", ">new/s", ">forward", ">backward", ">cpu", ">rss", ">fds", ">lag",
)  # fmt: skip


def status(runtime_dir: Path, *, as_json: bool) -> ExitCode:
    """Show the gateway that runs in `runtime_dir`.

    Returns:
        UNWELL where the supervisor is gone.

    Raises:
        NotRunning: there is no gateway.
    """
    found = _read(runtime_dir)
    told = _told(runtime_dir)
    if as_json:
        say_json(found.as_dict() | {"gateway": told})
    else:
        say(_heading(found, told))
        say("\n" + table(_WORKER_COLUMNS, [_worker_row(worker) for worker in found.workers]))
    return ExitCode.OK if found.is_supervisor_alive else ExitCode.UNWELL


def judge(runtime_dir: Path, *, as_json: bool) -> ExitCode:
    """Tell whether the gateway that runs in `runtime_dir` takes new sessions, and what needs a look.

    Raises:
        NotRunning: there is no gateway.
    """
    verdict = health.judge(_read(runtime_dir))
    if as_json:
        say_json(verdict.as_dict())
    else:
        say("\n".join([verdict.level.value, *(f"  {reason}" for reason in verdict.reasons)]))
    return ExitCode.OK if verdict.ok else ExitCode.UNWELL


def _read(runtime_dir: Path) -> GatewayStatus:
    try:
        scoreboard = Scoreboard.open(scoreboard_file(runtime_dir))
    except ScoreboardError as error:
        raise NotRunning(f"no gateway runs in {runtime_dir}") from error
    with closing(scoreboard):
        return read_once(scoreboard)


def _told(runtime_dir: Path) -> dict[str, Any] | None:
    """Ask the supervisor for what the scoreboard does not hold; None where it does not answer."""
    try:
        return control_client.ask(runtime_dir, {"request": "status"})
    except (NotRunning, NoAnswer) as error:
        warn(f"the supervisor does not answer: {error}")
        return None


def _heading(found: GatewayStatus, told: dict[str, Any] | None) -> str:
    life = told["phase"] if told else "not answering" if found.is_supervisor_alive else "gone"
    name, age = told["name"] if told else "gateway", duration_text(found.uptime_s)
    lines = [f"{name}, pid {found.supervisor_pid}, {life}, up {age}, sessions {found.sessions}"]
    if told:
        lines.append(f"configuration {told['config'] or 'embedded default'}; admin {told['admin'] or 'off'}")
        rows = [[each["name"], each["mode"], each["address"], each["to"]] for each in told["listeners"]]
        lines += ["", table(["listener", "mode", "address", "to"], rows)]
    return "\n".join(lines)


def _worker_row(worker: ChildStatus) -> list[object]:
    return [
        worker.slot,
        worker.core,
        worker.pid or None,
        worker.state.name.lower(),
        worker.sessions,
        worker.sessions_per_second,
        bytes_text(worker.forward_bytes),
        bytes_text(worker.backward_bytes),
        None if worker.cpu_percent is None else f"{worker.cpu_percent:.0f}%",
        bytes_text(worker.rss_bytes),
        worker.descriptors,
        f"{worker.loop_lag_us / 1000:.1f}ms",
    ]

"""`gateway status`: from the scoreboard, so that it works while the supervisor hangs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.commands.output import bytes_text, duration_text, say, say_json, table
from gateway.commands.running import ask_supervisor, read_status
from gateway.exit_codes import ExitCode
from gateway.status import ChildStatus, GatewayStatus
from gateway.windows import first_windows
from pools.net.scoreboard import ChildState

_WORKER_COLUMNS = (
    ">worker", ">core", ">pid", "state", ">sessions", ">new/s", ">legs in", ">forward", ">backward", ">cpu", ">rss",
    ">fds", ">lag",
)  # fmt: skip
_PROCESS_COLUMNS = ("process", ">pid", "state", ">up", ">cpu", ">rss", ">fds", ">lag")


def status(runtime_dir: Path, *, as_json: bool) -> ExitCode:
    """Show the gateway that runs in `runtime_dir`.

    Returns:
        UNWELL where the supervisor is gone.

    Raises:
        NotRunning: there is no gateway.
    """
    found = read_status(runtime_dir)
    told = ask_supervisor(runtime_dir)
    if as_json:
        say_json(found.as_dict() | {"gateway": told})
    else:
        say(_heading(found, told))
        say("\n" + table(_WORKER_COLUMNS, [_worker_row(worker) for worker in found.workers]))
        if others := _others(found):
            say("\n" + table(_PROCESS_COLUMNS, [_process_row(name, child) for name, child in others.items()]))
    return ExitCode.OK if found.is_supervisor_alive else ExitCode.UNWELL


def _heading(found: GatewayStatus, told: dict[str, Any] | None) -> str:
    life = told["phase"] if told else "not answering" if found.is_supervisor_alive else "gone"
    name, age = told["name"] if told else "gateway", duration_text(found.uptime_s)
    lines = [f"{name}, pid {found.supervisor_pid}, {life}, up {age}, sessions {found.sessions}"]
    if told:
        lines.append(f"configuration {told['config'] or 'embedded default'}; admin {told['admin'] or 'off'}")
        lines += _reloads(found, told)
        lines += _retiring(told["retiring"])
        lines += _early_syn(told["early_syn"])
        rows = [[each["name"], each["mode"], each["address"], each["to"]] for each in told["listeners"]]
        lines += ["", table(["listener", "mode", "address", "to"], rows)]
        windows = first_windows.lines(told["peers"], found.links)
        lines += ["", *windows] if windows else []
    return "\n".join(lines)


def _retiring(supervisors: Sequence[dict[str, Any]]) -> list[str]:
    """Tell of supervisors that see out the sessions of before an upgrade."""
    return [
        f"pid {each['pid']} retires since {duration_text(each['since_s'])}, sessions {each['sessions']}"
        for each in supervisors
    ]


def _reloads(found: GatewayStatus, told: dict[str, Any]) -> list[str]:
    """Tell which configuration holds, once a reload was tried."""
    if not told["last_reload"]:
        return []
    age = duration_text(found.reloaded_age_s)
    return [f"generation {found.config_generation}, for {age}; last reload: {told['last_reload']}"]


def _early_syn(told: dict[str, Any]) -> list[str]:
    if told["lack"]:
        return [f"early_syn off: {told['lack']}"]
    return ["early_syn on"] if told["on"] else []


def _worker_row(worker: ChildStatus) -> list[object]:
    return [
        worker.slot,
        worker.core,
        worker.pid or None,
        worker.state.name.lower(),
        worker.sessions,
        worker.sessions_per_second,
        worker.legs_inbound,
        bytes_text(worker.forward_bytes),
        bytes_text(worker.backward_bytes),
        *_cost(worker),
    ]


def _others(found: GatewayStatus) -> dict[str, ChildStatus]:
    """Name the children beside the workers: the broker where there are peers, the admin child where it is on."""
    others = {"broker": found.broker} if found.links else {}
    return others if found.admin.state is ChildState.ABSENT else others | {"admin": found.admin}


def _process_row(name: str, child: ChildStatus) -> list[object]:
    up = None if child.uptime_s is None else duration_text(child.uptime_s)
    return [name, child.pid or None, child.state.name.lower(), up, *_cost(child)]


def _cost(child: ChildStatus) -> list[object]:
    return [
        None if child.cpu_percent is None else f"{child.cpu_percent:.0f}%",
        bytes_text(child.rss_bytes),
        child.descriptors,
        f"{child.loop_lag_us / 1000:.1f}ms",
    ]

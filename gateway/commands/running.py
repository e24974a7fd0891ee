"""The running gateway as commands see it: the scoreboard, and what its supervisor tells."""

from contextlib import closing
from pathlib import Path
from typing import Any

from gateway import control_client
from gateway.commands.output import warn
from gateway.control_client import NoAnswer, NotRunning
from gateway.runtime_dir import scoreboard_file
from gateway.status import GatewayStatus, read_once
from pools.net.scoreboard import Scoreboard, ScoreboardError


def read_status(runtime_dir: Path, *, over_s: float = 0.2) -> GatewayStatus:
    """Read how the gateway in `runtime_dir` is; that works while its supervisor hangs.

    Args:
        over_s: time over which processor shares are measured; 0 for those who want none.

    Raises:
        NotRunning: there is no gateway.
    """
    with closing(open_scoreboard(runtime_dir)) as scoreboard:
        return read_once(scoreboard, over_s=over_s)


def open_scoreboard(runtime_dir: Path) -> Scoreboard:
    """Open the scoreboard of the gateway in `runtime_dir`. The caller owns it.

    Raises:
        NotRunning: there is no gateway.
    """
    try:
        return Scoreboard.open(scoreboard_file(runtime_dir))
    except ScoreboardError as error:
        raise NotRunning(f"no gateway runs in {runtime_dir}") from error


def ask_supervisor(runtime_dir: Path) -> dict[str, Any] | None:
    """Ask the supervisor for what the scoreboard does not hold; None, after a warning, where it does not answer."""
    try:
        return control_client.ask(runtime_dir, {"request": "status"})
    except (NotRunning, NoAnswer) as error:
        warn(f"the supervisor does not answer: {error}")
        return None

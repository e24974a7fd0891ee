"""`gateway stop` and `gateway drain`: order the end, show how far it is, and wait until it has come."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway import control_client
from gateway.commands.output import say, say_json, warn
from gateway.control_client import Ending
from gateway.exit_codes import ExitCode
from gateway.runtime_dir import scoreboard_file
from pools.net.clock import monotonic_s
from pools.net.scoreboard import Cell, Scoreboard, ScoreboardError

_PATIENCE_S = 5.0
"""Beyond the gateway's own limit, for a host that is slow."""

_LINE_S = 1.0
_CLEAR = "\r\x1b[K"  # ECMA-48: to the left, and erase the line

_Show = Callable[[int, float], None]
"""Takes sessions and seconds that are left."""


def stop(runtime_dir: Path, *, now: bool, as_json: bool) -> ExitCode:
    """End the gateway that runs in `runtime_dir`: soon, or at once where `now`.

    Raises:
        NotRunning: there is none.
        NoAnswer: it does not take orders.
    """
    with _count_sessions(runtime_dir) as count:
        ending = control_client.stop(runtime_dir, now=now)
        ended = _wait(ending, count, _say_nothing if as_json else _say_left)
    if as_json:
        say_json({"pid": ending.pid, "sessions": ending.sessions, "stopped": ended})
    return _conclude(ending.pid, ended, as_json=as_json)


def drain(runtime_dir: Path, *, limit_s: float, wait: bool, as_json: bool) -> ExitCode:
    """Have the gateway that runs in `runtime_dir` take nothing new, and end with its last session.

    Args:
        limit_s: for which sessions may go on; 0 for what its configuration says.
        wait: until it has ended. With `as_json` there is an object in each line, one a second.

    Raises:
        NotRunning: there is none.
        NoAnswer: it does not take orders.
    """
    with _count_sessions(runtime_dir) as count:
        ending = control_client.drain(runtime_dir, limit_s=limit_s)
        show = _json_left(ending.pid) if as_json else _say_left
        show(ending.sessions, ending.drain_s)
        if not wait:
            os.close(ending.pidfd)
            return ExitCode.OK
        ended = _wait(ending, count, show)
    if as_json:
        say(json.dumps({"pid": ending.pid, "sessions": 0, "left_s": 0.0, "stopped": ended}))
    return _conclude(ending.pid, ended, as_json=as_json)


@contextmanager
def _count_sessions(runtime_dir: Path) -> Iterator[Callable[[], int]]:
    """Map the scoreboard before the gateway takes it away, and give what counts the sessions there."""
    try:
        board = Scoreboard.open(scoreboard_file(runtime_dir))
    except ScoreboardError:  # no gateway, which its control socket says better
        yield lambda: 0
        return
    try:
        yield lambda: board.carried[Cell.SESSIONS] + sum(row[Cell.SESSIONS] for row in board.workers)
    finally:
        board.close()


def _wait(ending: Ending, count: Callable[[], int], show: _Show) -> bool:
    """Show how far the end is until it has come; False where it does not come in time."""
    began_s, passed_s, shown = monotonic_s(), 0.0, False
    try:
        while not (ended := control_client.wait_for_end(ending.pidfd, _LINE_S)) and passed_s < _allowed_s(ending):
            passed_s = monotonic_s() - began_s
            show(count(), max(0.0, ending.drain_s - passed_s))
            shown = show is _say_left and sys.stderr.isatty()
    finally:
        os.close(ending.pidfd)
        if shown:
            print(_CLEAR, end="", file=sys.stderr, flush=True)
    return ended


def _allowed_s(ending: Ending) -> float:
    return ending.limit_s + _PATIENCE_S


def _say_nothing(sessions: int, left_s: float) -> None:
    """Leave it to the last word."""


def _say_left(sessions: int, left_s: float) -> None:
    """Write a line, over the one before where a person looks on."""
    line = f"draining: sessions left {sessions}, up to {left_s:.0f} s"
    if sys.stderr.isatty():
        print(_CLEAR + line, end="", file=sys.stderr, flush=True)
    else:
        warn(line)


def _json_left(pid: int) -> _Show:
    def show(sessions: int, left_s: float) -> None:
        line = {"pid": pid, "sessions": sessions, "left_s": round(left_s, 1), "stopped": False}
        print(json.dumps(line), flush=True)

    return show


def _conclude(pid: int, ended: bool, *, as_json: bool) -> ExitCode:
    if not ended:
        warn(f"pid {pid} is still there; look at its log, or kill it")
    elif not as_json:
        say(f"stopped, pid {pid}")
    return ExitCode.OK if ended else ExitCode.UNWELL

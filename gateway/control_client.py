"""The operator's end of the control socket: what commands ask a running gateway. Every wait here ends."""

import os
import select
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from gateway.exit_codes import ExitCode
from gateway.peer_process import peer_process
from gateway.runtime_dir import control_socket
from pools.net.errors import MidmileError, Problem, ProtocolError
from workers.operator_wire import FrameReader, SessionRow, frame

ANSWER_S: Final = 3.0

RELOAD_S: Final = 150.0
"""Within which a reload is over, one that is under way before it, and a worker that hangs meanwhile, included."""

UPGRADE_S: Final = 90.0
"""Within which an upgrade has succeeded or failed; its own limit is `gateway.upgrading.upgrade.READY_S`."""

_CHUNK: Final = 65_536


class NotRunning(MidmileError):
    """No gateway holds this runtime directory."""


class NoAnswer(MidmileError):
    """A gateway, or one of its workers, is there but does not answer, or refused the request."""


def ask(runtime_dir: Path, request: dict[str, Any], *, limit_s: float = ANSWER_S) -> dict[str, Any]:
    """Ask the supervisor one thing.

    Args:
        limit_s: seconds for each step of the conversation.

    Raises:
        NotRunning: nobody is there.
        NoAnswer: the supervisor hangs, or said no.
    """
    match reply := _reply(runtime_dir, request, limit_s=limit_s):
        case {"ok": True}:
            return dict(reply)
        case {"ok": False, "error": str(why)}:
            raise NoAnswer(f"the gateway refused: {why}")
    raise NoAnswer(f"the gateway in {runtime_dir} closed the connection without an answer")


def sessions(runtime_dir: Path, worker: int, *, limit_s: float = ANSWER_S) -> Iterator[SessionRow]:
    """Give the live sessions of one worker, which writes them itself.

    Raises:
        NotRunning: nobody is there.
        NoAnswer: the worker hangs or is not there; rows given before that stand.
    """
    with closing(_connect(runtime_dir, limit_s)) as connection:
        for rows in _frames(connection, {"request": "sessions", "worker": worker}):
            if not isinstance(rows, list):
                raise NoAnswer(f"the gateway refused: {rows.get('error', rows) if isinstance(rows, dict) else rows}")
            yield from map(SessionRow.decode, rows)


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of a reload.

    Attributes:
        exit_code: OK; CONFIGURATION where the file is wrong; CANNOT_START where it could not be done.
        error: why; empty where it was done.
        problems: of the file.
        changes: in words.
        generation: the number of the configuration that holds now; 0 where nothing has changed.
    """

    exit_code: ExitCode
    error: str = ""
    problems: tuple[Problem, ...] = ()
    changes: str = ""
    generation: int = 0
    took_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it has taken effect."""
        return self.exit_code is ExitCode.OK

    def as_dict(self) -> dict[str, Any]:
        """Give what --json prints."""
        if self.ok:
            return {"ok": True, "generation": self.generation, "changes": self.changes, "took_s": self.took_s}
        return {"ok": False, "error": self.error, "problems": [asdict(problem) for problem in self.problems]}


def reload(runtime_dir: Path, *, limit_s: float = RELOAD_S) -> Reloaded:
    """Have the gateway take its file as it is now.

    Raises:
        NotRunning: nobody is there.
        NoAnswer: the supervisor hangs.
    """
    match _reply(runtime_dir, {"request": "reload"}, limit_s=limit_s):
        case {"ok": True, "changes": str(changes), "generation": int(generation), "took_s": float(took_s)}:
            return Reloaded(ExitCode.OK, changes=changes, generation=generation, took_s=took_s)
        case {"ok": False, "error": str(error), "exit_code": int(code), "problems": list(problems)}:
            return Reloaded(ExitCode(code), error, tuple(Problem(**each) for each in problems))
    raise NoAnswer(f"the gateway in {runtime_dir} did not take the order to reload")


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What became of an upgrade.

    Attributes:
        exit_code: OK; CONFIGURATION where the file is wrong; CANNOT_START where it could not be done;
            UNWELL where the new supervisor died as it took over.
        error: why; empty where it was done.
        pid: the supervisor's from now on.
        old_pid: of the one that retires.
        sessions: that it still has.
    """

    exit_code: ExitCode
    error: str = ""
    pid: int = 0
    old_pid: int = 0
    sessions: int = 0


def upgrade(runtime_dir: Path, *, limit_s: float = UPGRADE_S) -> Upgraded:
    """Have the gateway go on with the code that is installed now.

    Raises:
        NotRunning: nobody is there.
        NoAnswer: the supervisor hangs.
    """
    match _reply(runtime_dir, {"request": "upgrade"}, limit_s=limit_s):
        case {"ok": True, "pid": int(pid), "old_pid": int(old_pid), "sessions": int(count)}:
            return Upgraded(ExitCode.OK, "", pid, old_pid, count)
        case {"ok": False, "error": str(error), "exit_code": int(code)}:
            return Upgraded(ExitCode(code), error)
    raise NoAnswer(f"the gateway in {runtime_dir} did not take the order to upgrade")


@dataclass(frozen=True, slots=True)
class Ending:
    """A gateway that was told to end.

    Attributes:
        pid: the supervisor's.
        pidfd: readable once it has ended; belongs to whoever has this.
        sessions: live when it was told.
        drain_s: for which they may go on.
        limit_s: within which it ends, whatever its sessions do.
    """

    pid: int
    pidfd: int
    sessions: int
    drain_s: float
    limit_s: float


def stop(runtime_dir: Path, *, now: bool) -> Ending:
    """Tell the gateway to end.

    Args:
        now: without letting sessions end first.

    Raises:
        NotRunning: nobody is there.
        NoAnswer: the supervisor hangs.
    """
    return _end(runtime_dir, {"request": "stop", "now": now})


def drain(runtime_dir: Path, *, limit_s: float = 0.0) -> Ending:
    """Tell the gateway to end once its sessions have ended.

    Args:
        limit_s: for which they may go on; 0 for what the gateway is configured to give them.

    Raises:
        NotRunning: nobody is there.
        NoAnswer: the supervisor hangs, or `limit_s` is beyond a year.
    """
    return _end(runtime_dir, {"request": "drain", "limit_s": float(limit_s)})


def _end(runtime_dir: Path, request: dict[str, Any]) -> Ending:
    with closing(_connect(runtime_dir, ANSWER_S)) as connection:
        pid, pidfd = _peer(connection, runtime_dir)
        reply: Any = next(_frames(connection, request), None)
    match reply:
        case {"ok": True, "sessions": int(count), "drain_s": float(drain_s), "limit_s": float(limit_s)}:
            return Ending(pid, pidfd, count, drain_s, limit_s)
    os.close(pidfd)
    raise NoAnswer(f"the gateway in {runtime_dir} did not take the order to end")


def wait_for_end(pidfd: int, limit_s: float) -> bool:
    """Wait until the process has ended; False when it has not within the limit."""
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    return bool(waiting.poll(limit_s * 1000))


def _reply(runtime_dir: Path, request: dict[str, Any], *, limit_s: float) -> Any:
    """Give the one reply to a request, however late within the limit; None where the supervisor gives none."""
    with closing(_connect(runtime_dir, limit_s)) as connection:
        return next(_frames(connection, request), None)


def _connect(runtime_dir: Path, limit_s: float) -> socket.socket:
    path = control_socket(runtime_dir)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(limit_s)
    try:
        connection.connect(os.fspath(path))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        connection.close()
        raise NotRunning(f"no gateway runs in {runtime_dir}") from error
    except OSError as error:
        connection.close()
        raise NoAnswer(f"cannot reach the gateway in {runtime_dir}: {error}") from error
    return connection


def _frames(connection: socket.socket, request: dict[str, Any]) -> Iterator[Any]:
    reader = FrameReader()
    try:
        connection.sendall(frame(request))
        while received := connection.recv(_CHUNK):
            yield from reader.feed(received)
    except TimeoutError as error:
        raise NoAnswer(f"no answer within {connection.gettimeout():g} s") from error
    except (OSError, ProtocolError) as error:
        raise NoAnswer(f"the answer broke off: {error}") from error
    if not reader.is_between_frames:
        raise NoAnswer("the answer broke off in the middle")


def _peer(connection: socket.socket, runtime_dir: Path) -> tuple[int, int]:
    pid = peer_process(connection).pid
    try:
        return pid, os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise NotRunning(f"the gateway in {runtime_dir} has just ended") from error

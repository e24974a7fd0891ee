"""The directory that a running gateway holds: pid file, control socket, scoreboard. What they say is elsewhere.

The lock on the pid file is what "running" means: the kernel drops it with its holder, so files that a killed
supervisor left behind never stop the next one.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from pools.net.errors import StartError


def pid_file(directory: Path) -> Path:
    """Where the supervisor's process id is."""
    return directory / "supervisor.pid"


def control_socket(directory: Path) -> Path:
    """Where the supervisor answers."""
    return directory / "control.sock"


def scoreboard_file(directory: Path) -> Path:
    """Where the children's numbers are."""
    return directory / "scoreboard"


def next_scoreboard_file(directory: Path) -> Path:
    """Where those of a supervisor's children are that has not taken over yet."""
    return directory / "scoreboard.next"


def routes_file(directory: Path) -> Path:
    """Where it is written down which routes are ours. It outlives a killed supervisor, as they do."""
    return directory / "routes"


class RuntimeDir:
    """A directory held by this process; one holder at a time."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._is_ours = True

    @classmethod
    def claim(cls, path: Path) -> Self:
        """Make the directory where it is missing, lock it, and clear away what a dead holder left.

        Raises:
            StartError: another gateway holds it, or it is not ours to write.
        """
        with _refusals(path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check(path)
            claimed = cls(path, _lock(path))
            claimed._remove_files()
            claimed._name_holder()
        return claimed

    @classmethod
    def inherit(cls, path: Path, lock: int) -> Self:
        """Hold a directory together with the supervisor before, until that one has let go.

        Args:
            lock: descriptor of the pid file, which that one locked; owned from here on.

        Raises:
            StartError: it is not the pid file there; then it stays the caller's.
        """
        with _refusals(path):
            _check(path)
            if not _is_same_file(lock, pid_file(path)):
                raise StartError(f"runtime directory {path}: expected the one that the gateway holds; found another")
        held = cls(path, lock)
        held._is_ours = False
        return held

    @property
    def lock(self) -> int:
        """The descriptor of the locked pid file; -1 once it was let go of."""
        return self._lock

    def take_over(self) -> None:
        """Say that this process is the gateway's supervisor, and show its children's numbers, from here on.

        Raises:
            StartError: the directory does not let us.
        """
        with _refusals(self.path):
            os.rename(next_scoreboard_file(self.path), scoreboard_file(self.path))
            self._name_holder()
        self._is_ours = True

    def clear_next(self) -> None:
        """Remove what a supervisor left that has not taken over; where that cannot be, the next one replaces it."""
        with suppress(OSError):  # a disk that became read-only: no reason for the supervisor that goes on to end
            next_scoreboard_file(self.path).unlink(missing_ok=True)

    def hand_over(self) -> None:
        """Leave directory, files and lock to the supervisor that has taken over.

        Were the lock kept, too, nobody could start a gateway here after that one was killed, while this one retires.
        """
        self._is_ours = False
        self.abandon()

    def abandon(self) -> None:
        """Let go of our copy of the lock: in a child, and where another supervisor has one. Harmless when repeated."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def release(self) -> None:
        """Remove the files and let the next gateway in. The directory stays: it may be a service manager's."""
        if self._is_ours:
            self._remove_files()
            pid_file(self.path).unlink(missing_ok=True)
        self.abandon()

    def _remove_files(self) -> None:
        for file in (control_socket, scoreboard_file, next_scoreboard_file):
            file(self.path).unlink(missing_ok=True)

    def _name_holder(self) -> None:
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)


def _check(directory: Path) -> None:
    facts = directory.stat()
    if facts.st_uid != os.geteuid() or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StartError(
            f"runtime directory {directory}: expected one that user {os.geteuid()} owns and nobody else may write to; "
            f"found owner {facts.st_uid}, mode {stat.S_IMODE(facts.st_mode):04o}"
        )


def _lock(directory: Path) -> int:
    path = pid_file(directory)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same_file(descriptor, path):
                return descriptor
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StartError(f"runtime directory {directory}: another gateway runs here, pid {holder}") from error
        os.close(descriptor)  # its holder removed the file between our open and our lock


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StartError(f"runtime directory {path}: {error}") from error

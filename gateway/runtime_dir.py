"""The directory that a running gateway holds: pid file, control socket, scoreboard. What they say is elsewhere.

The lock on the pid file is what "running" means: the kernel drops it with its holder, so files that a killed
supervisor left behind never stop the next one.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
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


def routes_file(directory: Path) -> Path:
    """Where it is written down which routes are ours. It outlives a killed supervisor, as they do."""
    return directory / "routes"


class RuntimeDir:
    """A directory held by this process; one holder at a time."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

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
            os.ftruncate(claimed._lock, 0)
            os.pwrite(claimed._lock, f"{os.getpid()}\n".encode(), 0)
        return claimed

    def abandon(self) -> None:
        """Let go in a child: the lock stays with the supervisor."""
        os.close(self._lock)

    def release(self) -> None:
        """Remove the files and let the next gateway in. The directory stays: it may be a service manager's."""
        self._remove_files()
        pid_file(self.path).unlink(missing_ok=True)
        os.close(self._lock)

    def _remove_files(self) -> None:
        control_socket(self.path).unlink(missing_ok=True)
        scoreboard_file(self.path).unlink(missing_ok=True)


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

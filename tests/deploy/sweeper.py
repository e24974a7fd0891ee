"""Sweeps up after a run, however it ended: a process of its own that waits for the end of the one that started it.

Hosts, mounts, bridges and namespaces end with the first process of their namespace, which unshare(1) kills when it
dies itself. What the kernel does not take away are control groups and files: they are left to this one. Where it was
killed, too, the next run finds them: nobody holds the lock of their directory any more.

    python -m tests.deploy.sweeper DIRECTORY...        the pid of unshare(1) on standard input, and then its end
"""

import fcntl
import os
import select
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PATIENCE_S: Final = 30.0
_LOCK: Final = "held-by-its-run"
_CGROUPS: Final = "/sys/fs/cgroup"


def sweep(directories: Sequence[Path]) -> None:
    """Wait for the end of standard input, end who may be left, and remove the directories."""
    pid = sys.stdin.readline().strip()
    watched = os.pidfd_open(int(pid)) if pid else -1
    sys.stdin.read()
    if watched >= 0:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(watched, signal.SIGKILL)
        select.select([watched], [], [], _PATIENCE_S)
    for directory in directories:
        remove(directory)


@contextmanager
def claimed(scratch: Path) -> Iterator[None]:
    """Have others see that a directory's run is alive, for as long as it is."""
    with (scratch / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def abandoned(place: Path, prefix: str) -> list[Path]:
    """Give the directories there that runs left which are no more."""
    return [lock.parent for lock in place.glob(f"{prefix}*/{_LOCK}") if _is_free(lock)]


def _is_free(path: Path) -> bool:
    try:
        with path.open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held; or gone meanwhile
        return False
    return True


def remove(directory: Path) -> None:
    """Remove a directory of files; or of control groups, which are removed one by one, the innermost first."""
    if not directory.is_relative_to(_CGROUPS):
        shutil.rmtree(directory, ignore_errors=True)
        return
    for group, _, _ in os.walk(directory, topdown=False):
        _remove_group(Path(group))


def _remove_group(group: Path) -> None:
    """Remove a control group when its last process is gone; those that were killed may take a moment."""
    with suppress(OSError, ProcessLookupError):
        for pid in (group / "cgroup.procs").read_text(encoding="utf-8").split():
            _await(int(pid))
        group.rmdir()


def _await(pid: int) -> None:
    with suppress(ProcessLookupError):
        watched = os.pidfd_open(pid)
        select.select([watched], [], [], _PATIENCE_S)
        os.close(watched)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for those whose end we wait for
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sweep([Path(name) for name in sys.argv[1:]])

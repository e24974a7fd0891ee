"""What the kernel says of the gateway's processes: life, processor time, memory, descriptors. Judges nothing.

A process may end between any two lines here; then it reads as not there. A child's number that meanwhile belongs to
a stranger is told by its age: a process cannot have come after it wrote that it had booted.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_AGE_SLACK_S: Final = (
    5.0  # between the wall clock that process ages come from and the monotonic clock of the scoreboard
)


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """One living process. None where the kernel does not let this user look.

    Attributes:
        cpu_s: processor time since its start, user and system.
        cpu_percent: of one core, since the reading before; None for the first reading.
        core: the one it is pinned to; None where it may use several.
        rss_bytes: resident memory.
        descriptors: open ones.
        descriptors_limit: RLIMIT_NOFILE, the soft one.
    """

    cpu_s: float
    cpu_percent: float | None
    core: int | None
    rss_bytes: int
    descriptors: int | None
    descriptors_limit: int | None


class Processes:
    """Reads processes by number and remembers the last reading of each, for processor time between two readings."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, float]] = {}

    def is_alive(self, pid: int, *, since_ns: int, now_ns: int) -> bool:
        """Tell whether `pid` runs and is the process that was there at `since_ns` (monotonic clock)."""
        return _living(pid, since_ns, now_ns) is not None

    def read(self, pid: int, *, since_ns: int, now_ns: int) -> ProcessReading | None:
        """Read the process `pid`; None when it ended, is a zombie, or came after `since_ns` (monotonic clock)."""
        process = _living(pid, since_ns, now_ns)
        try:
            return self._reading(process, now_ns) if process else None
        except psutil.NoSuchProcess:  # ended since
            return None

    def _reading(self, process: psutil.Process, now_ns: int) -> ProcessReading:
        with process.oneshot():
            times = process.cpu_times()
            cpu_s = times.user + times.system
            cores = process.cpu_affinity()
            rss_bytes = process.memory_info().rss
        return ProcessReading(
            cpu_s=cpu_s,
            cpu_percent=self._percent(process.pid, cpu_s, now_ns / 1e9),
            core=cores[0] if cores and len(cores) == 1 else None,
            rss_bytes=rss_bytes,
            descriptors=_descriptors(process),
            descriptors_limit=_descriptors_limit(process),
        )

    def _percent(self, pid: int, cpu_s: float, now_s: float) -> float | None:
        before_cpu_s, before_s = self._last.get(pid, (cpu_s, now_s))
        self._last[pid] = (cpu_s, now_s)
        return 100 * max(0.0, cpu_s - before_cpu_s) / (now_s - before_s) if now_s > before_s else None


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a cgroup.

    Attributes:
        used_bytes: without file pages that the kernel can drop at once.
        limit_bytes: what the cgroup may use.
    """

    used_bytes: int
    limit_bytes: int


def memory_of_cgroup(process: Path = Path("/proc/self"), mount: Path = Path("/sys/fs/cgroup")) -> Memory | None:
    """Give the memory of the closest cgroup of `process` that has a limit; None where there is none to be seen.

    Source: the kernel's admin-guide/cgroup-v2.rst, memory.current and memory.max; cgroup-v1/memory.rst.
    """
    try:
        groups = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
    except OSError:
        return None
    for number, controllers, group in groups:
        if number == "0" or "memory" in controllers.split(","):
            root = mount if number == "0" else mount / "memory"
            below = Path(group.lstrip("/"))
            readings = (_memory_in(root / part, is_v2=number == "0") for part in (below, *below.parents))
            if found := next(filter(None, readings), None):
                return found
    return None


def _memory_in(directory: Path, *, is_v2: bool) -> Memory | None:
    used, limit = ("memory.current", "memory.max") if is_v2 else ("memory.usage_in_bytes", "memory.limit_in_bytes")
    try:
        limit_bytes = int((directory / limit).read_text())  # "max" is no number, and no limit
        used_bytes = int((directory / used).read_text())
        stat = dict(line.split() for line in (directory / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    droppable_bytes = int(stat.get("inactive_file", stat.get("total_inactive_file", "0")))
    is_limit = limit_bytes < psutil.virtual_memory().total  # v1 says "none" with a number near 2**63
    return Memory(max(0, used_bytes - droppable_bytes), limit_bytes) if is_limit else None


def _living(pid: int, since_ns: int, now_ns: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid) if pid else None
        if process is None or process.status() == psutil.STATUS_ZOMBIE:
            return None
        age_s = time.time() - process.create_time()
    except psutil.NoSuchProcess:
        return None
    return process if age_s + _AGE_SLACK_S >= (now_ns - since_ns) / 1e9 else None


def _descriptors(process: psutil.Process) -> int | None:
    try:
        return process.num_fds()
    except psutil.AccessDenied:
        return None


def _descriptors_limit(process: psutil.Process) -> int | None:
    try:
        soft, _ = process.rlimit(psutil.RLIMIT_NOFILE)
    except psutil.AccessDenied:
        return None
    return soft if soft != psutil.RLIM_INFINITY else None

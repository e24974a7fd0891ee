"""Which cores this process may use, and which worker gets which. Reads /proc and cgroups, changes nothing.

Affinity already respects cpusets: the kernel keeps a task's mask inside its cpuset's (cpuset(7)). A quota does not
show there: a container allowed two cores' worth of time still sees all of them, so the cgroup is read as well.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CpuMount:
    """A mounted cgroup hierarchy that limits processor time.

    Attributes:
        root: the cgroup that is visible at the mount point; not "/" inside some containers.
        point: where it is mounted.
        is_v2: the unified hierarchy.
    """

    root: str
    point: Path
    is_v2: bool


def usable_cores(process: Path = Path("/proc/self")) -> tuple[int, ...]:
    """Give the cores worth pinning a worker to, in ascending order, never empty.

    Args:
        process: its directory in /proc; another one for tests.

    Source: sched_getaffinity(2); the kernel's admin-guide/cgroup-v2.rst, cpu.max, and scheduler/sched-bwc.rst.
    """
    return bounded(sorted(os.sched_getaffinity(0)), quota_cores=cpu_quota_cores(process))


def bounded(cores: Sequence[int], *, quota_cores: float) -> tuple[int, ...]:
    """Keep as many of `cores` as a quota can keep busy, rounded up, at least one."""
    return tuple(cores) if math.isinf(quota_cores) else tuple(cores[: max(1, math.ceil(quota_cores))])


def assign(workers: int, cores: Sequence[int]) -> tuple[int, ...]:
    """Give each slot its core, round robin where there are more workers than cores."""
    return tuple(cores[slot % len(cores)] for slot in range(workers))


def cpu_quota_cores(process: Path = Path("/proc/self")) -> float:
    """Give the processor time this process may use, in cores; infinity for no quota.

    Every cgroup above counts too: the smallest quota holds.
    """
    try:
        mounts = parse_mounts((process / "mountinfo").read_text())
        groups = parse_groups((process / "cgroup").read_text())
    except OSError:
        return math.inf  # no /proc, no quota that could be known
    quotas = [_quota_in(directory, mount) for mount in mounts for directory in _directories(mount, groups)]
    return min(quotas, default=math.inf)


def parse_mounts(mountinfo: str) -> list[CpuMount]:
    """Find the hierarchies that limit processor time. Source: proc_pid_mountinfo(5)."""
    mounts = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        root, point = left.split(" ")[3:5]
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.rsplit(" ", 1)[-1].split(",")):
            mounts.append(CpuMount(root, Path(point), kind == "cgroup2"))
    return mounts


def parse_groups(cgroup: str) -> dict[bool, str]:
    """Give this process's cgroup in the unified (True) and in the v1 cpu hierarchy (False). Source: cgroups(7)."""
    groups = {}
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            groups[not controllers] = path
    return groups


def parse_cpu_max(text: str) -> float:
    """Read cpu.max, "QUOTA PERIOD" in microseconds or "max PERIOD", as cores."""
    quota, _, period = text.partition(" ")
    return math.inf if quota == "max" else int(quota) / int(period)


def parse_cfs(quota_us: str, period_us: str) -> float:
    """Read cpu.cfs_quota_us, -1 for none, over cpu.cfs_period_us, as cores."""
    quota = int(quota_us)
    return math.inf if quota <= 0 else quota / int(period_us)


def _directories(mount: CpuMount, groups: dict[bool, str]) -> Iterator[Path]:
    group = groups.get(mount.is_v2)
    if group is None:
        return
    below = Path(group)
    # Another namespace's path says nothing here: then only the mount's own root is known to hold.
    below = below.relative_to(mount.root) if below.is_relative_to(mount.root) else Path()
    yield from (mount.point / part for part in (below, *below.parents))


def _quota_in(directory: Path, mount: CpuMount) -> float:
    try:
        if mount.is_v2:
            return parse_cpu_max((directory / "cpu.max").read_text())
        return parse_cfs((directory / "cpu.cfs_quota_us").read_text(), (directory / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return math.inf  # the root cgroup has no such file

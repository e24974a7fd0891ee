"""Readings of real processes: living, ended, and not the one they were."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.processes import Memory, Processes, memory_of_cgroup
from pools.net.clock import monotonic_ns

HOUR_NS = 3600 * 10**9


@pytest.fixture
def child() -> Iterator[int]:
    """A process that waits, unreaped until the test is over."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_this_process_is_read_with_everything() -> None:
    now_ns = monotonic_ns()
    reading = Processes().read(os.getpid(), since_ns=now_ns, now_ns=now_ns)
    assert reading is not None
    assert reading.rss_bytes > 1_000_000
    assert reading.descriptors is not None
    assert reading.descriptors >= 3
    assert reading.cpu_percent is None, "one reading cannot tell"


def test_processor_share_comes_from_two_readings() -> None:
    processes = Processes()
    processes.read(os.getpid(), since_ns=monotonic_ns(), now_ns=monotonic_ns())
    busy_until_s = time.process_time() + 0.05
    while time.process_time() < busy_until_s:
        pass
    second = processes.read(os.getpid(), since_ns=monotonic_ns(), now_ns=monotonic_ns())
    assert second is not None
    assert second.cpu_percent is not None
    assert second.cpu_percent > 0


def test_a_pinned_process_shows_its_core(child: int) -> None:
    core = min(os.sched_getaffinity(child))
    os.sched_setaffinity(child, {core})
    reading = Processes().read(child, since_ns=monotonic_ns(), now_ns=monotonic_ns())
    assert reading is not None
    assert reading.core == core


def test_a_zombie_is_not_alive(child: int) -> None:
    assert Processes().is_alive(child, since_ns=monotonic_ns(), now_ns=monotonic_ns())
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert not Processes().is_alive(child, since_ns=monotonic_ns(), now_ns=monotonic_ns())
    assert Processes().read(child, since_ns=monotonic_ns(), now_ns=monotonic_ns()) is None


def test_a_process_that_was_reaped_reads_as_not_there() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert Processes().read(pid, since_ns=monotonic_ns(), now_ns=monotonic_ns()) is None


def test_a_number_taken_over_by_a_younger_process_is_a_stranger(child: int) -> None:
    now_ns = monotonic_ns() + HOUR_NS
    assert Processes().read(child, since_ns=now_ns - HOUR_NS, now_ns=now_ns) is None


def test_number_zero_is_nobody() -> None:
    assert Processes().read(0, since_ns=0, now_ns=monotonic_ns()) is None


def write(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(text)


def test_memory_of_the_unified_hierarchy_comes_from_the_closest_limit(tmp_path: Path) -> None:
    write(tmp_path / "proc", {"cgroup": "0::/system.slice/midmile.service\n"})
    stat = "anon 5\ninactive_file 300\n"
    write(
        tmp_path / "cg/system.slice/midmile.service",
        {"memory.max": "max\n", "memory.current": "9\n", "memory.stat": stat},
    )
    for name, text in {"memory.max": "4000\n", "memory.current": "1300\n", "memory.stat": stat}.items():
        (tmp_path / "cg/system.slice" / name).write_text(text)
    assert memory_of_cgroup(tmp_path / "proc", tmp_path / "cg") == Memory(used_bytes=1000, limit_bytes=4000)


def test_memory_of_a_v1_hierarchy(tmp_path: Path) -> None:
    write(tmp_path / "proc", {"cgroup": "4:memory:/box\n1:cpu:/\n"})
    files = {"memory.limit_in_bytes": "4000", "memory.usage_in_bytes": "900", "memory.stat": "inactive_file 100\n"}
    write(tmp_path / "cg/memory/box", files)
    assert memory_of_cgroup(tmp_path / "proc", tmp_path / "cg") == Memory(used_bytes=800, limit_bytes=4000)


@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096)])
def test_no_limit_is_no_memory_to_speak_of(tmp_path: Path, limit: str) -> None:
    write(tmp_path / "proc", {"cgroup": "0::/\n"})
    write(tmp_path / "cg", {"memory.max": limit, "memory.current": "900", "memory.stat": ""})
    assert memory_of_cgroup(tmp_path / "proc", tmp_path / "cg") is None


def test_a_process_that_is_gone_has_no_cgroup(tmp_path: Path) -> None:
    assert memory_of_cgroup(tmp_path / "proc", tmp_path / "cg") is None

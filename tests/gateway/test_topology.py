import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.topology import assign, bounded, cpu_quota_cores, parse_cfs, parse_cpu_max, usable_cores


@given(st.integers(min_value=1, max_value=200), st.lists(st.integers(0, 500), min_size=1, unique=True))
def test_cores_are_shared_evenly_in_slot_order(workers: int, cores: list[int]) -> None:
    assigned = assign(workers, cores)
    assert len(assigned) == workers
    counts = [assigned.count(core) for core in cores]
    assert max(counts) - min(counts) <= 1
    assert assigned[: len(cores)] == tuple(cores[:workers])


@pytest.mark.parametrize(
    ("quota_cores", "kept"),
    [(math.inf, (0, 2, 4)), (0.5, (0,)), (1.0, (0,)), (1.5, (0, 2)), (3.0, (0, 2, 4)), (64.0, (0, 2, 4))],
)
def test_quota_is_rounded_up(quota_cores: float, kept: tuple[int, ...]) -> None:
    assert bounded((0, 2, 4), quota_cores=quota_cores) == kept


def test_quotas_are_read_as_the_kernel_writes_them() -> None:
    assert parse_cpu_max("max 100000\n") == math.inf
    assert parse_cpu_max("150000 100000\n") == 1.5
    assert parse_cfs("-1\n", "100000\n") == math.inf
    assert parse_cfs("50000\n", "100000\n") == 0.5


def host(folder: Path, *, mountinfo: str, cgroup: str, files: dict[str, str]) -> Path:
    """A /proc directory and the cgroup files it leads to, below `folder`."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "mountinfo").write_text(mountinfo.format(folder=folder))
    (folder / "cgroup").write_text(cgroup)
    return folder


def test_smallest_quota_on_the_way_up_holds(tmp_path: Path) -> None:
    process = host(
        tmp_path,
        mountinfo="30 23 0:26 / {folder}/cg rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
        cgroup="0::/system.slice/midmile.service\n",
        files={"cg/system.slice/cpu.max": "150000 100000", "cg/system.slice/midmile.service/cpu.max": "max 100000"},
    )
    assert cpu_quota_cores(process) == 1.5


def test_container_that_sees_its_own_cgroup_as_the_mount(tmp_path: Path) -> None:
    process = host(
        tmp_path,
        mountinfo="31 23 0:27 /docker/abc {folder}/cg ro - cgroup cgroup rw,cpu,cpuacct\n",
        cgroup="4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n0::/\n",
        files={"cg/cpu.cfs_quota_us": "200000", "cg/cpu.cfs_period_us": "100000"},
    )
    assert cpu_quota_cores(process) == 2.0


def test_no_cgroup_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota_cores(tmp_path / "missing") == math.inf
    process = host(tmp_path, mountinfo="22 27 0:21 / /proc rw - proc proc rw\n", cgroup="0::/\n", files={})
    assert cpu_quota_cores(process) == math.inf


def test_this_process_has_a_core_to_use() -> None:
    cores = usable_cores()
    assert cores
    assert list(cores) == sorted(set(cores))

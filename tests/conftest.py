"""What all tests share: how many run at once, skips that CI does not accept, hypothesis for examples of real work."""

import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

_IN_CI = bool(os.environ.get("CI"))
_AT_ONCE = 4  # processes, on two cores: most tests wait for others more than they compute

# Examples here move bytes through the kernel; how long that takes says something of the machine, not of the code.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run the whole suite in several processes, and what somebody picked by path or name in this one; -n N decides."""
    is_picked = config.option.file_or_dir or config.option.keyword
    return 0 if is_picked else _AT_ONCE


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist leaves it untyped
    """Keeps a scenario's file in one process, in order: its tests share servers and fixed ports. Others go anywhere."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return path if path.startswith("tests/scenarios/") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Scheduling:
    """Hand tests out as above; what xdist has for groups of tests, --dist=loadgroup, does nothing under pytest 9.2."""
    return _Scheduling(config, log)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure; an expected failure (`wasxfail`) stays what it is."""
    if _IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longreprtext}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report

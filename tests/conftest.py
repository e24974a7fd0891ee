"""What all tests share: how many run at once, skips that CI does not accept, hypothesis for examples of real work."""

import os
import signal
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

_IN_CI = bool(os.environ.get("CI"))
_AT_ONCE = 4  # processes, on two cores: most tests wait for others more than they compute

# Stories of many sessions, many gateways or much time, which `make test-long` tells: half of what all tests take.
LONG = frozenset(
    f"tests/{name}.py"
    for name in (
        "gateway/lab/test_download",
        "gateway/lab/test_ladder",
        "gateway/reloading/test_reload",
        "gateway/upgrading/test_upgrade",
        "scenarios/test_a_peer_restarted",
        "scenarios/test_behind_haproxy",
        "scenarios/test_clock_stepped",
        "scenarios/test_curl_moves_a_gigabyte",
        "scenarios/test_descriptors_run_out",
        "scenarios/test_drain",
        "scenarios/test_every_process_killed",
        "scenarios/test_links_from_outside",
        "scenarios/test_malformed_input",
        "scenarios/test_memory_runs_out",
        "scenarios/test_mptcp_legs",
        "scenarios/test_nine_thousand_idle",
        "scenarios/test_no_room_for_the_log",
        "scenarios/test_nothing_leaks",
        "scenarios/test_nothing_leaks_in_a_chain",
        "scenarios/test_page",
        "scenarios/test_preconnect_over_changes",
        "scenarios/test_programs_cross_three_gateways",
        "scenarios/test_reload_under_load",
        "scenarios/test_runtime_dir_gone",
        "scenarios/test_transparent",
        "scenarios/test_transparent_over_changes",
        "scenarios/test_turbo_start",
        "scenarios/test_under_a_service_manager",
        "scenarios/test_upgrade_under_load",
        "scenarios/test_window_routes_over_changes",
    )
)

# A shell's background starts with SIGINT ignored (sh(1), "Asynchronous lists"), and what is ignored stays so in
# children, which are to end here as they do for Ctrl-C in a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples here move bytes through the kernel; how long that takes says something of the machine, not of the code.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="tell the long stories, and nothing else; `make test-long`")


def _is_picked(config: pytest.Config) -> bool:
    """Tell whether somebody picked tests by path or name."""
    return bool(config.option.file_or_dir or config.option.keyword)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long stories to a run of their own, but for those that somebody picked."""
    if not _is_picked(config):
        left_out = {item for item in items if (_path(item.nodeid) in LONG) is not config.option.long}
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=list(left_out))


def _path(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run whole suites in several processes, and what somebody picked in this one; -n N decides."""
    return 0 if _is_picked(config) else _AT_ONCE


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist leaves it untyped
    """Keeps a scenario's file in one process, in order: its tests share servers and fixed ports. Others go anywhere."""

    def _split_scope(self, nodeid: str) -> str:
        path = _path(nodeid)
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

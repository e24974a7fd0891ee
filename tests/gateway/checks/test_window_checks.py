from dataclasses import replace

import pytest

from gateway.checks.findings import Level
from gateway.checks.host import Capability, Host
from gateway.checks.window_checks import initial_window

ABLE = Host(
    kernel=(6, 1),
    python=(3, 11),
    capabilities=1 << Capability.NET_ADMIN,
    descriptors_hard=100_000,
    cores=(0,),
    page_bytes=4096,
    sysctls={
        "net.core.rmem_max": "212992",
        "net.core.wmem_max": "4194304",
        "net.ipv4.tcp_rmem": "4096\t131072\t6291456",
    },
)


def test_with_the_right_nothing_is_wrong() -> None:
    found = initial_window(ABLE, "mumbai", 200)
    assert (found.check, found.level) == ("initial_window of mumbai", Level.OK)
    assert found.found == "200 segments, 292000 bytes; CAP_NET_ADMIN held"


@pytest.mark.parametrize(("segments", "bounds"), [(200, ["rmem_max=292000"]), (100, []), (4000, ["rmem", "wmem"])])
def test_without_it_the_advice_names_it_and_what_else_bounds_the_buffers(segments: int, bounds: list[str]) -> None:
    found = initial_window(replace(ABLE, capabilities=0), "mumbai", segments)
    assert found.level is Level.WARN
    assert "AmbientCapabilities=CAP_NET_ADMIN" in found.advice
    assert found.advice.count("sysctl -w") == len(bounds)
    assert all(bound in found.advice for bound in bounds)


def test_an_old_kernel_needs_its_own_default() -> None:
    found = initial_window(replace(ABLE, kernel=(5, 10)), "mumbai", 200)
    assert found.advice.startswith("sysctl -w net.ipv4.tcp_rmem='4096 584000 6291456'")
    assert initial_window(replace(ABLE, kernel=(5, 10)), "mumbai", 40).level is Level.OK


def test_a_host_that_shows_no_sysctls_is_not_accused() -> None:
    assert initial_window(replace(ABLE, sysctls={}, kernel=(5, 10)), "mumbai", 4000).level is Level.OK

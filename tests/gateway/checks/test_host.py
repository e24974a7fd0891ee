"""What the kernel's files say, read from samples and from this host."""

import pytest

from gateway.checks.host import Capability, Host, parse_capabilities, parse_release


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.1.0-18-amd64", (6, 1)), ("4.19", (4, 19)), ("6.18.44-fc", (6, 18)), ("unknown", (0, 0))],
)
def test_releases_of_distributions(release: str, version: tuple[int, int]) -> None:
    assert parse_release(release) == version


def test_effective_capabilities_and_no_others_are_read() -> None:
    status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000000400\nCapBnd:\t000001ffffffffff\n"
    assert parse_capabilities(status) == 1 << Capability.NET_BIND_SERVICE
    assert parse_capabilities("Name:\tx\n") == 0


def test_this_host_can_be_read() -> None:
    host = Host.read()
    assert host.kernel >= (4, 0)
    assert host.cores
    assert host.descriptors_hard > 0
    assert host.numbers("net.core.somaxconn")[0] > 0
    assert len(host.numbers("net.ipv4.tcp_rmem")) == 3
    assert host.numbers("no.such.sysctl") == ()

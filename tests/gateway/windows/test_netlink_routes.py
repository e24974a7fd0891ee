"""Against the kernel, in a network namespace without a wire: a TUN device that nobody reads is enough for routes."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from gateway.lab import network_namespace
from gateway.windows.netlink_routes import NoWay, RouteTable
from gateway.windows.route_watch import OUR_PROTOCOL

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")

THEIRS = "198.51.100.7 via 10.9.0.253 dev d0 proto static linkdown mtu 1400 congctl reno"
SETUP = (
    "link set lo up",
    "tuntap add d0 mode tun",
    "addr add 10.9.0.1/24 dev d0",
    "-6 addr add fd00::1/64 dev d0 nodad",
    "link set d0 up",
    "route add default via 10.9.0.254",
    "-6 route add default via fd00::fe",
    "route add 198.51.100.7/32 via 10.9.0.253 proto static mtu 1400 congctl reno",
    "-6 route add fd01::7/128 via fd00::fd metric 5",
)


def ip(command: str) -> str:
    return subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def table() -> Iterator[RouteTable]:
    namespace = network_namespace.create()
    try:
        with network_namespace.entered(namespace):
            for command in SETUP:
                ip(command)
            with RouteTable() as table:
                yield table
    finally:
        os.close(namespace)


@pytest.mark.parametrize(
    ("address", "way"),
    [
        ("203.0.113.9", "via 10.9.0.254"),
        ("10.9.0.77", "dev d0"),
        ("198.51.100.7", "via 10.9.0.253"),
        ("2001:db8::9", "via fd00::fe"),
        ("fd01::7", "via fd00::fd"),
    ],
)
def test_packets_go_the_way_they_went_with_another_first_window(table: RouteTable, address: str, way: str) -> None:
    before = ip("route"), ip("-6 route")
    table.widen(address, 200)
    now = ip(f"route get {address}")
    assert way in now
    assert "initcwnd 200" in now
    [route] = table.ours()
    assert route.address == address
    table.remove(route)
    assert (ip("route"), ip("-6 route")) == before


def test_what_somebody_configured_for_the_way_stays_in_force_and_untouched(table: RouteTable) -> None:
    table.widen("198.51.100.7", 200)
    now = ip("route get 198.51.100.7")
    assert "mtu 1400" in now
    assert "congctl reno" in now
    assert THEIRS in ip("route")
    [route] = table.ours()
    table.remove(route)
    assert THEIRS in ip("route")
    with pytest.raises(OSError, match="ESRCH"):
        table.remove(route)
    assert THEIRS in ip("route")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.9.0.1", "::1"])
def test_this_hosts_own_addresses_get_no_route(table: RouteTable, address: str) -> None:
    with pytest.raises(NoWay, match="address of this host"):
        table.widen(address, 200)


def test_where_no_route_leads_the_kernel_says_so(table: RouteTable) -> None:
    ip("route del default")
    with pytest.raises(OSError, match="ENETUNREACH"):
        table.widen("203.0.113.9", 200)


def test_routes_of_others_are_not_ours(table: RouteTable) -> None:
    ip("route add 203.0.113.9/32 via 10.9.0.254 proto bgp")
    assert not table.ours()
    ip(f"route add 203.0.113.8/32 via 10.9.0.254 proto {OUR_PROTOCOL}")
    assert [route.address for route in table.ours()] == ["203.0.113.8"]

"""Against the kernel, in a network namespace of its own; the clock is the test's."""

import os
import selectors
import subprocess
from collections.abc import Iterator

import pytest

from gateway.lab import network_namespace
from gateway.windows.route_watch import OUR_PROTOCOL, PAUSE_S, SETTLE_S, RouteWatch

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


class Loop:
    """A watch, what it has called for, and a loop around it."""

    def __init__(self) -> None:
        self.called: list[float] = []
        self.now_s = 100.0
        self.selector = selectors.DefaultSelector()
        self.watch = RouteWatch(lambda: self.called.append(self.now_s), self.selector)

    def turn(self, now_s: float) -> list[float]:
        """Take what there is, as of this time, and give the times of all calls."""
        for key, _ in self.selector.select(0):
            key.data()
        self.now_s = now_s
        self.watch.turn(now_s)
        return self.called


@pytest.fixture
def loop() -> Iterator[Loop]:
    namespace = network_namespace.create()
    try:
        with network_namespace.entered(namespace):
            for command in (
                "link set lo up",
                "tuntap add d0 mode tun",
                "addr add 10.9.0.1/24 dev d0",
                "link set d0 up",
            ):
                ip(command)
            loop = Loop()
            yield loop
            loop.watch.close()
            loop.selector.close()
    finally:
        os.close(namespace)


def test_a_change_is_told_once_it_has_settled_and_then_no_more(loop: Loop) -> None:
    assert loop.turn(100.0) == []
    ip("route add default via 10.9.0.254")
    ip("route change default via 10.9.0.253")
    assert loop.turn(101.0) == []
    assert loop.turn(101.0 + SETTLE_S) == [101.0 + SETTLE_S]
    assert loop.turn(200.0) == [101.0 + SETTLE_S]


def test_our_own_routes_are_no_news(loop: Loop) -> None:
    ip(f"route add 203.0.113.9 via 10.9.0.254 proto {OUR_PROTOCOL}")
    ip(f"route del 203.0.113.9 proto {OUR_PROTOCOL}")
    loop.turn(100.0)
    assert loop.turn(200.0) == []


def test_a_route_of_ipv6_and_a_way_that_goes_are_news(loop: Loop) -> None:
    ip("-6 route add fd01::/64 dev d0")
    loop.turn(100.0)
    assert loop.turn(102.0) == [102.0]
    ip("-6 route del fd01::/64 dev d0")
    loop.turn(200.0)
    assert loop.turn(202.0) == [102.0, 202.0]


def test_changes_without_end_are_told_now_and_then(loop: Loop) -> None:
    for second in range(100, 200):
        ip(f"route replace default via 10.9.0.{second}")
        loop.turn(second)
    first, *more = loop.called
    assert first == 100 + SETTLE_S
    assert more == [first + PAUSE_S * number for number in range(1, 4)]


def test_more_than_the_kernel_keeps_counts_as_a_change(loop: Loop) -> None:
    routes = "".join(f"route add 10.{high}.{low}.0/24 via 10.9.0.254\n" for high in range(20, 24) for low in range(256))
    subprocess.run(["ip", "-batch", "-"], input=routes, text=True, check=True)
    loop.turn(100.0)
    assert loop.turn(102.0) == [102.0]

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from gateway import errand
from gateway.lab import network_namespace
from gateway.windows import route_windows
from gateway.windows.route_windows import RouteWindows
from pools.net.endpoint import Endpoint
from pools.peer import Peer

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")

SETUP = (
    "link set lo up",
    "tuntap add d0 mode tun",
    "addr add 10.9.0.1/24 dev d0",
    "link set d0 up",
    "route add default via 10.9.0.254",
)


def ip(command: str) -> str:
    return subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """A network namespace with a way out."""
    namespace = network_namespace.create()
    try:
        with network_namespace.entered(namespace):
            for command in SETUP:
                ip(command)
            yield
    finally:
        os.close(namespace)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "routes"


def peer(name: str, host: str, window: int = 200) -> Peer:
    return Peer(name, Endpoint(host, 7400), initial_window=window)


def give_up_net_admin() -> None:
    """Drop CAP_NET_ADMIN, for good. Source: capset(2), linux/capability.h."""
    libc, header = ctypes.CDLL(None, use_errno=True), struct.pack("Ii", 0x20080522, 0)
    rights = ctypes.create_string_buffer(24)
    assert libc.capget(header, rights) == 0
    low = [word & ~(1 << 12) for word in struct.unpack("3I", rights.raw[:12])]
    assert libc.capset(header, struct.pack("3I", *low) + rights.raw[12:]) == 0


@needs_root
@pytest.mark.usefixtures("elsewhere")
def test_routes_are_there_until_the_end(record: Path) -> None:
    before = ip("route")
    peers = [peer("mumbai", "203.0.113.9"), peer("delhi", "203.0.113.9", 300), peer("oslo", "203.0.113.5", 0)]
    windows = RouteWindows(peers, record=record)
    assert windows.lacks == {"mumbai": "", "delhi": ""}
    assert "initcwnd 300" in ip("route get 203.0.113.9")
    assert "initcwnd" not in ip("route get 203.0.113.5")
    windows.close()
    assert ip("route") == before
    assert not record.exists()


@needs_root
@pytest.mark.usefixtures("elsewhere")
def test_peers_of_another_configuration_have_their_own_routes(record: Path) -> None:
    before = ip("route")
    windows = RouteWindows([peer("mumbai", "203.0.113.9")], record=record)
    lacks = windows.lacks
    windows.follow([peer("oslo", "203.0.113.5", 300), peer("delhi", "203.0.113.7", 0)])
    assert windows.lacks is lacks
    assert lacks == {"oslo": ""}
    assert "initcwnd" not in ip("route get 203.0.113.9")
    assert "initcwnd 300" in ip("route get 203.0.113.5")
    windows.follow([])
    assert (ip("route"), lacks, record.exists()) == (before, {}, False)
    windows.close()


@needs_root
@pytest.mark.usefixtures("elsewhere")
def test_a_route_is_not_touched_where_another_configuration_or_a_successor_wants_the_same(record: Path) -> None:
    first = [peer("mumbai", "203.0.113.9"), peer("oslo", "203.0.113.5", 100)]
    windows = RouteWindows(first, record=record)
    ip("route change 203.0.113.9/32 via 10.9.0.254 proto 177 mtu 1300 initcwnd 200")  # tells it from one made anew
    as_it_was = ip("route get 203.0.113.9")
    windows.follow([*first[:1], peer("oslo", "203.0.113.5", 300)])
    assert (ip("route get 203.0.113.9"), "initcwnd 300" in ip("route get 203.0.113.5")) == (as_it_was, True)
    windows.hand_over()
    successor = RouteWindows(first[:1], record=record, begin=False)
    windows.close()
    successor.begin()
    assert (ip("route get 203.0.113.9"), "initcwnd" in ip("route get 203.0.113.5")) == (as_it_was, False)
    assert json.loads(record.read_text()) == ["203.0.113.9"]
    successor.renew()
    assert "mtu" not in ip("route get 203.0.113.9")
    successor.close()
    assert "proto 177" not in ip("route")


def test_where_no_wish_has_changed_no_route_is_touched(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = RouteWindows([peer("mumbai", "203.0.113.9", 0)], record=record)
    monkeypatch.setattr("gateway.errand.run", lambda *_, **__: pytest.fail("somebody saw to routes"))
    windows.follow([peer("delhi", "203.0.113.7", 0)])
    windows.renew()
    windows.close()


@needs_root
@pytest.mark.usefixtures("elsewhere")
def test_what_a_killed_gateway_left_goes_at_the_next_start(record: Path) -> None:
    before = ip("route")
    RouteWindows([peer("mumbai", "203.0.113.9")], record=record)  # and never closed
    assert json.loads(record.read_text()) == ["203.0.113.9"]
    RouteWindows([], record=record)  # the peer is gone from the configuration, too
    assert ip("route") == before
    assert not record.exists()


@needs_root
@pytest.mark.usefixtures("elsewhere")
def test_a_record_that_was_cut_off_is_no_reason_not_to_start(record: Path) -> None:
    record.write_text('["203.0.')
    windows = RouteWindows([peer("mumbai", "203.0.113.9")], record=record)
    assert windows.lacks == {"mumbai": ""}
    windows.close()
    assert not record.exists()


@needs_root
@pytest.mark.usefixtures("elsewhere")
def test_a_way_that_changes_is_followed(record: Path, caplog: pytest.LogCaptureFixture) -> None:
    windows = RouteWindows([peer("mumbai", "203.0.113.9")], record=record)
    ip("route replace default via 10.9.0.253")
    assert "via 10.9.0.254" in ip("route get 203.0.113.9")
    windows.renew()
    assert "via 10.9.0.253" in ip("route get 203.0.113.9")
    assert "initcwnd 200" in ip("route get 203.0.113.9")
    ip("route del default")
    windows.renew()
    assert windows.lacks == {"mumbai": "203.0.113.9: ENETUNREACH (Network is unreachable)"}
    ip("route add default via 10.9.0.254")
    caplog.set_level("INFO")
    windows.renew()
    assert windows.lacks == {"mumbai": ""}
    assert "begin with initial_window again" in caplog.messages[-1]
    windows.close()
    assert "initcwnd" not in ip("route")


@needs_root
@pytest.mark.usefixtures("elsewhere")
def test_a_leftover_without_a_record_is_replaced(record: Path) -> None:
    before = ip("route")
    RouteWindows([peer("mumbai", "203.0.113.9", 100)], record=record)
    record.unlink()
    windows = RouteWindows([peer("mumbai", "203.0.113.9", 200)], record=record)
    assert "initcwnd 200" in ip("route get 203.0.113.9")
    windows.close()
    assert ip("route") == before


@needs_root
@pytest.mark.usefixtures("elsewhere")
def test_a_peer_without_a_way_says_so_and_others_get_theirs(record: Path) -> None:
    windows = RouteWindows([peer("here", "127.0.0.1"), peer("mumbai", "203.0.113.9")], record=record)
    assert windows.lacks == {"here": "127.0.0.1 is an address of this host", "mumbai": ""}
    windows.close()


@needs_root
@pytest.mark.usefixtures("elsewhere")
def test_one_address_that_works_is_enough(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(0, 0, 0, "", (address, 0)) for address in ("2001:db8::9", "203.0.113.9")]  # no way for IPv6 here
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    windows = RouteWindows([peer("mumbai", "mumbai.example")], record=record)
    assert windows.lacks == {"mumbai": ""}
    windows.close()


@needs_root
@pytest.mark.usefixtures("elsewhere")
def test_without_the_right_everything_stays_and_the_lack_has_a_name(record: Path) -> None:
    def without_it() -> dict[str, str]:
        give_up_net_admin()
        return RouteWindows([peer("mumbai", "203.0.113.9")], record=record).lacks

    before = ip("route")
    assert errand.run(without_it, limit_s=20.0) == {"mumbai": "no CAP_NET_ADMIN"}
    assert ip("route") == before


@needs_root
@pytest.mark.usefixtures("elsewhere")
def test_names_that_nobody_answers_for_cost_others_nothing(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truly = socket.getaddrinfo

    def hangs(host: str, *more: Any, **options: Any) -> Any:
        return Event().wait() if "example" in host else truly(host, *more, **options)

    monkeypatch.setattr("socket.getaddrinfo", hangs)
    monkeypatch.setattr(route_windows, "_LOOKUP_S", 0.5)
    peers = [peer("oslo", "oslo.example"), peer("mumbai", "203.0.113.9"), peer("near", "fe80::1%lo")]
    windows = RouteWindows(peers, record=record)
    assert windows.lacks["mumbai"] == ""
    assert windows.lacks["oslo"] == "oslo.example has no address that a route could lead to"
    assert windows.lacks["near"] == "fe80::1%lo has no address that a route could lead to"
    windows.close()


def test_the_supervisor_does_not_load_what_the_children_do() -> None:
    code = "import sys, gateway.launch; sys.exit('pyroute2' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_without_an_initial_window_no_child_is_sent(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "run", lambda *_, **__: pytest.fail("nothing is to do"))
    windows = RouteWindows([peer("mumbai", "203.0.113.9", 0)], record=record)
    assert not windows.lacks
    windows.close()


def test_a_child_that_fails_is_no_reason_not_to_start(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise errand.ErrandError("it ended")

    monkeypatch.setattr(errand, "run", fails)
    lacks = RouteWindows([peer("mumbai", "203.0.113.9")], record=record).lacks
    assert lacks == {"mumbai": "its route could not be made, see the log"}

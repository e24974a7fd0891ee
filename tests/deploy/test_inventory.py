"""What an inventory says becomes the tables that a gateway reads; the whole way is in test_an_overlay.py."""

import tomllib
from typing import Any

import pytest

from deploy.ansible.roles.midmile.filter_plugins import midmile

LINE = {"between": ["a", "b"], "rtt_ms": 231, "rate_mbit": 200}
HOSTS = ["a", "b", "c"]


def hostvars(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {host: {"ansible_host": f"192.0.2.{number}"} | changes.get(host, {}) for number, host in enumerate(HOSTS)}


def test_without_a_word_every_gateway_goes_to_all_others() -> None:
    assert midmile.peers(hostvars(), "b", HOSTS) == [
        {"name": "a", "address": "192.0.2.0:7400"},
        {"name": "c", "address": "192.0.2.2:7400"},
    ]


def test_names_addresses_and_ports_are_the_others_own() -> None:
    theirs = {"midmile_name": "oregon", "midmile_address": "2001:db8::7", "midmile_overlay_port": 7401}
    assert midmile.peers(hostvars(a=theirs, b={"midmile_peers": ["a"]}), "b", HOSTS) == [
        {"name": "oregon", "address": "[2001:db8::7]:7401"}
    ]


def test_nobody_goes_to_a_gateway_that_takes_nobody_in() -> None:
    found = midmile.peers(hostvars(a={"midmile_overlay_port": 0}), "b", HOSTS)
    assert [table["name"] for table in found] == ["c"]


def test_what_is_said_of_one_peer_goes_before_what_is_said_of_all() -> None:
    mine = {"midmile_pool": {"pool_min": 8, "warm": 1}, "midmile_pools": {"c": {"pool_min": 64}}}
    found = midmile.peers(hostvars(b=mine), "b", HOSTS)
    assert [(table["pool_min"], table["warm"]) for table in found] == [(8, 1), (64, 1)]


def test_the_other_end_of_a_line_gets_its_window_too_though_it_goes_nowhere() -> None:
    lines = {"midmile_lines": [LINE]}
    found = midmile.peers(hostvars(a=lines | {"midmile_peers": ["b"]}, b=lines | {"midmile_peers": []}), "b", HOSTS)
    assert found == [{"name": "a", "address": "192.0.2.0:7400", "initial_window": 396, "pool_min": 0}]


def test_without_a_window_the_other_end_needs_no_table() -> None:
    assert midmile.peers(hostvars(b={"midmile_peers": []}), "b", HOSTS) == []


@pytest.mark.parametrize(
    ("rtt_ms", "rate_mbit", "share", "segments"),
    [(231, 200, 0.1, 396), (231, 200, 1, 3955), (1, 10, 0.1, 10), (1000, 100_000, 1, 65535)],
)
def test_the_window_is_a_share_of_what_the_line_holds(rtt_ms: int, rate_mbit: int, share: float, segments: int) -> None:
    assert midmile.initial_window({"rtt_ms": rtt_ms, "rate_mbit": rate_mbit}, share) == segments


def test_buffers_grow_to_twice_what_the_longest_line_holds() -> None:
    assert midmile.buffer_bytes([]) == 16 << 20
    assert midmile.buffer_bytes([LINE, {"rtt_ms": 200, "rate_mbit": 1000}]) == 50_000_000


def test_descriptors_are_enough_for_one_worker_with_all_sessions_and_for_all_legs() -> None:
    assert midmile.descriptors([], {}) == 524_288
    assert midmile.descriptors([], {"limits": {"sessions": 400_000}}) == 800_192
    assert midmile.descriptors([{"pool_max": 600_000}, {}], {}) == 600_000 + 512 + 192


def test_a_gateway_gets_the_rights_that_it_uses() -> None:
    plain = {"bind": "0.0.0.0:1080", "mode": "mixed"}
    assert midmile.drop_ins([{}], [plain], {}) == []
    assert midmile.drop_ins([{"initial_window": 20}], [plain | {"bind": "[::]:443"}], {}) == [
        "initial-window",
        "low-ports",
    ]
    assert midmile.drop_ins([], [plain | {"early_syn": True}], {"preserve_source": True}) == [
        "early-syn",
        "transparent",
    ]


def test_what_is_captured_is_said_to_the_firewall_by_family() -> None:
    web = {"name": "web", "bind": "[::]:15001", "dual_stack": True, "mode": "tproxy", "captured": {"ports": [80, 443]}}
    found = midmile.captures([web, {"name": "proxy", "bind": "127.0.0.1:1080", "mode": "mixed"}])
    assert [(each["family"], each["networks"], each["port"]) for each in found] == [
        ("ip", ["0.0.0.0/0"], 15001),
        ("ip6", ["::/0"], 15001),
    ]


def test_networks_of_one_family_lead_nothing_of_the_other() -> None:
    captured = {"ports": [443], "networks": ["203.0.113.0/24"]}
    found = midmile.captures([{"bind": "[::]:1", "dual_stack": True, "mode": "redirect", "captured": captured}])
    assert [(each["family"], each["networks"]) for each in found] == [("ip", ["203.0.113.0/24"])]


def test_early_syn_is_told_what_the_firewall_leads_here() -> None:
    captured = {"ports": [80, 443], "networks": ["203.0.113.0/24", "2001:db8::/32"]}
    web = {"bind": "[::]:1", "dual_stack": True, "mode": "redirect", "early_syn": True, "captured": captured}
    (found,) = midmile.listens([web])
    assert "captured" not in found
    assert found["capture"] == [
        "203.0.113.0/24:80",
        "203.0.113.0/24:443",
        "[2001:db8::/32]:80",
        "[2001:db8::/32]:443",
    ]


def test_what_is_written_is_read_again() -> None:
    document: dict[str, Any] = {
        "gateway": {"name": 'quo"ted \\ Ünïcode', "workers": 2},
        "listen": [{"name": "a", "paths": [["x"], []], "early_syn": True}, {"name": "b"}],
        "egress": {"preconnect": [{"to": "10.0.0.5:443", "connections": 8}], "allow": []},
        "timeouts": {"idle": 0.5},
    }
    assert tomllib.loads(midmile.to_toml(document)) == document


def test_what_is_empty_or_null_is_not_written() -> None:
    assert midmile.to_toml({"gateway": {"name": "a", "log_format": None}, "overlay": {}, "peer": []}) == (
        '[gateway]\nname = "a"\n'
    )

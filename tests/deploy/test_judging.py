"""What an inventory says in vain is told, each problem in words."""

from typing import Any

import pytest

from deploy.ansible.roles.midmile.filter_plugins.midmile_judging import problems

HOSTS = ["a", "b", "c"]
ALL = {
    "midmile_peers": ["b"],
    "midmile_pools": {"c": {"pool_min": 4}},
    "midmile_lines": [{"between": ["c", "a"], "rtt_ms": 1, "rate_mbit": 1}],
    "midmile_listen": [{"mode": "forward"}, {"mode": "tproxy", "captured": {"ports": [443], "own": False}}],
    "midmile_settings": {"gateway": {}, "limits": {}},
    "midmile_files": {"users": "x:y"},
    "midmile_keep_releases": 2,
    "midmile_name": "oregon",
}
WHERE = "expected where mode is redirect or tproxy, and nowhere else"
KNOWN = [*ALL, "midmile_pool", "midmile_overlay_port"]


def told(mine: dict[str, Any], **others: dict[str, Any]) -> list[str]:
    return problems({host: others.get(host, {}) for host in HOSTS} | {"a": mine}, "a", HOSTS, KNOWN)


@pytest.mark.parametrize("mine", [{}, ALL, dict.fromkeys(ALL.keys() - {"midmile_keep_releases"})])
def test_an_inventory_in_order_has_no_problem(mine: dict[str, Any]) -> None:
    assert told(mine) == []


def test_a_name_that_is_misspelt_is_told_and_what_was_meant() -> None:
    assert told({"midmile_peer": ["b"], "ansible_port": 22}) == [
        "midmile_peer: expected midmile_peers; found a name that means nothing"
    ]
    assert told({"midmile_zzz": 1}) == [
        "midmile_zzz: expected a variable of roles/midmile/defaults/main.yml; found a name that means nothing"
    ]


def test_what_an_earlier_play_has_registered_is_no_variable_of_the_inventory() -> None:
    assert told({"midmile_health": {"changed": False, "rc": 0}, "midmile_before": {"skipped": True}}) == []


@pytest.mark.parametrize(
    ("mine", "problem"),
    [
        ({"midmile_peers": ["d"]}, "midmile_peers: expected hosts among b, c; found 'd'"),
        ({"midmile_peers": ["a"]}, "midmile_peers: expected hosts among b, c; found 'a'"),
        (
            {"midmile_peers": ["c"]},
            "midmile_peers: expected hosts that take others in; found 'c', whose midmile_overlay_port is 0",
        ),
        ({"midmile_pools": {"d": {}}}, "midmile_pools: expected hosts among b, c; found 'd'"),
        (
            {"midmile_lines": [{"between": ["a", "d"]}]},
            "midmile_lines[0].between: expected two of a, b, c; found a, d",
        ),
        (
            {"midmile_lines": [{"between": ["a", "a"]}]},
            "midmile_lines[0].between: expected two of a, b, c; found a, a",
        ),
        (
            {"midmile_listen": [{"mode": "redirect"}]},
            f"midmile_listen[0].captured: {WHERE}; found none with mode 'redirect'",
        ),
        (
            {"midmile_listen": [{"mode": "forward", "captured": {"ports": [1]}}]},
            f"midmile_listen[0].captured: {WHERE}; found one with mode 'forward'",
        ),
        (
            {"midmile_listen": [{"mode": "tproxy", "captured": {"ports": [1], "interface": "eth1"}}]},
            "midmile_listen[0].captured: expected ports, networks, interfaces, own; found interface",
        ),
        (
            {"midmile_listen": [{"mode": "tproxy", "captured": {}}]},
            "midmile_listen[0].captured: expected ports; found none",
        ),
        (
            {"midmile_settings": {"peer": []}},
            "midmile_settings: expected tables that have no variable of their own; found 'peer': midmile_peers",
        ),
        (
            {"midmile_files": {"overlay.key": ""}},
            "midmile_files: expected names that nothing else has in /etc/midmile; found 'overlay.key'",
        ),
        (
            {"midmile_files": {"../passwd": ""}},
            "midmile_files: expected names that nothing else has in /etc/midmile; found '../passwd'",
        ),
        ({"midmile_keep_releases": 1}, "midmile_keep_releases: expected 2 or more, for a rollback; found 1"),
        (
            {"midmile_name": "b"},
            "midmile_name: expected a name of its own; found 'b', which b has, too",
        ),
    ],
)
def test_what_would_be_left_out_is_told(mine: dict[str, Any], problem: str) -> None:
    assert told(mine, c={"midmile_overlay_port": 0}) == [problem]


def test_a_host_beside_its_overlay_is_told() -> None:
    assert problems({"z": {}}, "z", HOSTS, KNOWN) == [
        "midmile_group: expected a group with the host z in it; found a, b, c"
    ]

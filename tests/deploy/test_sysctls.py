"""Which sysctls shall be in force, and which are."""

from typing import Any

from deploy.ansible.roles.midmile.filter_plugins.midmile_sysctls import differing, in_force, wanted

OWN: dict[str, dict[str, Any]] = {
    "net.ipv4.tcp_rmem": {"value": "4096  131072 1", "reason": "It is long."},
    "fs.pipe-user-pages-soft": {"value": 65536, "reason": "It is wide.", "optional": True},
}


def test_the_inventory_goes_before_and_may_leave_one_alone() -> None:
    found = wanted(OWN, {"net.ipv4.tcp_rmem": "1 2 3", "fs.pipe-user-pages-soft": None, "net.core.somaxconn": 9})
    assert {name: entry["value"] for name, entry in found.items()} == {
        "net.ipv4.tcp_rmem": "1 2 3",
        "net.core.somaxconn": "9",
    }


def test_what_the_kernel_shows_is_compared_number_by_number() -> None:
    shown = ["/proc/sys/net/ipv4/tcp_rmem:4096\t131072\t1", "/proc/sys/fs/pipe-user-pages-soft:16384"]
    assert differing(wanted(OWN, {}), in_force(shown)) == []
    assert differing(wanted(OWN, {}), {}) == ["net.ipv4.tcp_rmem"]

"""One story: three plain hosts become an overlay, live through what overlays do, and are plain again.

Each test goes on where the one before has ended; the first that fails ends the run.
"""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deploy.conftest import Overlay, listens
from tests.deploy.hosts import Host
from tests.deploy.releases import another
from tests.deploy.traffic import LONG, load
from tests.deploy.waiting import until

ENTRY = "10.77.0.11"
WEB, STRICT, ECHO = 8080, 8081, 9000
DOCTOR = "runuser -u midmile -- /opt/midmile/venv/bin/gateway doctor --config /etc/midmile/gateway.toml"
# What a host has, but for what its packages brought, and its logs.
STATE = """
find /etc /opt /home /root /run/midmile* /usr/local -name .ansible -prune -o -print 2>/dev/null | sort
getent passwd; getent group
cd /proc/sys/net && grep -s . ipv4/tcp_[rw]mem ipv4/tcp_slow_start_after_idle ipv4/tcp_migrate_req core/somaxconn
systemctl list-unit-files --no-legend 'midmile*' || true
"""


def fetched(port: int) -> str:
    """Give the sum of what curl gets through a listener of oregon; what curl says where it gets nothing."""
    command = ["curl", "--silent", "--show-error", "--max-time", "30", f"http://{ENTRY}:{port}/"]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stderr.decode() if done.returncode else hashlib.sha256(done.stdout).hexdigest()


def sum_of(overlay: Overlay) -> str:
    return hashlib.sha256(overlay.payload).hexdigest()


def nothing(overlay: Overlay) -> Mapping[str, int]:
    return dict.fromkeys(overlay.hosts, 0)


def running_release(host: Host) -> str:
    """Name the release whose code the supervisor runs, by its interpreter."""
    command = "tr '\\0' '\\n' </proc/$(systemctl show --property=MainPID --value midmile)/cmdline | head -1"
    return Path(host.ssh(command).strip()).parts[4]


def releases(overlay: Overlay) -> dict[str, str]:
    return {name: running_release(host) for name, host in overlay.hosts.items()}


def key_ids(host: Host) -> str:
    """Give what `gateway doctor` says of the host's key: ids, never keys."""
    told = host.ssh(f"{DOCTOR} --json || true")
    (found,) = [each["found"] for each in json.loads(told)["findings"] if each["check"] == "overlay key"]
    return str(found)


@pytest.fixture(scope="module")
def before(overlay: Overlay) -> dict[str, str]:
    """What each host was before anything was deployed."""
    return {name: host.ssh(STATE) for name, host in overlay.hosts.items()}


def test_check_mode_works_on_plain_hosts(overlay: Overlay, before: dict[str, str]) -> None:
    overlay.controller.play("site", "--check").well()
    assert {name: host.ssh(STATE) for name, host in overlay.hosts.items()} == before


def test_plain_hosts_become_an_overlay(overlay: Overlay) -> None:
    overlay.controller.play("site").well()


def test_a_second_run_changes_nothing(overlay: Overlay) -> None:
    assert overlay.controller.play("site").well().changed == nothing(overlay)


def test_check_mode_finds_nothing_to_change(overlay: Overlay) -> None:
    assert overlay.controller.play("site", "--check", "--diff").well().changed == nothing(overlay)


def test_bytes_cross_three_gateways(overlay: Overlay) -> None:
    assert [fetched(WEB), fetched(STRICT)] == [sum_of(overlay)] * 2
    for name in ("singapore", "mumbai"):
        assert "via=" in overlay.hosts[name].ssh("journalctl --unit=midmile --output=cat | grep ' -- '")


def test_hosts_are_as_their_gateways_want_them(overlay: Overlay) -> None:
    told = overlay.hosts["oregon"].ssh(f"{DOCTOR} --json || true")
    found = {each["check"]: each["level"] for each in json.loads(told)["findings"] if each["check"].startswith("net.")}
    assert "net.ipv4.tcp_slow_start_after_idle" in found
    assert set(found.values()) == {"ok"}


def test_the_key_is_for_one_user_and_in_no_message(overlay: Overlay) -> None:
    key = overlay.controller.inventory.with_name("overlay.key")
    secret = key.read_text(encoding="utf-8").split(":")[1].strip()
    assert key.stat().st_mode & 0o777 == 0o600
    assert secret not in overlay.controller.transcript.read_text(encoding="utf-8")
    for host in overlay.hosts.values():
        assert host.ssh("stat --format='%U %a' /etc/midmile/overlay.key") == "midmile 600\n"
        assert secret not in host.ssh("journalctl --quiet --no-pager; cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '")


def test_a_changed_configuration_is_reloaded_and_connections_stay(overlay: Overlay) -> None:
    more = {
        "name": "more",
        "bind": "0.0.0.0:8082",
        "mode": "forward",
        "to": f"10.77.0.1:{overlay.web}",
        "via": ["mumbai"],
    }
    overlay.write_inventory(midmile_listen=[*listens(overlay), more])
    with load(ENTRY, ECHO) as seen:
        changed = overlay.controller.play("site", "--limit=oregon").well().changed
    assert seen.lost == []
    assert seen.words > LONG
    assert changed["oregon"] == 2  # the file, and the reload
    assert fetched(8082) == sum_of(overlay)


def test_a_wrong_configuration_changes_nothing_and_is_told_in_words(overlay: Overlay) -> None:
    file = overlay.hosts["oregon"].ssh("cat /etc/midmile/gateway.toml")
    overlay.write_inventory(midmile_listen=[{"name": "bad", "bind": "localhost:80", "mode": "forward"}])
    played = overlay.controller.play("site", "--limit=oregon")
    overlay.write_inventory()
    assert played.failed == ("oregon",)
    assert "listen[0].bind: must be an address and a port" in played.output
    assert overlay.hosts["oregon"].ssh("cat /etc/midmile/gateway.toml") == file
    assert fetched(WEB) == sum_of(overlay)


def test_a_host_that_loses_power_is_gone_around_and_comes_back(overlay: Overlay) -> None:
    lost = overlay.hosts["singapore"]
    lost.cut()
    until(lambda: fetched(WEB) == sum_of(overlay), "the second path is taken", within_s=60)
    assert fetched(STRICT) != sum_of(overlay)
    lost.boot()
    lost.wait()
    until(lambda: fetched(STRICT) == sum_of(overlay), "the first path is there again", within_s=120)


def test_the_key_is_rotated_under_load(overlay: Overlay) -> None:
    old = {key_ids(host) for host in overlay.hosts.values()}
    with load(ENTRY, ECHO) as seen:
        overlay.controller.play("rotate-key").well()
    new = {key_ids(host) for host in overlay.hosts.values()}
    assert seen.lost == []
    assert seen.visits > 0
    assert (len(old), len(new)) == (1, 1)
    assert old != new
    assert fetched(STRICT) == sum_of(overlay)


def test_all_are_upgraded_under_load_and_no_connection_is_lost(overlay: Overlay) -> None:
    new = another(overlay.dist, overlay.site.scratch / "dist-new", version="99.0")
    with load(ENTRY, ECHO) as seen:
        overlay.controller.play("upgrade", "-e", f"midmile_dist={overlay.site.scratch / 'dist-new'}").well()
    assert seen.lost == []
    assert seen.words > LONG
    assert releases(overlay) == dict.fromkeys(overlay.hosts, new)


def test_a_release_that_does_not_start_stops_at_the_first_host_and_is_undone(overlay: Overlay) -> None:
    was = releases(overlay)
    another(overlay.dist, overlay.site.scratch / "dist-broken", version="99.1", broken=True)
    with load(ENTRY, ECHO) as seen:
        played = overlay.controller.play("upgrade", "-e", f"midmile_dist={overlay.site.scratch / 'dist-broken'}")
    assert played.failed == ("oregon",)
    assert "broken on purpose" in played.output
    assert seen.lost == []
    assert releases(overlay) == was
    links = {host.ssh("readlink /opt/midmile/venv") for host in overlay.hosts.values()}
    assert links == {f"releases/{was['oregon']}\n"}


def test_all_are_rolled_back_under_load(overlay: Overlay) -> None:
    first = json.loads((overlay.dist / "release.json").read_text(encoding="utf-8"))["name"]
    with load(ENTRY, ECHO) as seen:
        overlay.controller.play("rollback").well()
    assert seen.lost == []
    assert releases(overlay) == dict.fromkeys(overlay.hosts, first)


def test_nothing_is_left_of_it(overlay: Overlay, before: dict[str, str]) -> None:
    overlay.controller.play("uninstall").well()
    assert {name: host.ssh(STATE) for name, host in overlay.hosts.items()} == before
    assert overlay.controller.play("uninstall").well().changed == nothing(overlay)

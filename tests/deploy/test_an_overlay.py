"""One story: three plain hosts become an overlay, live through what overlays do, and are plain again.

Each test goes on where the one before has ended; the first that fails ends the run.
"""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deploy.conftest import USERS, Overlay, listens
from tests.deploy.hosts import HERE, Host
from tests.deploy.releases import another
from tests.deploy.traffic import LONG, load
from tests.deploy.waiting import until

ENTRY = "10.77.0.11"
WEB, STRICT, ECHO = 8080, 8081, 9000
DOCTOR = "runuser -u midmile -- /opt/midmile/venv/bin/gateway doctor --config /etc/midmile/gateway.toml"
# What a host has, but for what its packages brought, and its logs.
STATE = """
find /etc /opt /home /root /run/midmile* /usr/local \\( -name .ansible -o -name nftables.conf \\) -prune -o -print \\
    2>/dev/null | sort
getent passwd; getent group
cd /proc/sys/net && grep -s . ipv4/tcp_[rw]mem ipv4/tcp_slow_start_after_idle ipv4/tcp_migrate_req core/somaxconn \\
    ipv4/ip_forward ipv4/conf/all/rp_filter
ip rule
systemctl list-unit-files --no-legend 'midmile*' || true
"""


def fetched(port: int) -> str:
    """Give the sum of what curl gets through a listener of oregon; what curl says where it gets nothing."""
    return curled(f"http://{ENTRY}:{port}/")


def curled(*arguments: str) -> str:
    """Give the sum of what curl gets; what curl says where it gets nothing."""
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "30", *arguments]
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


def secrets_told(overlay: Overlay) -> list[str]:
    """Give the secrets that are in what plays said, in a log or in a command line."""
    key = overlay.controller.vault("view", overlay.controller.inventory.with_name("overlay.key"))
    look = "journalctl --quiet --no-pager; cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '"
    told = [overlay.controller.transcript.read_text(encoding="utf-8"), *(h.ssh(look) for h in overlay.hosts.values())]
    secrets = [text.split(":")[1].strip() for text in (key, USERS)]
    return [secret for secret in secrets if any(secret in each for each in told)]


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


def test_a_password_from_a_vault_is_asked_for(overlay: Overlay) -> None:
    there = f"http://{HERE}:{overlay.web}/"
    proxy = ["--proxytunnel", "--proxy", f"http://{ENTRY}:1080", "--proxy-user"]
    assert curled(*proxy, USERS.strip(), there) == sum_of(overlay)
    assert curled(*proxy, "alice:guessed", there).startswith("curl: ")


def test_hosts_are_as_their_gateways_want_them(overlay: Overlay) -> None:
    told = overlay.hosts["oregon"].ssh(f"{DOCTOR} --json || true")
    found = {each["check"]: each["level"] for each in json.loads(told)["findings"] if each["check"].startswith("net.")}
    assert "net.ipv4.tcp_slow_start_after_idle" in found
    assert set(found.values()) == {"ok"}


def test_the_key_is_for_one_user_and_in_no_message(overlay: Overlay) -> None:
    key = overlay.controller.inventory.with_name("overlay.key")
    assert key.read_text(encoding="utf-8").startswith("$ANSIBLE_VAULT;")
    assert key.stat().st_mode & 0o777 == 0o600
    for host in overlay.hosts.values():
        found = host.ssh("cd /etc/midmile && stat --format='%n %U %a' overlay.key users")
        assert found == "overlay.key midmile 600\nusers midmile 600\n"
    assert secrets_told(overlay) == []


def test_a_changed_configuration_is_reloaded_and_connections_stay(overlay: Overlay) -> None:
    more = {
        "name": "more",
        "bind": "0.0.0.0:8082",
        "mode": "forward",
        "to": f"10.77.0.1:{overlay.web}",
        "via": ["mumbai"],
    }
    overlay.write_inventory(oregon={"midmile_listen": [*listens(overlay), more]})
    with load(ENTRY, ECHO) as seen:
        changed = overlay.controller.play("site", "--limit=oregon").well().changed
    assert seen.lost == []
    assert seen.words > LONG
    assert changed["oregon"] == 2  # the file, and the reload
    assert fetched(8082) == sum_of(overlay)


def test_a_wrong_configuration_changes_nothing_and_is_told_in_words_and_others_take_theirs(overlay: Overlay) -> None:
    file = overlay.hosts["oregon"].ssh("cat /etc/midmile/gateway.toml")
    further = {"name": "further", "bind": "0.0.0.0:8083", "mode": "forward", "to": f"{HERE}:{overlay.web}"}
    overlay.write_inventory(
        oregon={"midmile_listen": [{"name": "bad", "bind": "localhost:80", "mode": "forward"}]},
        mumbai={"midmile_listen": [further]},
    )
    played = overlay.controller.play("site")
    overlay.write_inventory()
    assert played.failed == ("oregon",)
    assert "listen[0].bind: must be an address and a port" in played.output
    assert overlay.hosts["oregon"].ssh("cat /etc/midmile/gateway.toml") == file
    assert fetched(WEB) == sum_of(overlay)
    assert curled(f"http://{overlay.hosts['mumbai'].address}:8083/") == sum_of(overlay)


def test_a_variable_that_means_nothing_stops_a_play_at_its_beginning(overlay: Overlay) -> None:
    overlay.write_inventory(mumbai={"midmile_peer": ["oregon"]})
    played = overlay.controller.play("site")
    overlay.write_inventory()
    assert played.failed == ("mumbai",)
    assert "midmile_peer: expected midmile_peers" in played.output
    assert played.changed == nothing(overlay)


def test_a_host_that_loses_power_is_gone_around_and_comes_back(overlay: Overlay) -> None:
    lost = overlay.hosts["singapore"]
    lost.cut()
    until(lambda: fetched(WEB) == sum_of(overlay), "the second path is taken", within_s=120)
    assert fetched(STRICT) != sum_of(overlay)
    for book in ("upgrade", "rotate-key"):
        played = overlay.controller.play(book)
        assert (book, played.failed, played.changed) == (book, ("singapore",), nothing(overlay))
    lost.boot()
    lost.wait()
    until(lambda: fetched(STRICT) == sum_of(overlay), "the first path is there again", within_s=240)


def test_the_key_is_rotated_under_load(overlay: Overlay) -> None:
    old = {key_ids(host) for host in overlay.hosts.values()}
    with load(ENTRY, ECHO) as seen:
        overlay.controller.play("rotate-key").well()
    new = {key_ids(host) for host in overlay.hosts.values()}
    assert seen.lost == []
    assert seen.visits > 0
    assert (len(old), len(new)) == (1, 1)
    assert old != new
    assert secrets_told(overlay) == []
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


def test_all_are_rolled_back_under_load_but_not_together_where_they_went_different_ways(overlay: Overlay) -> None:
    was = releases(overlay)
    first = json.loads((overlay.dist / "release.json").read_text(encoding="utf-8"))["name"]
    with load(ENTRY, ECHO) as seen:
        overlay.controller.play("rollback", "--limit=oregon").well()
        refused = overlay.controller.play("rollback")
        overlay.controller.play("rollback", "--limit=singapore,mumbai").well()
    assert refused.changed == nothing(overlay)
    assert f"found oregon: {first}, singapore: {was['singapore']}, mumbai: {was['mumbai']}" in refused.output
    assert seen.lost == []
    assert releases(overlay) == dict.fromkeys(overlay.hosts, first)


def test_nothing_is_left_of_it(overlay: Overlay, before: dict[str, str]) -> None:
    overlay.controller.play("uninstall").well()
    assert {name: host.ssh(STATE) for name, host in overlay.hosts.items()} == before
    assert overlay.controller.play("uninstall").well().changed == nothing(overlay)

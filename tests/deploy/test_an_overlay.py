"""One story: three plain hosts become an overlay, live through what overlays do, and are plain again."""

import hashlib
import subprocess
from collections.abc import Mapping

from tests.deploy.conftest import Overlay

ENTRY = "10.77.0.11"


def fetched(port: int) -> str:
    """Give the sum of what curl gets through a listener of oregon; what curl says where it gets nothing."""
    command = ["curl", "--silent", "--show-error", "--max-time", "20", f"http://{ENTRY}:{port}/"]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stderr.decode() if done.returncode else hashlib.sha256(done.stdout).hexdigest()


def no_change(overlay: Overlay) -> Mapping[str, int]:
    return dict.fromkeys(overlay.hosts, 0)


def test_check_mode_works_on_plain_hosts(overlay: Overlay) -> None:
    overlay.controller.play("site", "--check").well()
    for host in overlay.hosts.values():
        assert host.ssh("ls -d /opt/midmile /etc/midmile 2>/dev/null | wc -l") == "0\n"


def test_plain_hosts_become_an_overlay(overlay: Overlay) -> None:
    overlay.controller.play("site").well()


def test_a_second_run_changes_nothing(overlay: Overlay) -> None:
    assert overlay.controller.play("site").well().changed == no_change(overlay)


def test_check_mode_finds_nothing_to_change(overlay: Overlay) -> None:
    assert overlay.controller.play("site", "--check", "--diff").well().changed == no_change(overlay)


def test_bytes_cross_three_gateways(overlay: Overlay) -> None:
    assert fetched(8080) == hashlib.sha256(overlay.payload).hexdigest()
    assert fetched(8081) == hashlib.sha256(overlay.payload).hexdigest()

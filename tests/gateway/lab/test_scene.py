"""The whole scene, with the gateways that need least; what each stage does is measured in test_ladder."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gateway.lab.delay_line import LineTerms
from gateway.lab.results import Stage
from gateway.lab.scene import Scene
from pools.net.errors import StartError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")

ROOT = Path(__file__).parents[3]
LIMIT_S = 60.0
LINES = [LineTerms(delay_s=0.004), LineTerms(delay_s=0.01), LineTerms(delay_s=0.002)]
RTT_S = 0.032


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with Scene(LINES, [Stage.END_TO_END, Stage.SPLIT], progress=lambda _: None) as made:
        yield made


def test_both_ways_lead_to_the_same_server_and_neither_is_too_fast(scene: Scene) -> None:
    for stage in (Stage.END_TO_END, Stage.SPLIT):
        assert scene.fetch(stage, 43_000).times.first_byte_s >= 2 * RTT_S
    traffic = scene.wan.traffic().lines
    ways = [traffic[ends].entered > 0 for ends in (("client", "server"), ("client", "split-1"), ("split-2", "server"))]
    assert ways == [True] * 3
    assert ("client", "split-2") not in traffic


def test_hosts_begin_with_cubic(scene: Scene) -> None:
    for site in ("client", "server", "split-1"):
        told = subprocess.run(
            scene.wan.inside(site, ["ip", "route"]), capture_output=True, text=True, check=True, timeout=LIMIT_S
        )
        assert "congctl cubic" in told.stdout


def test_loss_strikes_the_client_s_lines_and_no_others(scene: Scene) -> None:
    scene.lose(0.03)
    for _ in range(20):
        scene.fetch(Stage.SPLIT, 43_000)
        if lost := {ends for ends, line in scene.wan.traffic().lines.items() if line.lost}:
            break
    scene.lose(0.0)
    assert lost
    assert lost <= {("client", "split-1"), ("split-1", "client")}


def test_a_gateway_that_does_not_start_is_told_of_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.lab.deployment._DRAIN_S", '"soon"')
    with pytest.raises(StartError, match=r'(?s)split-1: expected .*timeouts.drain: .*found "soon"'):
        Scene(LINES, [Stage.SPLIT], progress=lambda _: None)


OWNER = """
import json, signal
from gateway.lab.delay_line import LineTerms
from gateway.lab.results import Stage
from gateway.lab.scene import Scene
scene = Scene([LineTerms(delay_s=0.001)] * 2, [Stage.SPLIT], progress=lambda _: None)
print(json.dumps([str(scene.directory), scene.wan.pid]), flush=True)
signal.pause()
"""


def test_a_command_killed_leaves_no_process_no_namespace_and_no_file() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, cwd=ROOT)
    assert owner.stdout is not None
    with owner.stdout:
        directory, wan_pid = json.loads(owner.stdout.readline())
    members = psutil.Process(owner.pid).children(recursive=True)
    assert len(members) > 4  # the WAN, who holds the programs, the origin, the gateway, its worker
    namespaces = {os.stat(f"/proc/{member.pid}/ns/net").st_ino for member in members}
    owner.kill()
    owner.wait(LIMIT_S)
    _, alive = psutil.wait_procs(members, timeout=LIMIT_S)
    assert [member for member in alive if member.status() != psutil.STATUS_ZOMBIE] == []
    assert not Path(directory).exists()
    assert not namespaces - {Path("/proc/self/ns/net").stat().st_ino} & all_namespaces()
    assert not psutil.pid_exists(wan_pid)


def all_namespaces() -> set[int]:
    """Give the inodes of all network namespaces that some process is in."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(path.stat().st_ino)
        except OSError:  # it has ended since
            continue
    return found

"""The shape of what the page is given."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.health import judge
from gateway.listener_status import ListenerStatus
from gateway.page.document import describe, describe_listener
from gateway.page.facts import Facts, ListenerFacts, PeerFacts
from gateway.processes import Processes
from gateway.reasons import Verdict
from gateway.status import GatewayStatus, read
from pools.link_health import LinkState
from pools.net.clock import monotonic_ns
from pools.net.link_board import LinkCell
from pools.net.scoreboard import Cell, ChildState, Layout, Scoreboard

MUMBAI = PeerFacts(0, "mumbai", "203.0.113.9:7400", 16, 512)
PUNE = PeerFacts(1, "pune", "203.0.113.10:7400", 4, 8)


@pytest.fixture
def status(tmp_path: Path) -> Iterator[GatewayStatus]:
    board = Scoreboard.create(
        tmp_path / "board", Layout(2, 1, 1), supervisor_pid=os.getpid(), started_ns=monotonic_ns()
    )
    for row in (board.row(0), board.broker):
        row[Cell.PID], row[Cell.STATE] = os.getpid(), ChildState.READY
        row[Cell.BOOTED_NS] = row[Cell.HEARTBEAT_NS] = monotonic_ns()
    board.row(0)[Cell.SESSIONS], board.row(0)[Cell.SESSIONS_LIMIT] = 3, 100
    link = board.links.link(0)
    link[LinkCell.STATE], link[LinkCell.RTT_US], link[LinkCell.LOSS_PPM] = LinkState.UP.number, 214_000, 20_000
    link[LinkCell.IDLE_DEPOT], link[LinkCell.IDLE_WORKERS], link[LinkCell.LENT] = 5, 6, 2
    yield read(board, Processes(), now_ns=monotonic_ns())
    board.close()


def test_it_has_name_version_verdict_and_generation(status: GatewayStatus) -> None:
    verdict = judge(status)
    found = describe(Facts("oregon", "0.1.0"), status, verdict)
    assert (found["name"], found["version"], found["generation"]) == ("oregon", "0.1.0", 1)
    assert found["health"] == verdict.as_dict()
    assert json.loads(json.dumps(found)) == found


def test_a_peer_has_its_name_its_pool_and_its_link(status: GatewayStatus) -> None:
    (peer,) = describe(Facts(peers=(MUMBAI,)), status, Verdict())["peers"]
    assert peer["name"] == "mumbai"
    assert (peer["pool_min"], peer["pool_max"]) == (16, 512)
    assert (peer["state"], peer["rtt_us"], peer["loss"]) == ("up", 214_000, 0.02)
    assert (peer["idle"], peer["lent"]) == (11, 2)


def test_a_peer_whose_row_a_reload_took_away_is_left_out(status: GatewayStatus) -> None:
    found = describe(Facts(peers=(PUNE, MUMBAI)), status, Verdict())
    assert [peer["name"] for peer in found["peers"]] == ["mumbai"]


def test_workers_are_told_apart_from_other_processes_which_are_left_out_where_they_are_not(
    status: GatewayStatus,
) -> None:
    found = describe(Facts(), status, Verdict())
    assert [(each["name"], each["state"]) for each in found["workers"]] == [("0", "ready"), ("1", "absent")]
    assert (found["workers"][0]["sessions"], found["workers"][0]["sessions_limit"]) == (3, 100)
    assert [(each["name"], each["state"]) for each in found["processes"]] == [("broker", "ready")]


def test_a_listener_has_its_address_and_its_counts() -> None:
    facts = ListenerFacts(0, "orders", "forward", "0.0.0.0:8443", "orders.example:443", (("mumbai",),))
    found = describe_listener(facts, ListenerStatus(1, 2, 3, 4, 5))
    assert (found["name"], found["to"], found["via"]) == ("orders", "orders.example:443", (("mumbai",),))
    assert (found["sessions"], found["sessions_total"], found["failed"]) == (1, 2, 5)

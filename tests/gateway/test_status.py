"""Status from a real scoreboard file and real processes."""

import json
import os
from pathlib import Path

import pytest

from gateway.processes import Processes
from gateway.status import read, read_once
from pools.link_health import LinkState
from pools.net.clock import monotonic_ns
from pools.net.link_board import LinkCell
from pools.net.scoreboard import Cell, ChildState, Layout, Scoreboard


@pytest.fixture
def scoreboard(tmp_path: Path) -> Scoreboard:
    """Two workers, a broker and an admin child; worker 0 is this very process."""
    path = tmp_path / "scoreboard"
    board = Scoreboard.create(
        path,
        Layout(workers=2, listeners=1, peers=1),
        supervisor_pid=os.getpid(),
        started_ns=monotonic_ns(),
        heartbeat_limit_ns=2_500_000_000,
    )
    board.links.link(0)[LinkCell.STATE] = LinkState.DOWN.number
    row = board.row(0)
    row[Cell.PID], row[Cell.STATE] = os.getpid(), ChildState.READY
    row[Cell.BOOTED_NS] = row[Cell.HEARTBEAT_NS] = monotonic_ns()
    row[Cell.SESSIONS], row[Cell.FORWARD_BYTES], row[Cell.RESTARTS] = 7, 1000, 2
    row[Cell.LEGS_INBOUND], row[Cell.COPIED_BYTES], row[Cell.SPLICED_BYTES] = 3, 400, 900
    row[Cell.RESTARTED_NS], row[Cell.LOOP_LAG_LATELY_US] = monotonic_ns() - 5 * 10**9, 1234
    board.row(1)[Cell.FORWARD_BYTES] = 5
    return board


def test_numbers_come_from_the_row_and_from_the_kernel(scoreboard: Scoreboard) -> None:
    status = read(scoreboard, Processes(), now_ns=monotonic_ns() + 2 * 10**9)
    worker = status.workers[0]
    assert (worker.state, worker.sessions, worker.forward_bytes, worker.restarts) == (ChildState.READY, 7, 1000, 2)
    assert (worker.legs_inbound, worker.moved_bytes, worker.loop_lag_lately_us) == (3, 1300, 1234)
    assert worker.restarted_ago_s is not None
    assert 7.0 <= worker.restarted_ago_s < 67.0
    assert worker.heartbeat_age_s is not None
    assert 2.0 <= worker.heartbeat_age_s < 60.0
    assert worker.rss_bytes is not None
    assert status.is_supervisor_alive
    assert status.heartbeat_limit_s == 2.5
    assert status.sessions == 7


def test_a_slot_without_a_process_is_absent_and_keeps_its_totals(scoreboard: Scoreboard) -> None:
    empty = read(scoreboard, Processes(), now_ns=monotonic_ns()).workers[1]
    assert (empty.state, empty.pid, empty.heartbeat_age_s, empty.rss_bytes) == (ChildState.ABSENT, 0, None, None)
    assert (empty.forward_bytes, empty.restarted_ago_s) == (5, None)


def test_memory_is_that_of_all_children_that_can_be_seen(scoreboard: Scoreboard) -> None:
    status = read(scoreboard, Processes(), now_ns=monotonic_ns())
    assert status.rss_bytes == status.workers[0].rss_bytes


def test_a_dead_worker_that_called_itself_ready_is_absent(scoreboard: Scoreboard) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    scoreboard.row(1)[Cell.PID], scoreboard.row(1)[Cell.STATE] = pid, ChildState.READY
    assert read(scoreboard, Processes(), now_ns=monotonic_ns()).workers[1].state is ChildState.ABSENT


def test_a_stopped_gateway_can_still_be_read_from_its_file(scoreboard: Scoreboard, tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    path = tmp_path / "stopped"
    Scoreboard.create(path, Layout(1, 0), supervisor_pid=pid, started_ns=monotonic_ns()).close()
    status = read(Scoreboard.open(path), Processes(), now_ns=monotonic_ns())
    assert not status.is_supervisor_alive
    assert status.memory is None


def test_json_has_units_in_its_keys_and_words_for_states(scoreboard: Scoreboard) -> None:
    facts = json.loads(json.dumps(read(scoreboard, Processes(), now_ns=monotonic_ns()).as_dict()))
    assert [worker["state"] for worker in facts["workers"]] == ["ready", "absent"]
    assert (facts["broker"]["slot"], facts["admin"]["slot"]) == (3, 4)
    assert facts["broker"]["state"] == "absent"
    assert [link["state"] for link in facts["links"]] == ["down"]
    assert facts["sessions"] == 7
    assert {"heartbeat_age_s", "loop_lag_us", "rss_bytes", "cpu_percent"} <= facts["workers"][0].keys()


def test_looking_once_tells_the_processor_share(scoreboard: Scoreboard) -> None:
    worker = read_once(scoreboard, over_s=0.001).workers[0]
    assert worker.cpu_percent is not None
    assert worker.cpu_percent >= 0
    assert read_once(scoreboard, over_s=0).workers[0].cpu_percent is None

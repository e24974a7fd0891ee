"""A worker's life from outside: ready, serving, listing, draining, stopping, orphaned."""

import os
import resource
import socket
from pathlib import Path

import pytest

from pools.net.clock import monotonic_ns
from pools.net.orders import Order, Report
from pools.net.scoreboard import Cell, ChildState, ListenCell
from tests.workers.forked_worker import (
    LIMIT_S,
    ForkedWorker,
    Origin,
    begin,
    finish,
    forked_worker,
    forward,
    read_all,
    read_exactly,
    reset,
)
from workers.settings import Relay, Timeouts


def test_it_says_that_it_is_ready_and_shows_its_pulse(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint)) as worker:
        assert worker.row[Cell.STATE] == ChildState.READY
        assert worker.row[Cell.SESSIONS_LIMIT] > 0
        first = worker.row[Cell.HEARTBEAT_NS]
        assert first <= monotonic_ns()
        finish(*begin(worker, origin))
        worker.logged()
        worker.wait_for_row(Cell.SESSIONS_TOTAL, 1)
        assert worker.row[Cell.HEARTBEAT_NS] > first
        worker.order(Order.STOP)
        assert worker.report() is Report.DRAINED
        assert worker.end() == 0
        assert worker.row.listener(0, ListenCell.SESSIONS_TOTAL) == 1
        assert worker.row.listener(0, ListenCell.FORWARD_BYTES) == 1
        assert worker.row[Cell.SESSIONS] == worker.row[Cell.PIPES] == 0


def test_a_drain_lets_sessions_end_and_takes_no_new_ones(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint)) as worker:
        client, accepted = begin(worker, origin)
        worker.order(Order.DRAIN, limit_s=60.0)
        worker.wait_for_row(Cell.STATE, ChildState.DRAINING)
        client.sendall(b"still here")
        assert read_exactly(accepted, 10) == b"still here"
        finish(client, accepted)
        assert worker.logged()["end"] == "--"
        assert worker.report() is Report.DRAINED
        assert worker.end() == 0


def test_a_drain_has_an_end(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint)) as worker:
        client, accepted = begin(worker, origin)
        worker.order(Order.DRAIN, limit_s=0.2)
        assert read_all(client) == (b"", "reset")
        assert read_all(accepted) == (b"", "reset")
        assert worker.logged()["end"] == "KD"
        assert worker.end() == 0


def test_a_stop_in_the_middle_of_a_drain_resets_what_is_left(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint)) as worker:
        client, accepted = begin(worker, origin)
        worker.order(Order.DRAIN, limit_s=60.0)
        worker.order(Order.STOP)
        assert read_all(client)[1] == read_all(accepted)[1] == "reset"
        assert worker.end() == 0


def test_an_orphan_drains_within_its_own_limit(tmp_path: Path) -> None:
    timeouts = Timeouts(drain=0.2)
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint), timeouts=timeouts) as worker:
        client, accepted = begin(worker, origin)
        worker.channel.close()
        assert read_all(client)[1] == read_all(accepted)[1] == "reset"
        assert worker.end() == 0


def test_an_orphan_without_sessions_ends_at_once(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint)) as worker:
        worker.channel.close()
        assert worker.end() == 0


def test_an_operator_gets_the_live_sessions(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint)) as worker:
        client, accepted = begin(worker, origin)
        rows = worker.sessions()
        assert [(row.listener, row.destination, row.forward_bytes) for row in rows] == [
            ("orders", str(origin.endpoint), 1)
        ]
        assert rows[0].client == "{}:{}".format(*client.getsockname())
        finish(client, accepted)


def reset_a_session_behind_a_slow_client(worker: ForkedWorker, origin: Origin) -> socket.socket:
    client = worker.connect(receive_buffer=4096)
    accepted = origin.accept()
    accepted.sendall(b"y" * 100_000)
    worker.wait_for_row(Cell.COPIED_BYTES, 100_000)
    reset(accepted)
    return client


COPYING = Relay(splice=False)


def test_an_order_that_there_is_no_descriptor_for_is_lost_and_the_worker_goes_on(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint)) as worker:
        pair = begin(worker, origin)
        before = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (1, before[1]))
        ours, theirs = socket.socketpair()
        with ours, theirs:
            worker.order(Order.SESSIONS, descriptors=(theirs.fileno(),))
            worker.wait_for("an order of the supervisor is lost")
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, before)
        assert worker.row[Cell.STATE] == ChildState.READY
        assert len(worker.sessions()) == 1
        finish(*pair)


def test_a_draining_worker_stays_until_what_came_before_a_reset_has_arrived(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint), relay=COPYING) as worker:
        client = reset_a_session_behind_a_slow_client(worker, origin)
        assert worker.logged()["end"] == "SD"
        worker.order(Order.DRAIN, limit_s=60.0)
        assert not worker.ends_within(0.3)
        assert read_all(client) == (b"y" * 100_000, "reset")
        assert worker.end() == 0


@pytest.mark.parametrize(("order", "limit_s"), [(Order.DRAIN, 0.2), (Order.STOP, 0.0)])
def test_it_does_not_stay_for_ever(tmp_path: Path, order: Order, limit_s: float) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint), relay=COPYING) as worker:
        client = reset_a_session_behind_a_slow_client(worker, origin)
        assert worker.logged()["end"] == "SD"
        worker.order(order, limit_s=limit_s)
        assert worker.ends_within(LIMIT_S)
        assert read_all(client)[1] == "reset"


def test_many_sessions_leave_no_descriptor(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint)) as worker:
        finish(*begin(worker, origin))
        worker.wait_for_row(Cell.SESSIONS_TOTAL, 1)
        before = len(os.listdir(f"/proc/{worker.pid}/fd"))
        for _ in range(50):
            finish(*begin(worker, origin))
        worker.wait_for_row(Cell.SESSIONS_TOTAL, 51)
        worker.wait_for_row(Cell.SESSIONS, 0)
        assert len(os.listdir(f"/proc/{worker.pid}/fd")) <= before


def test_what_is_kept_ready_is_there_before_a_client_and_gone_with_the_drain(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint, preconnect=1)) as worker:
        ready = origin.accept()
        worker.wait_for_row(Cell.PRECONNECT_DIALLED, 1)  # its worker may hear of it later than this end
        client = worker.connect()
        client.sendall(b"x")
        assert read_exactly(ready, 1) == b"x"
        idle = origin.accept()
        worker.order(Order.DRAIN, limit_s=60.0)
        assert read_all(idle) == (b"", "end")
        idle.close()
        finish(client, ready)
        assert worker.report() is Report.DRAINED
        assert worker.end() == 0
        assert (worker.row[Cell.PRECONNECT_HITS], worker.row[Cell.PRECONNECT_IDLE]) == (1, 0)

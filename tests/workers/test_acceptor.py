"""A worker that accepts, stops where it must, and goes on where it can."""

import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pools.net.orders import Order
from pools.net.scoreboard import Cell
from tests.workers.forked_worker import Origin, forked_worker, forward, read_all, read_exactly
from workers.settings import Limits


@contextmanager
def held_descriptors(count: int) -> Iterator[None]:
    """Hold descriptors that a fork inherits."""
    held = [os.dup(0) for _ in range(count)]
    try:
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)


def test_connections_above_the_limit_wait_in_the_queue_until_a_session_ends(tmp_path: Path) -> None:
    limits = Limits(sessions=2)
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint), limits=limits) as worker:
        clients = [worker.connect() for _ in range(2)]
        accepted = [origin.accept() for _ in range(2)]
        waiting = worker.connect()
        waiting.sendall(b"patience")
        worker.wait_for_row(Cell.ACCEPT_PAUSED, 1)
        worker.wait_for_row(Cell.SESSIONS, 2)
        assert worker.row[Cell.SESSIONS_LIMIT] == 2
        clients[0].close()
        assert read_all(accepted[0])[1] == "end"
        accepted[0].close()
        served = origin.accept()
        assert read_exactly(served, 8) == b"patience"
        worker.wait_for(r"accepts nothing for now: 2 sessions, as many as this worker may hold")
        assert worker.row[Cell.ACCEPT_PAUSES] >= 1


def test_without_descriptors_it_pauses_says_so_once_and_goes_on_when_some_are_free(tmp_path: Path) -> None:
    limit = 320
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > limit
    with (
        Origin() as origin,
        held_descriptors(240),
        forked_worker(tmp_path, forward(origin.endpoint), descriptors=limit) as worker,
    ):
        clients = [worker.connect() for _ in range(60)]  # twice what is left for legs
        worker.wait_for_row(Cell.ACCEPT_PAUSED, 1)
        worker.wait_for(r"accepts nothing for now: cannot (accept|dial): EMFILE")
        for client in clients:
            client.close()
        client = worker.connect()
        client.sendall(b"are you well?")
        accepted = origin.accept()
        while accepted.recv(13) != b"are you well?":  # those before it were of clients that left
            accepted.close()
            accepted = origin.accept()
        worker.order(Order.STOP)
        assert worker.end() == 0
        assert worker.row[Cell.ACCEPT_PAUSES] >= 1
        assert not re.search("accepts nothing", worker.rest())

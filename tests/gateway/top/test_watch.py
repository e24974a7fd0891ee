"""Samples of scoreboards in a real directory, whose supervisor a thread of the test plays, or nobody does."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.control import open_listener
from gateway.control_client import NotRunning
from gateway.runtime_dir import control_socket, scoreboard_file
from gateway.top.watch import Watch
from pools.net.clock import monotonic_ns
from pools.net.scoreboard import Cell, ChildState, Layout, ListenCell, Scoreboard
from workers.operator_wire import frame

TOLD: dict[str, Any] = {
    "ok": True,
    "name": "oregon",
    "listeners": [{"name": "orders", "mode": "forward", "address": "127.0.0.1:8443", "to": "", "number": 1}],
    "peers": [{"name": "mumbai", "address": "192.0.2.9:7400", "pool_min": 4, "pool_max": 8, "number": 0}],
}


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with closing(Watch(tmp_path)) as made:
        yield made


def board(directory: Path, *, pid: int = 0, used: Layout | None = None) -> Scoreboard:
    """Make the scoreboard of a gateway whose supervisor and only worker are this very process."""
    made = Scoreboard.create(
        scoreboard_file(directory),
        used or Layout(1, 2, 1),
        supervisor_pid=pid or os.getpid(),
        started_ns=monotonic_ns(),
    )
    row = made.row(0)
    row[Cell.PID], row[Cell.STATE] = os.getpid(), ChildState.READY
    row[Cell.BOOTED_NS] = row[Cell.HEARTBEAT_NS] = monotonic_ns()
    return made


@contextmanager
def supervisor(directory: Path, *answers: dict[str, Any]) -> Iterator[list[int]]:
    """Answer one request after the other, and count them; each further one is refused."""
    listener = open_listener(control_socket(directory))
    listener.setblocking(True)
    asked: list[int] = []

    def answer() -> None:
        for each in answers:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                asked.append(1)  # first: who has the answer may look at once
                connection.sendall(frame(each))

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(30.0)
        control_socket(directory).unlink()


def test_numbers_of_the_scoreboard_get_the_supervisors_names(watch: Watch, tmp_path: Path) -> None:
    with closing(board(tmp_path)) as made, supervisor(tmp_path, TOLD) as asked:
        made.row(0)[Cell.SESSIONS_TOTAL] = 5
        made.row(0).set_listener(1, ListenCell.SESSIONS_TOTAL, 4)
        found = watch.look()
        assert [(each.name, each.status.sessions_total) for each in found.listeners] == [("orders", 4)]
        assert [(each.name, each.address, each.pool_max) for each in found.links] == [("mumbai", "192.0.2.9:7400", 8)]
        assert [worker.sessions_total for worker in found.status.workers] == [5]
        assert found.is_told
        assert watch.look().told == found.told
        assert len(asked) == 1


def test_without_a_supervisor_there_are_numbers_and_what_was_told_before(watch: Watch, tmp_path: Path) -> None:
    with closing(board(tmp_path)) as made:
        silent = watch.look()
        assert (silent.is_told, silent.listeners, [each.name for each in silent.links]) == (False, (), ["peer 0"])
        made.note_reload(monotonic_ns(), heartbeat_limit_ns=0)  # or it would be asked only seconds later
        with supervisor(tmp_path, TOLD):
            assert watch.look().is_told
        made.note_reload(monotonic_ns(), heartbeat_limit_ns=0)
        left = watch.look()
        assert (left.is_told, [each.name for each in left.links]) == (False, ["mumbai"])
        assert left.status.config_generation == 3


def test_no_gateway_is_no_error_of_the_next_look(watch: Watch, tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no gateway runs in"):
        watch.look()
    with closing(board(tmp_path)), supervisor(tmp_path, TOLD):
        first = watch.look()
    scoreboard_file(tmp_path).unlink()
    with pytest.raises(NotRunning):
        watch.look()
    with closing(board(tmp_path)), supervisor(tmp_path, TOLD | {"name": "successor"}):
        second = watch.look()
    assert first.life != second.life
    assert (first.told["name"], second.told["name"]) == ("oregon", "successor")


def test_a_scoreboard_that_was_put_in_the_others_place_is_the_one_that_is_read(watch: Watch, tmp_path: Path) -> None:
    with closing(board(tmp_path)), closing(board(tmp_path, used=Layout(1, 2, 1))), supervisor(tmp_path, TOLD, TOLD):
        before = watch.look()
        with closing(board(tmp_path, used=Layout(2, 2, 1))):
            after = watch.look()
    assert [len(each.status.workers) for each in (before, after)] == [1, 2]
    assert before.life != after.life


def test_a_file_that_is_no_scoreboard_is_no_gateway(watch: Watch, tmp_path: Path) -> None:
    scoreboard_file(tmp_path).write_bytes(b"something else")
    with pytest.raises(NotRunning):
        watch.look()


def test_what_the_supervisor_names_and_the_scoreboard_has_no_room_for_is_left_out(watch: Watch, tmp_path: Path) -> None:
    beyond = [{**TOLD["listeners"][0], "number": 7}]
    with closing(board(tmp_path)), supervisor(tmp_path, TOLD | {"listeners": beyond}):
        assert watch.look().listeners == ()

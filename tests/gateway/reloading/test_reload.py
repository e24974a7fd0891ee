"""Reloads of real gateways whose workers do little. What they cost clients under load is a scenario's matter."""

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway import control_client
from gateway.control_client import Reloaded
from gateway.exit_codes import ExitCode
from pools.net.scoreboard import Cell, Duty, Scoreboard
from tests.gateway.small_gateway import DIE_AT

Start = Callable[..., Any]


class Reloadable:
    """A gateway with a file."""

    def __init__(self, start: Start, file: Path, **wish: object) -> None:
        self.file = file
        self.wish()
        self.gateway = start(again=str(file), **wish).wait_ready()

    def wish(self, **wish: object) -> None:
        """Have this in the file."""
        self.file.write_text(json.dumps(wish))

    def reload(self, **wish: object) -> Reloaded:
        self.wish(**wish)
        return control_client.reload(self.gateway.runtime_dir)

    def told(self) -> list[int]:
        """Give what a worker was told: sessions and workers."""
        found: list[int] = self.gateway.answer(b"told")
        return found

    def status(self) -> dict[str, Any]:
        return control_client.ask(self.gateway.runtime_dir, {"request": "status"}, limit_s=30)


@pytest.fixture
def reloadable(start: Start, tmp_path: Path) -> Callable[..., Reloadable]:
    return lambda **wish: Reloadable(start, tmp_path / "wish.json", **wish)


def test_an_upgrade_right_behind_a_reload_waits_for_what_that_puts_away(reloadable: Callable[..., Reloadable]) -> None:
    world = reloadable()
    assert world.reload(workers=2, more_listeners=["b"]).ok
    found = control_client.upgrade(world.gateway.runtime_dir)
    assert (found.exit_code, found.error) == (ExitCode.OK, "")
    assert world.gateway.who()[1]


def test_workers_listeners_and_broker_come_and_go_and_sessions_stay(reloadable: Callable[..., Reloadable]) -> None:
    world = reloadable()
    gateway = world.gateway
    pid = gateway.who()[1]
    with gateway.stay() as session:
        found = world.reload(workers=3, more_listeners=["b"], peers=1, sessions=2000)
        assert (found.exit_code, found.generation) == (ExitCode.OK, 2)
        assert found.changes == "listeners +b; peers +mumbai; workers 1 -> 3; changed limits"
        gateway.wait_for(r"reloaded: listeners \+b; peers \+mumbai; workers 1 -> 3; changed limits, in \d+\.\d s; gen")
        assert world.told() == [2000, 3]
        assert {gateway.who()[0] for _ in range(40)} == {0, 1, 2}
        status = world.status()
        assert [each["name"] for each in status["listeners"]] == ["default", "b"]
        assert [each["slot"] for each in status["workers"]] == [0, 1, 2]
        assert world.reload(workers=1).changes == "listeners -b; peers -mumbai; workers 3 -> 1; changed limits"
        session.sendall(b"still here")
        assert session.recv(100) == b"still here"
        assert {gateway.who() for _ in range(10)} == {(0, pid)}
        gateway.wait_for(r"worker [12], pid \d+ ended by exit code 0")
        gateway.wait_for(r"worker [12], pid \d+ ended by exit code 0")
        assert world.status()["last_reload"].startswith(
            "listeners -b; peers -mumbai; workers 3 -> 1; changed limits, in "
        )
        assert world.told() == [1000, 1]
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.end() == 0


def test_a_worker_that_retires_keeps_its_place_as_long_as_it_has_sessions(
    reloadable: Callable[..., Reloadable],
) -> None:
    world = reloadable(workers=2)
    gateway = world.gateway
    staying = [gateway.stay() for _ in range(40)]
    assert world.reload(workers=1).ok
    with closing(Scoreboard.open(gateway.runtime_dir / "scoreboard")) as board:
        assert [board.row(slot)[Cell.DUTY] for slot in (0, 1)] == [Duty.SERVES, Duty.RETIRES]
        assert [each["slot"] for each in world.status()["workers"]] == [0, 1]
        assert world.reload(workers=2).ok
        assert {gateway.who()[0] for _ in range(40)} == {0, 2}
        for session in staying:
            session.sendall(b"mine")
            assert session.recv(100) == b"mine"
            session.close()
        gateway.wait_for(r"worker 1, pid \d+ ended by exit code 0")
        assert board.slots == (0, 2)


def test_a_worker_that_dies_of_it_is_followed_by_one_that_begins_with_it(
    reloadable: Callable[..., Reloadable],
) -> None:
    world = reloadable()
    _, pid = world.gateway.who()
    assert world.reload(sessions=DIE_AT).ok
    world.gateway.wait_for(rf"worker 0, pid {pid} ended by exit code 7; next in 0\.1 s")
    assert world.told() == [DIE_AT, 1]


def test_one_that_is_asked_for_meanwhile_follows_and_its_file_is_read_then(
    reloadable: Callable[..., Reloadable],
) -> None:
    world = reloadable()
    _, pid = world.gateway.who()
    os.kill(pid, signal.SIGSTOP)  # so that the first cannot end yet
    world.wish(sessions=2000)
    world.gateway.process.send_signal(signal.SIGHUP)
    world.gateway.wait_for("file read")
    found: list[Reloaded] = []
    waiting = threading.Thread(target=lambda: found.append(world.reload(sessions=3000)))
    waiting.start()
    world.gateway.wait_for(r"told to reload by pid")
    os.kill(pid, signal.SIGCONT)
    waiting.join(30)
    assert [(each.ok, each.generation) for each in found] == [(True, 3)]
    assert world.told() == [3000, 1]


def test_there_is_none_while_the_gateway_ends_and_none_without_a_file(
    reloadable: Callable[..., Reloadable], start: Start
) -> None:
    world = reloadable()
    with world.gateway.stay():
        world.gateway.process.send_signal(signal.SIGTERM)
        world.gateway.wait_for("draining")
        found = control_client.reload(world.gateway.runtime_dir)
        assert (found.exit_code, found.error) == (ExitCode.CANNOT_START, "the gateway is ending")
        world.gateway.process.send_signal(signal.SIGHUP)
        world.gateway.wait_for("cannot reload: the gateway is ending")
    assert world.gateway.end() == 0
    without = start().wait_ready()
    found = control_client.reload(without.runtime_dir)
    assert found.exit_code is ExitCode.CANNOT_START
    assert found.error == "this gateway was started without a file, so there is none to reload"


def test_a_taken_port_changes_nothing(reloadable: Callable[..., Reloadable]) -> None:
    world = reloadable()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = world.reload(port=taken.getsockname()[1], workers=2)
    assert (found.exit_code, "EADDRINUSE" in found.error) == (ExitCode.CANNOT_START, True)
    assert world.told() == [1000, 1]
    assert [each["slot"] for each in world.status()["workers"]] == [0]

"""A supervisor starts its successor and hands the gateway to it: real processes, whose workers do little."""

import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from gateway.commands import upgrade as command
from gateway.control_client import Upgraded, ask, drain, upgrade, wait_for_end
from gateway.exit_codes import ExitCode
from gateway.sockets.letting_go import LET_GO_S
from pools.net.scoreboard import Cell, Scoreboard
from tests.gateway.deaths import wait_dead
from tests.scenarios.harness.service_manager import ServiceManager

Start = Callable[..., Any]


def install(gateway: Any, **wish: object) -> None:
    """Have whoever starts from now on be another version."""
    gateway.runtime_dir.with_name("next").write_text(json.dumps(wish))


def status(gateway: Any) -> dict[str, Any]:
    return ask(gateway.runtime_dir, {"request": "status"})


def sessions_total(gateway: Any) -> int:
    with closing(Scoreboard.open(gateway.runtime_dir / "scoreboard")) as board:
        return sum(board.row(index)[Cell.SESSIONS_TOTAL] for index in range(board.rows))


def is_alive(session: Any) -> bool:
    session.sendall(b"still here")
    return bool(session.recv(100) == b"still here")


def test_a_successor_takes_over_and_the_old_one_ends_with_its_last_session(start: Start) -> None:
    gateway = start(workers=2, peers=1).wait_ready()
    old, before = gateway.process.pid, gateway.who()[1]
    with gateway.stay() as session:
        found = upgrade(gateway.runtime_dir)
        assert (found.exit_code, found.old_pid, found.sessions) == (ExitCode.OK, old, 1)
        assert (gateway.runtime_dir / "supervisor.pid").read_text() == f"{found.pid}\n"
        now = status(gateway)
        assert (now["pid"], now["phase"]) == (found.pid, "running")
        assert [(each["pid"], each["sessions"]) for each in now["retiring"]] == [(old, 1)]
        assert before != gateway.who()[1] in [worker["pid"] for worker in now["workers"]]
        assert is_alive(session)
        assert sessions_total(gateway) == 3  # one stays, two asked who is there
    assert gateway.end() == 0
    gateway.wait_for(rf"the supervisor before, pid {old}, has ended; sessions left 0\n")
    assert status(gateway)["retiring"] == []
    assert sessions_total(gateway) == 3
    ending = drain(gateway.runtime_dir)
    assert ending.pid == found.pid
    assert wait_for_end(ending.pidfd, 30)
    os.close(ending.pidfd)
    assert list(gateway.runtime_dir.iterdir()) == []
    assert "Traceback" not in gateway.rest()


@pytest.mark.parametrize(
    ("wish", "code", "words"),
    [
        ({"main": "crash"}, ExitCode.CANNOT_START, "RuntimeError: this version is broken"),
        ({"main": "cannot boot"}, ExitCode.CANNOT_START, "slot 0 lacks what it needs"),
        ({"main": "hang"}, ExitCode.CANNOT_START, "it was not ready within 2 s"),
    ],
)
def test_a_successor_that_cannot_start_changes_nothing(
    start: Start, wish: dict[str, object], code: ExitCode, words: str
) -> None:
    gateway = start(ready_s=2.0 if wish["main"] == "hang" else 60.0).wait_ready()
    files = sorted(path.name for path in gateway.runtime_dir.iterdir())
    with gateway.stay() as session:
        before = gateway.who()
        install(gateway, **wish)
        found = upgrade(gateway.runtime_dir)
        assert found.exit_code is code
        assert words in found.error
        assert gateway.who() == before
        assert is_alive(session)
        assert status(gateway)["pid"] == gateway.process.pid
        assert sorted(path.name for path in gateway.runtime_dir.iterdir()) == files
        gateway.wait_for(r"not upgraded, this supervisor goes on: ")
        if wish["main"] == "cannot boot":
            install(gateway)
            assert upgrade(gateway.runtime_dir).exit_code is ExitCode.OK  # another attempt may succeed
            assert is_alive(session)


def test_a_successor_says_what_is_wrong_with_the_runtime_directory(start: Start) -> None:
    gateway = start().wait_ready()
    (gateway.runtime_dir / "scoreboard.new").mkdir()  # where a file is to be
    found = upgrade(gateway.runtime_dir)
    assert found.exit_code is ExitCode.CANNOT_START
    assert "cannot make the scoreboard: " in found.error
    (gateway.runtime_dir / "scoreboard.new").rmdir()
    assert status(gateway)["phase"] == "running"


def test_there_is_one_upgrade_at_a_time_and_a_drain_ends_it(start: Start) -> None:
    gateway = start().wait_ready()
    install(gateway, main="hang")
    found: list[Upgraded] = []
    asking = threading.Thread(target=lambda: found.append(upgrade(gateway.runtime_dir)))
    asking.start()
    heir = int(gateway.wait_for(r"started a new supervisor, pid (\d+)\n")[1])
    second = upgrade(gateway.runtime_dir)
    assert (second.exit_code, second.error) == (ExitCode.CANNOT_START, "another upgrade is under way")
    gateway.process.send_signal(signal.SIGTERM)
    wait_dead(heir)
    asking.join(30)
    assert "told to end" in found[0].error
    assert gateway.end() == 0


def test_a_reload_that_is_refused_meanwhile_is_told_to_the_service_manager_from_begin_to_end(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(ServiceManager(tmp_path / "notify")) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.environment["NOTIFY_SOCKET"])
        gateway = start().wait_ready()
        manager.wait_for_key("READY")
        install(gateway, main="hang")
        gateway.process.send_signal(signal.SIGUSR2)
        gateway.wait_for(r"started a new supervisor, pid (\d+)\n")
        gateway.process.send_signal(signal.SIGHUP)
        assert manager.wait_for_key("RELOADING")["MONOTONIC_USEC"].isdecimal()
        assert manager.wait_for_key("READY")["STATUS"].endswith("the last reload was refused: an upgrade is under way")
        assert status(gateway)["last_reload"] == "failed: an upgrade is under way"


def test_a_successor_that_is_told_to_end_before_its_time_leaves_the_listeners_as_they_are(start: Start) -> None:
    gateway = start().wait_ready()
    install(gateway, main="never able")
    gateway.process.send_signal(signal.SIGUSR2)
    heir = int(gateway.wait_for(r"started a new supervisor, pid (\d+)\n")[1])
    gateway.wait_for(r"a worker that is never able\n")
    os.kill(heir, signal.SIGTERM)
    gateway.wait_for(r"not upgraded, this supervisor goes on: ")
    assert gateway.who()[1]


@pytest.mark.parametrize("is_away", [False, True])
def test_a_successor_that_is_told_to_end_once_it_is_ready_takes_over_and_then_ends_the_gateway(
    start: Start, is_away: bool
) -> None:
    gateway = start(has_admin=True, admin="does not end", heartbeat_s=60.0).wait_ready()
    install(gateway, has_admin=False)
    with gateway.stay() as session:
        gateway.process.send_signal(signal.SIGUSR2)
        heir = int(gateway.wait_for(r"started a new supervisor, pid (\d+)\n")[1])
        gateway.wait_for(
            r"an admin child that does not end\n"
        )  # it is ready, and the old one gives the gateway away soon
        if is_away:
            os.kill(heir, signal.SIGSTOP)
        os.kill(heir, signal.SIGTERM)
        gateway.wait_for(rf"upgraded: pid {heir} is the supervisor from here on\n")
        os.kill(heir, signal.SIGCONT)
        gateway.wait_for(r"ready: listening on ")
        gateway.wait_for(r"draining: sessions left ")
        assert is_alive(session)
    wait_dead(heir)
    assert gateway.end() == 0
    assert list(gateway.runtime_dir.iterdir()) == []


def test_a_successor_that_dies_once_it_is_ready_changes_nothing(start: Start) -> None:
    gateway = start(has_admin=True, admin="does not end", heartbeat_s=60.0).wait_ready()
    gateway.process.send_signal(signal.SIGUSR2)
    heir = int(gateway.wait_for(r"started a new supervisor, pid (\d+)\n")[1])
    gateway.wait_for(r"an admin child that does not end\n")
    os.kill(heir, signal.SIGKILL)
    gateway.wait_for(r"not upgraded, this supervisor goes on: it ")
    assert gateway.who()[1]
    assert status(gateway)["phase"] == "running"


def test_an_operator_hears_of_a_successor_that_dies_as_it_takes_over(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = start(has_admin=True, admin="does not end", heartbeat_s=60.0).wait_ready()
    with gateway.stay() as session, ThreadPoolExecutor() as operator:
        asked = operator.submit(command.upgrade, gateway.runtime_dir, as_json=False)
        heir = int(gateway.wait_for(r"started a new supervisor, pid (\d+)\n")[1])
        gateway.wait_for(r"an admin child that does not end\n")
        os.kill(heir, signal.SIGSTOP)
        gateway.wait_for(rf"upgraded: pid {heir} is the supervisor from here on\n")
        os.kill(heir, signal.SIGKILL)
        assert asked.result() is ExitCode.UNWELL
        expected = (
            f"pid {heir}, to which the gateway was given, has ended: nobody supervises it any more, start it anew"
        )
        assert capsys.readouterr().err.endswith(f"{expected}\n")
        assert is_alive(session)


def test_a_successor_that_ends_does_not_take_over_on_its_way(start: Start) -> None:
    gateway = start().wait_ready()
    install(gateway, main="begin when it drains")
    gateway.process.send_signal(signal.SIGUSR2)
    heir = int(gateway.wait_for(r"started a new supervisor, pid (\d+)\n")[1])
    gateway.wait_for(r"a worker that does not begin yet\n")
    os.kill(heir, signal.SIGTERM)
    gateway.wait_for(r"a worker that is ready too late\n")
    os.kill(heir, signal.SIGTERM)
    gateway.wait_for(r"not upgraded, this supervisor goes on: it was told to end\n")
    assert gateway.who()[1]


def test_an_old_supervisor_that_is_killed_leaves_the_gateway_to_a_successor_that_is_not_ready_yet(start: Start) -> None:
    gateway = start().wait_ready()
    install(gateway, main="able when told")
    gateway.process.send_signal(signal.SIGUSR2)
    heir = int(gateway.wait_for(r"started a new supervisor, pid (\d+)\n")[1])
    worker = int(gateway.wait_for(r"a worker that waits to be able, pid (\d+)\n")[1])
    gateway.process.kill()
    gateway.wait_for(r"the supervisor before ended without handing over, which leaves the gateway to this one\n")
    with gateway.connect(b"who") as waiting:  # nobody accepts just now
        os.kill(worker, signal.SIGUSR1)
        gateway.wait_for(r"ready: listening on ")
        assert int(waiting.recv(100).split()[1]) == worker
    assert (gateway.runtime_dir / "supervisor.pid").read_text() == f"{heir}\n"
    assert status(gateway)["pid"] == heir
    os.kill(heir, signal.SIGTERM)
    wait_dead(heir)
    assert list(gateway.runtime_dir.iterdir()) == []


def test_a_child_that_fails_after_the_change_does_not_end_the_gateway(start: Start) -> None:
    gateway = start().wait_ready()
    install(gateway, has_admin=True)
    with gateway.stay() as session:
        assert upgrade(gateway.runtime_dir).exit_code is ExitCode.OK
        gateway.wait_for(r"admin, pid \d+ ended by exit code 3: .*no page can be shown; next in ")
        assert status(gateway)["phase"] == "running"
        assert gateway.who()[1]
        assert is_alive(session)


def test_what_retires_ends_with_the_gateway(start: Start) -> None:
    gateway = start().wait_ready()
    with gateway.stay():
        gateway.process.send_signal(signal.SIGUSR2)
        heir = int(gateway.wait_for(r"upgraded: pid (\d+) is the supervisor from here on\n")[1])
        gateway.wait_for(r"ready: listening on ")
        ending = drain(gateway.runtime_dir, limit_s=0.2)
        assert (ending.pid, ending.sessions) == (heir, 1)
        assert gateway.end() == 0
        assert wait_for_end(ending.pidfd, 30)
        os.close(ending.pidfd)


def unanswered(clients: Sequence[socket.socket], *, within_s: float) -> set[socket.socket]:
    """Give those of whom nothing was heard, not even their end."""
    left, until_s = set(clients), time.monotonic() + within_s
    while left and (left_s := until_s - time.monotonic()) > 0:
        left -= set(select.select(left, [], [], left_s)[0])
    return left


def test_who_waits_for_a_worker_that_an_upgrade_removes_is_served_by_it(start: Start) -> None:
    gateway = start(workers=2, heartbeat_s=60.0).wait_ready()
    pids = dict(gateway.who() for _ in range(40))
    os.kill(pids[1], signal.SIGSTOP)  # it takes its time
    with ExitStack() as opened:
        clients = [opened.enter_context(gateway.connect(b"who")) for _ in range(20)]
        install(gateway, workers=1)
        assert upgrade(gateway.runtime_dir).exit_code is ExitCode.OK
        waiting = unanswered(clients, within_s=LET_GO_S + 1.0)
        assert waiting
        os.kill(pids[1], signal.SIGCONT)
        assert {client.recv(100) for client in waiting} == {b"1 %d" % pids[1]}
    wait_dead(gateway.process.pid)


def test_ports_that_the_kernel_chose_stay_with_their_listeners_whatever_their_order_in_the_file(start: Start) -> None:
    gateway = start(more_listeners=["b", "c"]).wait_ready()

    def ports() -> dict[str, str]:
        return {each["name"]: each["address"] for each in status(gateway)["listeners"]}

    before = ports()
    install(gateway, more_listeners=["new", "c", "b"])
    assert upgrade(gateway.runtime_dir).exit_code is ExitCode.OK
    after = ports()
    assert after.pop("new") not in before.values()
    assert after == before


def test_a_retiring_supervisor_that_is_killed_is_forgotten(start: Start) -> None:
    gateway = start().wait_ready()
    with gateway.stay():
        assert upgrade(gateway.runtime_dir).sessions == 1
        gateway.process.kill()
        gateway.wait_for(rf"the supervisor before, pid {gateway.process.pid}, has ended; sessions left 1\n")
        assert status(gateway)["retiring"] == []
        assert gateway.who()[1]

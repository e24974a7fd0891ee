import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pools.net.clock import monotonic_ns
from pools.net.scoreboard import Cell, ChildState, Scoreboard
from tests.gateway.deaths import wait_dead

Start = Callable[..., Any]


def sockets_of(pid: int) -> set[str]:
    links = (os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir())
    return {link for link in links if link.startswith("socket:")}


def packet_sockets_of(pid: int) -> set[str]:
    inodes = [line.split()[-1] for line in Path(f"/proc/{pid}/net/packet").read_text().splitlines()[1:]]
    return sockets_of(pid) & {f"socket:[{inode}]" for inode in inodes}


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_ready_line_names_listeners_workers_cores_and_admin(start: Start) -> None:
    gateway = start(workers=2)
    line = gateway.wait_for(r"ready: (.*)\n")[1]
    assert "(default, mixed)" in line
    assert "2 workers on core" in line
    assert "admin off" in line
    assert f"pid {gateway.process.pid}" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: captures packets")
def test_a_worker_and_its_successor_have_the_capture_of_their_slot_alone(start: Start) -> None:
    gateway = start(workers=2, early_syn=True).wait_ready()
    slot, pid = gateway.who()
    held, own = packet_sockets_of(gateway.process.pid), packet_sockets_of(pid)
    assert (len(held), len(own), own < held) == (2, 1, True)
    os.kill(pid, signal.SIGKILL)
    gateway.wait_for(rf"worker {slot}, pid \d+ ended by SIGKILL")
    with closing(Scoreboard.open(gateway.runtime_dir / "scoreboard")) as scoreboard:
        deadline_s = time.monotonic() + 30
        while scoreboard.row(slot)[Cell.PID] in (0, pid):
            assert time.monotonic() < deadline_s
        assert packet_sockets_of(scoreboard.row(slot)[Cell.PID]) == own


def test_killed_worker_is_replaced_in_its_slot_and_its_queue_is_served(start: Start) -> None:
    gateway = start().wait_ready()
    slot, pid = gateway.who()
    os.kill(pid, signal.SIGSTOP)
    with gateway.connect(b"who") as waiting:  # in the accept queue of a worker that will never accept
        os.kill(pid, signal.SIGKILL)
        gateway.wait_for(r"worker 0, pid \d+ ended by SIGKILL; next in 0\.1 s")
        successor_slot, successor = map(int, waiting.recv(100).split())
    assert successor_slot == slot
    assert successor != pid
    with closing(Scoreboard.open(gateway.runtime_dir / "scoreboard")) as scoreboard:
        assert scoreboard.row(0)[Cell.RESTARTS] == 1
        assert scoreboard.started_ns < scoreboard.row(0)[Cell.RESTARTED_NS] <= monotonic_ns()
        assert scoreboard.row(0)[Cell.STATE] == ChildState.READY


def test_back_off_doubles_while_a_worker_keeps_dying(start: Start) -> None:
    gateway = start().wait_ready()
    for delay_s in ("0.1", "0.2", "0.4"):
        os.kill(gateway.who()[1], signal.SIGKILL)
        gateway.wait_for(rf"SIGKILL; next in {delay_s} s")


def test_hung_worker_shows_where_and_is_replaced(start: Start) -> None:
    gateway = start(heartbeat_s=2.0).wait_ready()
    _, pid = gateway.who()
    gateway.hang()
    gateway.wait_for(rf"worker 0, pid {pid}, hangs: no heartbeat for \d+\.\d s")
    gateway.wait_for(r"Fatal Python error: Aborted[\s\S]*in hang\n")
    gateway.wait_for(r"ended by SIGABRT")
    assert gateway.who()[1] != pid


def test_stopped_worker_which_cannot_act_on_abort_is_killed(start: Start) -> None:
    gateway = start(heartbeat_s=2.0).wait_ready()
    _, pid = gateway.who()
    os.kill(pid, signal.SIGSTOP)
    gateway.wait_for(rf"pid {pid}, hangs")
    gateway.wait_for(rf"pid {pid} ended by SIGKILL")
    assert gateway.who()[1] != pid


def test_worker_that_cannot_boot_ends_the_start_with_its_code_and_reason(start: Start) -> None:
    gateway = start(main="cannot boot")
    gateway.wait_for(r"could not start: worker 0, pid \d+ ended by exit code 3: ChildError: slot 0 lacks what it needs")
    assert gateway.end() == 3
    assert list(gateway.runtime_dir.iterdir()) == []


def test_worker_that_stumbles_while_booting_shows_a_traceback_and_ends_the_start(start: Start) -> None:
    gateway = start(main="stumble")
    assert gateway.end() == 3
    said = gateway.rest()
    assert "in stumble" in said
    assert "could not start: worker 0" in said


def test_taken_port_ends_the_start_and_leaves_nothing(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = start(port=taken.getsockname()[1])
        gateway.wait_for(r"could not start: .*EADDRINUSE")
        assert gateway.end() == 3
    assert list(gateway.runtime_dir.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_the_whole_group_drains_and_ends_well(start: Start, number: signal.Signals) -> None:
    gateway = start().wait_ready()
    with gateway.stay() as session:
        os.killpg(gateway.process.pid, number)
        gateway.wait_for(r"draining: sessions left")
        session.sendall(b"during")
        assert session.recv(100) == b"during"
    assert gateway.end() == 0
    assert list(gateway.runtime_dir.iterdir()) == []


def test_drain_refuses_newcomers(start: Start) -> None:
    gateway = start().wait_ready()
    with gateway.stay() as session:
        gateway.process.send_signal(signal.SIGINT)
        gateway.wait_for(r"draining")
        session.sendall(b"after the order")  # answered after the worker has closed its listener
        assert session.recv(100) == b"after the order"
        with pytest.raises(ConnectionRefusedError):
            gateway.who()
    assert gateway.end() == 0


def test_second_signal_stops_at_once(start: Start) -> None:
    gateway = start().wait_ready()
    with gateway.stay():
        for _ in range(2):
            gateway.process.send_signal(signal.SIGTERM)
            gateway.wait_for(r"got SIGTERM")
        assert gateway.end() == 0


def test_reserved_signals_are_named_and_change_nothing(start: Start) -> None:
    gateway = start().wait_ready()
    _, pid = gateway.who()
    os.killpg(gateway.process.pid, signal.SIGUSR1)
    gateway.wait_for(r"got SIGUSR1, which means nothing here yet")
    assert gateway.who()[1] == pid


def test_child_holds_its_own_sockets_and_nobody_elses(start: Start) -> None:
    gateway = start(workers=2).wait_ready()
    first, second = (sockets_of(pid) for pid in children_of(gateway.process.pid))
    supervisor = sockets_of(gateway.process.pid)
    assert len(first) == len(second) == 2  # a listener and a channel
    assert not first & second
    assert len(supervisor & first) == len(supervisor & second) == 1  # the listener, whose queue must outlive the child


def test_successor_holds_no_more_than_its_predecessor(start: Start) -> None:
    gateway = start().wait_ready()
    _, first = gateway.who()
    before = sorted(os.readlink(each).partition(":")[0] for each in Path(f"/proc/{first}/fd").iterdir())
    os.kill(first, signal.SIGKILL)
    wait_dead(first)
    _, second = gateway.who()
    after = sorted(os.readlink(each).partition(":")[0] for each in Path(f"/proc/{second}/fd").iterdir())
    assert second != first
    assert after == before


def test_supervisor_has_no_gevent_and_children_have_their_names_and_cores(start: Start) -> None:
    gateway = start(workers=2).wait_ready()
    assert "/gevent/" not in Path(f"/proc/{gateway.process.pid}/maps").read_text()
    children = children_of(gateway.process.pid)
    assert [Path(f"/proc/{pid}/comm").read_text() for pid in children] == ["gateway-w0\n", "gateway-w1\n"]
    assert all(len(os.sched_getaffinity(pid)) == 1 for pid in children)
    ours, *theirs = (int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (gateway.process.pid, *children))
    assert theirs == [min(1000, ours + 100)] * 2  # where memory runs out, they go first


def test_second_gateway_in_the_same_runtime_directory_is_refused(start: Start) -> None:
    first = start().wait_ready()
    second = start()
    second.wait_for(rf"could not start: .*another gateway runs here, pid {first.process.pid}")
    assert second.end() == 3
    assert first.who()[0] == 0


def test_files_of_a_killed_supervisor_do_not_stop_the_next_one(start: Start) -> None:
    first = start().wait_ready()
    _, worker = first.who()
    first.process.kill()
    first.process.wait()
    wait_dead(worker)  # end of file on its channel
    assert (first.runtime_dir / "control.sock").exists()
    assert start().wait_ready().who()[0] == 0

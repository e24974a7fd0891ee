import os
import resource
import selectors
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from gateway import control_client
from gateway.control import CONNECTIONS_LIMIT, PAUSE_S, REQUEST_LIMIT, ControlServer, Later, open_listener
from gateway.control_client import NoAnswer, NotRunning, ask
from pools.net.clock import monotonic_s
from workers.operator_wire import FrameReader, frame

Start = Callable[..., Any]


def connect(gateway: Any) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(str(gateway.runtime_dir / "control.sock"))
    return connection


def test_ping_and_status_are_answered(start: Start) -> None:
    gateway = start(workers=2).wait_ready()
    assert ask(gateway.runtime_dir, {"request": "ping"}) == {"ok": True, "pid": gateway.process.pid}
    told = ask(gateway.runtime_dir, {"request": "status"})
    assert told["phase"] == "running"
    address = f"127.0.0.1:{gateway.port}"
    assert told["listeners"] == [{"name": "default", "mode": "mixed", "address": address, "to": "", "number": 0}]
    assert gateway.who()[1] in [worker["pid"] for worker in told["workers"]]


def test_request_in_pieces_is_answered(start: Start) -> None:
    gateway = start().wait_ready()
    with connect(gateway) as connection:
        for byte in frame({"request": "ping"}):
            connection.sendall(bytes([byte]))
        (reply,) = FrameReader().feed(connection.recv(1000))
    assert reply["ok"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        frame({"request": "dance"}),
        frame(["ping"]),
        frame({"request": "sessions", "worker": 99}),
        frame({"request": "stop"}),
    ],
)
def test_request_that_is_not_understood_is_refused_with_a_reason(start: Start, request_bytes: bytes) -> None:
    gateway = start().wait_ready()
    with connect(gateway) as connection:
        connection.sendall(request_bytes)
        (reply,) = FrameReader().feed(connection.recv(1000))
    assert not reply["ok"]
    assert reply["error"]


@pytest.mark.parametrize("garbage", [b"\xff" * 100, frame("x" * REQUEST_LIMIT), b"\0\0\0\1\xc1"])
def test_garbage_costs_only_its_own_connection(start: Start, garbage: bytes) -> None:
    gateway = start().wait_ready()
    with connect(gateway) as connection:
        connection.sendall(garbage)
        try:
            assert connection.recv(1000) == b""
        except ConnectionResetError:  # it did not even read all of it
            assert connection.fileno() >= 0
    assert ask(gateway.runtime_dir, {"request": "ping"})["ok"]


def test_silent_operators_are_bounded_and_dropped_in_time(start: Start) -> None:
    gateway = start().wait_ready()
    silent = [connect(gateway) for _ in range(CONNECTIONS_LIMIT)]
    with pytest.raises(NoAnswer):
        ask(gateway.runtime_dir, {"request": "ping"}, limit_s=0.2)  # long before the silent ones are dropped
    for connection in silent:
        assert connection.recv(10) == b""  # the deadline
        connection.close()
    assert ask(gateway.runtime_dir, {"request": "ping"})["ok"]


@pytest.mark.parametrize("when", ["at once", "later", "after the operator has left"])
def test_a_reply_may_come_later_and_an_operator_who_left_is_no_error(tmp_path: Path, when: str) -> None:
    later = Later()
    with ExitStack() as owned:
        selector = owned.enter_context(selectors.DefaultSelector())
        server = owned.enter_context(closing(ControlServer(open_listener(tmp_path / "control.sock"), selector)))
        operator = owned.enter_context(socket.socket(socket.AF_UNIX))

        def hear() -> None:
            while ready := selector.select(0):
                for key, _ in ready:
                    key.data()

        server.answer = lambda _request, _connection: later
        server.start()
        if when == "at once":
            later.reply({"ok": True})
        operator.connect(str(tmp_path / "control.sock"))
        operator.sendall(frame({"request": "anything"}))
        hear()
        server.turn(float("1e12"))  # whoever waits for us is not dropped for being silent
        if when == "after the operator has left":
            operator.shutdown(socket.SHUT_RDWR)
            hear()
        if when != "at once":
            later.reply({"ok": True})
        expected = [] if when == "after the operator has left" else [{"ok": True}]
        assert list(FrameReader().feed(operator.recv(1000))) == expected
        assert operator.recv(1000) == b""
        assert len(selector.get_map()) == 1  # the listener


def test_without_a_descriptor_it_looks_away_and_lets_the_operator_in_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as owned:
        selector = owned.enter_context(selectors.DefaultSelector())
        server = owned.enter_context(closing(ControlServer(open_listener(tmp_path / "control.sock"), selector)))
        operator = owned.enter_context(socket.socket(socket.AF_UNIX))
        server.answer = lambda _request, _connection: {"ok": True}
        server.start()
        operator.connect(str(tmp_path / "control.sock"))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            for key, _ in selector.select(0):
                key.data()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "cannot accept" in caplog.text
        assert selector.select(0) == []
        server.turn(monotonic_s() + PAUSE_S)
        operator.sendall(frame({"request": "anything"}))
        while ready := selector.select(0):
            for key, _ in ready:
                key.data()
        assert list(FrameReader().feed(operator.recv(1000))) == [{"ok": True}]


def test_nobody_there_is_told_from_somebody_who_is_silent(start: Start, tmp_path: Any) -> None:
    with pytest.raises(NotRunning):
        ask(tmp_path, {"request": "ping"})
    gateway = start().wait_ready()
    gateway.process.send_signal(19)  # SIGSTOP
    with pytest.raises(NoAnswer, match="no answer within"):
        ask(gateway.runtime_dir, {"request": "ping"}, limit_s=0.2)


def test_worker_writes_its_sessions_to_the_operator_itself(start: Start) -> None:
    gateway = start().wait_ready()
    (row,) = control_client.sessions(gateway.runtime_dir, 0)
    assert (row.listener, row.client, row.outbound_retransmits) == ("small", "192.0.2.1:50000", 3)


def test_hung_worker_costs_only_its_own_rows(start: Start) -> None:
    gateway = start(heartbeat_s=600.0).wait_ready()  # or a successor would answer
    gateway.hang()
    with pytest.raises(NoAnswer, match="no answer within"):
        list(control_client.sessions(gateway.runtime_dir, 0, limit_s=0.2))
    assert ask(gateway.runtime_dir, {"request": "ping"})["ok"]


def test_drain_and_stop_give_a_descriptor_that_tells_the_end_and_stop_the_shorter_limit(start: Start) -> None:
    gateway = start().wait_ready()
    session = gateway.stay()
    draining = control_client.drain(gateway.runtime_dir)
    assert draining.pid == gateway.process.pid
    assert (29 < draining.drain_s <= 30, draining.limit_s > draining.drain_s, draining.sessions) == (True, True, 1)
    os.close(draining.pidfd)
    ending = control_client.stop(gateway.runtime_dir, now=False)
    assert (0 < ending.drain_s <= 5, ending.limit_s > ending.drain_s) == (True, True)
    longer = control_client.drain(gateway.runtime_dir, limit_s=60)
    assert longer.drain_s <= 5  # a drain is only shortened
    os.close(longer.pidfd)
    session.close()
    gateway.wait_for(rf"told to stop by pid {os.getpid()} of user {os.getuid()}\n")
    assert control_client.wait_for_end(ending.pidfd, 30)
    assert gateway.end() == 0
    os.close(ending.pidfd)

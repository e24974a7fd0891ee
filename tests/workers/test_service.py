"""One service after another in a worker that lives: what stays as it was, what changes, and that nobody is refused."""

import os
import selectors
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from pools.net.endpoint import Endpoint
from pools.net.orders import LINGER_S, Order, Report
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
)
from workers.service import sessions_limit
from workers.settings import AccessLog, Limits, Listen, LogFormat, Preconnected, Timeouts, WorkerSettings

MANY = 70  # more than an acceptor takes at once


class Echo(Origin):
    """A destination that gives back what it is sent, for as many as come."""

    def __init__(self) -> None:
        super().__init__()
        self._end, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            for source in (self.listener, self._end):
                selector.register(source, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._end:
                        return
                    if key.fileobj is self.listener:
                        selector.register(self.accept(), selectors.EVENT_READ)
                    else:
                        _echo(selector, key.fileobj)

    def __exit__(self, *about: object) -> None:
        self._stop.close()
        self._thread.join()
        self._end.close()
        super().__exit__(*about)


def _echo(selector: selectors.BaseSelector, sock: Any) -> None:
    data = b""
    with suppress(ConnectionError):
        data = sock.recv(65_536)
        sock.sendall(data)
    if not data:
        selector.unregister(sock)
        sock.close()


def is_served(client: socket.socket) -> bool:
    """Tell whether what a client says comes back."""
    client.sendall(b"well?")
    return read_exactly(client, 5) == b"well?"


class Caller:
    """Connects to a worker again and again, and notes what goes wrong."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.served = 0
        self.failures: list[BaseException] = []
        self._address = address
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                with socket.create_connection(self._address, timeout=LIMIT_S) as client:
                    assert is_served(client)
                self.served += 1
            except BaseException as error:  # noqa: BLE001  # the test looks at it
                self.failures.append(error)
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


@contextmanager
def stopped(worker: ForkedWorker) -> Iterator[None]:
    """Have what happens meanwhile come to the worker all at once."""
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker.pid, signal.SIGCONT)


def named(name: str, to: Endpoint) -> Listen:
    return replace(forward(to), name=name)


def descriptors_of(worker: ForkedWorker) -> int:
    return len(os.listdir(f"/proc/{worker.pid}/fd"))


def test_sessions_keep_what_they_began_with_and_new_ones_have_what_is_new(tmp_path: Path) -> None:
    with Origin() as first, Origin() as second, forked_worker(tmp_path, forward(first.endpoint)) as worker:
        oldest = begin(worker, first)
        worker.follow(forward(second.endpoint), timeouts=Timeouts(idle=0.2))
        brief = begin(worker, second)
        worker.follow(forward(first.endpoint), timeouts=Timeouts(), access_log=AccessLog(enabled=False))
        unlogged = begin(worker, first)
        assert worker.row[Cell.STATE] == ChildState.READY
        assert {row.destination for row in worker.sessions()} == {str(first.endpoint), str(second.endpoint)}
        assert len(worker.sessions()) == 3
        assert read_all(brief[0])[1] == read_all(brief[1])[1] == "reset"
        assert worker.logged()["session"] == "0-2"
        worker.wait_for_row(Cell.SESSIONS, 2)
        finish(*unlogged)
        worker.follow(forward(second.endpoint), access_log=AccessLog(True, LogFormat.TEXT))
        finish(*begin(worker, second))
        assert worker.wait_for(r"(?m)^\S+Z (0-\d+) orders")[1] == "0-4"
        finish(*oldest)
        assert worker.logged()["session"] == "0-1"
        worker.wait_for_row(Cell.SESSIONS, 0)
        worker.wait_for_row(Cell.SESSIONS_TOTAL, 4)
        assert worker.row.listener(0, ListenCell.SESSIONS_TOTAL) == 4
        worker.order(Order.STOP)
        assert worker.end() == 0


def test_listeners_come_and_go_and_nobody_is_refused(tmp_path: Path) -> None:
    with Echo() as echo, forked_worker(tmp_path, forward(echo.endpoint)) as worker:
        kept, new = forward(echo.endpoint), named("new", echo.endpoint)
        with Caller(worker.addresses[0]) as caller:
            worker.follow(kept, new)
            address = worker.addresses[1]
            with stopped(worker):
                clients = [worker.connect(1) for _ in range(MANY)]
                worker.send(kept)
            assert worker.report() is Report.CONFIGURED
            assert all(map(is_served, clients))
            for client in clients:
                client.close()
            served = caller.served
            worker.follow(new, kept)  # of the old name, at another address
            assert is_served(worker.connect(0))
            assert is_served(worker.connect(1))
            while caller.served <= served and not caller.failures:
                worker.follow(new, kept)
        assert caller.failures == []
        worker.forget_removed()
        until_refused(address)
        assert worker.row.listener(1, ListenCell.SESSIONS_TOTAL) > MANY


def until_refused(address: tuple[str, int]) -> None:
    """Have one session after another until nobody listens there any more.

    Each is served before the next comes: the worker leaves once nobody waits, and in a flood somebody always does.
    """
    while True:
        try:
            with socket.create_connection(address, timeout=LIMIT_S) as client:
                assert is_served(client)
        except ConnectionRefusedError:
            return
        except ConnectionError:  # it waited while the last copy was closed
            continue


def test_the_limit_counts_sessions_of_before_too(tmp_path: Path) -> None:
    limits = Limits(sessions=3)
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint), limits=limits) as worker:
        pairs = [begin(worker, origin) for _ in range(3)]
        worker.follow(forward(origin.endpoint), limits=Limits(sessions=2))
        assert worker.row[Cell.SESSIONS_LIMIT] == 2
        waiting = worker.connect()
        waiting.sendall(b"?")
        worker.wait_for_row(Cell.ACCEPT_PAUSED, 1)
        for pair in pairs[:2]:  # with the second one there is room
            worker.wait_for_row(Cell.ACCEPT_PAUSED, 1)
            finish(*pair)
        accepted = origin.accept()
        assert read_exactly(accepted, 1) == b"?"
        worker.wait_for_row(Cell.SESSIONS, 2)
        for pair in (pairs[2], (waiting, accepted)):
            finish(*pair)
        worker.wait_for_row(Cell.ACCEPT_PAUSED, 0)


def test_a_limit_per_source_comes_changes_and_goes(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint)) as worker:
        free = begin(worker, origin)
        worker.follow(forward(origin.endpoint), limits=Limits(sessions_per_source=1))
        counted = begin(worker, origin)
        with pytest.raises(ConnectionResetError):
            worker.connect().recv(1)
        worker.follow(forward(origin.endpoint), limits=Limits(sessions_per_source=2))
        second = begin(worker, origin)
        with pytest.raises(ConnectionResetError):
            worker.connect().recv(1)
        finish(*counted)
        worker.wait_for_row(Cell.SESSIONS, 2)
        third = begin(worker, origin)
        worker.follow(forward(origin.endpoint), limits=Limits())
        pairs = [free, second, third, begin(worker, origin)]
        assert worker.row[Cell.SOURCE_REFUSED] == 2
        for pair in pairs:
            finish(*pair)


def test_what_is_kept_ready_is_what_the_new_settings_want(tmp_path: Path) -> None:
    with (
        Origin() as first,
        Origin() as second,
        forked_worker(tmp_path, forward(first.endpoint, preconnect=1)) as worker,
    ):
        before = first.accept()
        worker.follow(forward(second.endpoint, preconnect=1))
        assert read_all(before) == (b"", "end")
        after = second.accept()
        worker.wait_for_row(Cell.PRECONNECT_IDLE, 1)
        client = worker.connect()
        client.sendall(b"x")
        assert read_exactly(after, 1) == b"x"


def test_a_configuration_that_cannot_be_ends_the_worker(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint)) as worker:
        worker.order(Order.CONFIGURE)
        assert worker.end() != 0
        assert "ProtocolError: expected 1 + 0 + 0 descriptors with CONFIGURE; found 0" in worker.rest()


def test_a_drain_takes_all_that_had_come_and_ends_with_the_last(tmp_path: Path) -> None:
    with Echo() as echo, forked_worker(tmp_path, forward(echo.endpoint)) as worker:
        worker.follow(forward(echo.endpoint))
        with stopped(worker):
            clients = [worker.connect() for _ in range(MANY)]
            worker.order(Order.DRAIN, limit_s=60.0, linger_s=LINGER_S)
        clients.append(worker.connect())  # within the lingering
        assert all(map(is_served, clients))
        for client in clients:
            client.close()
        assert worker.report() is Report.DRAINED
        assert worker.end() == 0
        assert worker.row[Cell.SESSIONS_TOTAL] == MANY + 1


def test_what_waits_in_a_socket_that_lives_on_elsewhere_is_left_there(tmp_path: Path) -> None:
    with Echo() as echo, forked_worker(tmp_path, forward(echo.endpoint), held=True) as worker:
        waiting = worker.connect()
        worker.order(Order.DRAIN, limit_s=60.0, linger_s=LINGER_S)
        assert worker.end() == 0
        accepted, _ = worker.sockets[0].accept()
        with accepted:
            accepted.sendall(b"x")
            assert read_exactly(waiting, 1) == b"x"


def test_one_that_is_held_accepts_once_it_may(tmp_path: Path) -> None:
    with Echo() as echo, forked_worker(tmp_path, forward(echo.endpoint), held=True) as worker:
        client = worker.connect()
        worker.follow(forward(echo.endpoint))
        assert (worker.row[Cell.SESSIONS_TOTAL], worker.row[Cell.STATE]) == (0, ChildState.ABSENT)
        worker.order(Order.BEGIN)
        assert worker.report() is Report.READY
        assert is_served(client)
        before = descriptors_of(worker)
        for _ in range(10):
            worker.follow(forward(echo.endpoint))
            assert is_served(client)
        assert descriptors_of(worker) <= before


@pytest.mark.parametrize(
    ("sessions", "workers", "descriptors", "limit"),
    [(100, 2, 10_000, 50), (101, 2, 10_000, 51), (100, 1, 292, 50), (100, 1, 10, 1)],
)
def test_room_is_a_share_of_the_limit_as_far_as_descriptors_go(
    sessions: int, workers: int, descriptors: int, limit: int
) -> None:
    listens: tuple[Listen, ...] = ()
    settings = WorkerSettings(listens=listens, workers=workers, shard_seed=1, limits=Limits(sessions=sessions))
    assert sessions_limit(settings, descriptors=descriptors) == limit


def test_connections_that_are_kept_ready_have_descriptors_of_their_own() -> None:
    kept = (Preconnected(Endpoint("192.0.2.1", 443), 100),)
    settings = WorkerSettings(listens=(), workers=2, shard_seed=1, limits=Limits(sessions=20_000), preconnect=kept)
    alone = sessions_limit(replace(settings, preconnect=()), descriptors=1000)
    assert sessions_limit(settings, descriptors=1000) == alone - 25

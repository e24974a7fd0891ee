"""A worker that accepts, stops where it must, and goes on where it can."""

import errno
import os
import re
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from pools.net import sockopts
from pools.net.orders import Order
from pools.net.scoreboard import Cell
from tests.far_end import FarEnd
from tests.floor import Floor, reset, rest_of, settle, turn_until
from tests.workers.forked_worker import Origin, forked_worker, forward, read_all, read_exactly
from tests.workers.gate import Gate, key_file
from tests.workers.world import World
from workers.acceptor import Acceptor
from workers.settings import Limits, Mode


class Yard:
    """An acceptor in the test's own process, with room for one session, and a listener for peers after the other."""

    def __init__(self, floor: Floor, folder: Path, *, with_overlay: bool = True) -> None:
        self.floor = floor
        self.world = World(floor)
        self.gate = Gate(floor, key_file(folder))
        self.clients: list[socket.socket] = []
        sessions = self.world.sessions
        sessions.listens += (replace(sessions.listens[0], name="overlay", mode=Mode.OVERLAY, to=None),)
        self.listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.addresses = [listener.getsockname() for listener in self.listeners]
        for listener in self.listeners:
            listener.setblocking(False)
            sockopts.linger_reset(listener)
        self.acceptor = Acceptor(
            self.listeners,
            sessions=sessions,
            tally=self.world.tally,
            readiness=floor.readiness,
            room=1,
            row=self.world.row,
            overlay=self.gate.overlay if with_overlay else None,
        )
        self.acceptor.start()

    def connect(self, index: int) -> socket.socket:
        """Connect to one of the listeners."""
        client = socket.create_connection(self.addresses[index])
        client.setblocking(False)
        self.clients.append(client)
        self.floor.keep(client)
        return client

    def peer_comes_in(self) -> None:
        before = len(self.gate.overlay)
        assert FarEnd(self.connect(1)).introduce() == "mumbai"
        turn_until(lambda: len(self.gate.overlay) == before + 1)

    def fill(self) -> socket.socket:
        """Take the one place for a session, and let another client knock."""
        client = self.connect(0)
        turn_until(lambda: self.world.sessions.live == 1)
        self.connect(0)
        turn_until(lambda: self.world.row[Cell.ACCEPT_PAUSED])
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.acceptor.close()
        self.world.close()
        self.gate.close()


@contextmanager
def held_descriptors(count: int) -> Iterator[None]:
    """Hold descriptors that a fork inherits."""
    held = [os.dup(0) for _ in range(count)]
    try:
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)


def said(accepted: socket.socket) -> bytes:
    """Give a client's words; nothing of one that left, perhaps while its leg was dialled."""
    with suppress(ConnectionResetError):
        return accepted.recv(13)
    return b""


def test_connections_above_the_limit_wait_in_the_queue_until_a_session_ends(tmp_path: Path) -> None:
    limits = Limits(sessions=2)
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint), limits=limits) as worker:
        clients = [worker.connect() for _ in range(2)]
        accepted = [origin.accept() for _ in range(2)]
        for client, other in zip(
            clients, accepted, strict=True
        ):  # the kernel connects a leg before the worker hears of it
            client.sendall(b"?")
            assert read_exactly(other, 1) == b"?"
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
        while said(accepted) != b"are you well?":  # those before it were of clients that left
            accepted.close()
            accepted = origin.accept()
        worker.order(Order.STOP)
        assert worker.end() == 0
        assert worker.row[Cell.ACCEPT_PAUSES] >= 1
        assert not re.search("accepts nothing", worker.rest())


def test_a_session_to_come_is_taken_while_there_is_room_for_it_and_accepting_goes_on(tmp_path: Path) -> None:
    with Floor() as floor, Yard(floor, tmp_path) as yard:
        assert [yard.acceptor.takes(0, besides) for besides in (0, 1)] == [True, False]
        client = yard.fill()
        assert not yard.acceptor.takes(0, 0)
        reset(client)
        turn_until(lambda: yard.acceptor._stops.keys() == {0, 1})


def test_a_peer_comes_in_at_its_listener_and_begins_no_session(tmp_path: Path) -> None:
    with Floor() as floor, Yard(floor, tmp_path) as yard:
        yard.peer_comes_in()
        assert yard.world.sessions.live == 0


def test_peers_come_in_also_while_there_is_no_room_for_sessions(tmp_path: Path) -> None:
    with Floor() as floor, Yard(floor, tmp_path) as yard:
        client = yard.fill()
        yard.peer_comes_in()
        assert (yard.world.sessions.live, yard.world.row[Cell.ACCEPT_PAUSED]) == (1, 1)
        reset(client)
        turn_until(lambda: yard.world.tally_of(0).total == 2)
        yard.peer_comes_in()


def test_without_descriptors_peers_wait_too_and_come_in_before_there_is_room_for_sessions(tmp_path: Path) -> None:
    with Floor() as floor, Yard(floor, tmp_path) as yard:
        yard.fill()
        floor.in_hub(lambda: yard.world.sessions.on_exhausted(errno.EMFILE))
        waiting = yard.connect(1)
        settle()
        assert len(yard.gate.door) == 0
        assert FarEnd(waiting).introduce() == "mumbai"  # once it has rested
        assert (yard.world.sessions.live, yard.world.row[Cell.ACCEPT_PAUSED]) == (1, 1)


def test_where_no_overlay_is_a_peer_s_connection_is_closed(tmp_path: Path) -> None:
    with Floor() as floor, Yard(floor, tmp_path, with_overlay=False) as yard:
        assert rest_of(yard.connect(1))[0] == b""


def test_one_that_retires_takes_who_waits_as_room_comes_and_closes_behind_the_last(tmp_path: Path) -> None:
    with Floor() as floor, Yard(floor, tmp_path) as yard:
        yard.fill()
        yard.connect(0)
        yard.acceptor.retire(linger_s=0.01)
        turn_until(lambda: 1 not in yard.acceptor._sockets)  # nobody waits there
        first, second, _third = yard.clients
        reset(first)
        turn_until(lambda: yard.world.tally_of(0).total == 2)
        assert not yard.acceptor.is_closed
        reset(second)
        turn_until(lambda: yard.world.tally_of(0).total == 3)
        turn_until(lambda: yard.acceptor.is_closed)
        assert yard.world.row[Cell.ACCEPT_PAUSED] == 1  # of its successor it knows nothing


def test_one_that_retires_goes_on_accepting_for_a_while(tmp_path: Path) -> None:
    with Floor() as floor, Yard(floor, tmp_path) as yard:
        yard.acceptor.retire(linger_s=60.0)
        yard.peer_comes_in()
        client = yard.connect(0)
        turn_until(lambda: yard.world.sessions.live == 1)
        assert not yard.acceptor.is_closed
        reset(client)


def test_what_lives_on_elsewhere_is_left_at_once_with_who_waits(tmp_path: Path) -> None:
    with Floor() as floor, Yard(floor, tmp_path) as yard, yard.listeners[0].dup() as elsewhere:
        yard.fill()  # and one more waits
        yard.acceptor.retire(linger_s=60.0, elsewhere=[0])
        yard.peer_comes_in()
        yard.acceptor.retire(linger_s=0.0)
        assert yard.acceptor.is_closed
        yard.acceptor.close()  # harmless
        floor.keep(elsewhere.accept()[0])
        assert yard.world.sessions.live == 1


def test_one_that_retires_without_room_is_over_once_its_listener_was_ended_elsewhere(tmp_path: Path) -> None:
    with Floor() as floor, Yard(floor, tmp_path) as yard, yard.listeners[0].dup() as elsewhere:
        yard.fill()  # and one more waits
        yard.acceptor.retire(linger_s=0.01)
        turn_until(lambda: 1 not in yard.acceptor._sockets)
        elsewhere.shutdown(socket.SHUT_RD)
        turn_until(lambda: yard.acceptor.is_closed)

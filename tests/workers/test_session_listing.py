"""The list that an operator reads while sessions go on."""

import socket

import gevent

from tests.floor import LIMIT_S, Floor, rest_of, settle, turn_until
from tests.workers.world import World
from workers.operator_wire import FrameReader, SessionRow
from workers.session_listing import send_listing


def listed(data: bytes) -> list[SessionRow]:
    return [SessionRow.decode(row) for frame in FrameReader().feed(data) for row in frame]


def test_each_live_session_has_a_row_and_the_stream_is_closed() -> None:
    with Floor() as floor:
        world = World(floor)
        clients = [world.connected()[0] for _ in range(3)]
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        floor.keep(ours)
        gevent.spawn(send_listing, theirs.detach(), list(world.sessions), readiness=floor.readiness)
        data, how = rest_of(ours)
        assert how == "end"
        assert {row.client for row in listed(data)} == {"{}:{}".format(*client.getsockname()) for client in clients}
        world.close()


def test_a_session_that_ended_meanwhile_is_left_out() -> None:
    with Floor() as floor:
        world = World(floor)
        client, origin, session = world.connected()
        listing = list(world.sessions)
        client.shutdown(socket.SHUT_WR)
        origin.shutdown(socket.SHUT_WR)
        turn_until(lambda: not session.lives)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        floor.keep(ours)
        gevent.spawn(send_listing, theirs.detach(), listing, readiness=floor.readiness)
        assert listed(rest_of(ours)[0]) == []
        world.close()


def test_a_session_whose_reset_waits_is_no_longer_listed() -> None:
    with Floor() as floor:
        world = World(floor)
        client, origin, session = world.connected()
        while True:  # fill both buffers towards the client
            try:
                session.inbound.socket.send(b"x" * 65_536)
            except BlockingIOError:
                break
        origin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        origin.close()
        turn_until(lambda: len(floor.resets) == 1)
        assert session.inbound.fd >= 0
        assert not session.lives
        client.close()
        turn_until(lambda: len(floor.resets) == 0)
        world.close()


def test_an_operator_who_leaves_ends_the_list() -> None:
    with Floor() as floor:
        world = World(floor)
        world.connected()
        ours, theirs = socket.socketpair()
        ours.close()
        writing = gevent.spawn(send_listing, theirs.detach(), list(world.sessions), readiness=floor.readiness)
        writing.join(LIMIT_S)
        assert writing.successful()
        settle()
        world.close()

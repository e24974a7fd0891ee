"""Sessions whose connection to the destination was begun at the client's SYN."""

import socket

import pytest

from pools.net.endpoint import Endpoint
from tests.floor import receive, refusing_address, rest_of, send_all, settle, turn_until
from tests.workers.crossroads import Far
from tests.workers.early_world import EarlyWorld, early_world
from workers.settings import ProxyHeader

EARLY = b"hello"
HERE = ((),)
ADDRESSES: list[object] = []


def finish(world: EarlyWorld, client: socket.socket, far: Far) -> None:
    client.shutdown(socket.SHUT_WR)
    far.hear_fin()
    far.fin()
    assert rest_of(client) == (b"", "end")
    world.lets_go()


def ends(world: EarlyWorld) -> list[list[str]]:
    """Give end and errno of each session that was logged."""
    return [line[7:9] for line in world.logged()]


def test_from_here_the_destination_is_connected_before_the_client_is_there() -> None:
    with early_world(paths=HERE) as world:
        client = world.announced()
        accepted = world.accept()
        accepted.sendall(b"220 welcome")
        settle()
        assert world.sessions.live == 0
        world.let_in(client)
        assert receive(client, 11) == b"220 welcome"
        send_all(client, EARLY)
        assert receive(accepted, len(EARLY)) == EARLY
        client.shutdown(socket.SHUT_WR)
        assert rest_of(accepted) == (b"", "end")
        accepted.close()
        assert rest_of(client) == (b"", "end")
        world.lets_go()
        assert world.floor.greenlets.made == 0
        assert world.early_counts == {"started": 1, "joined": 1}


def test_from_here_a_client_that_is_quicker_than_the_connection_waits_for_it() -> None:
    with early_world(paths=HERE) as world:
        client = world.newcomer()
        world.capture.unread.append(world.syn_of(client))
        world.let_in(client)  # which makes the SYN be seen
        send_all(client, EARLY)
        assert receive(world.accept(), len(EARLY)) == EARLY
        assert world.early_counts == {"started": 1, "joined": 1}


def test_from_here_a_destination_that_refuses_is_told_at_once() -> None:
    with refusing_address() as address, early_world(paths=HERE) as world:
        world.lead_to(Endpoint(*address))
        client = world.announced()
        settle()
        world.let_in(client)
        assert rest_of(client) == (b"", "reset")
        world.lets_go()
        assert ends(world) == [["SC", "ECONNREFUSED"]]


def test_from_here_words_for_the_destination_go_first() -> None:
    with early_world(paths=HERE, send_proxy=ProxyHeader.V1) as world:
        client = world.announced()
        accepted = world.accept()
        world.let_in(client)
        send_all(client, EARLY)
        host, port = client.getsockname()
        local = client.getpeername()
        header = f"PROXY TCP4 {host} {local[0]} {port} {local[1]}\r\n".encode()
        assert receive(accepted, len(header) + len(EARLY)) == header + EARLY


def test_from_here_nothing_is_begun_in_the_name_of_a_client_that_has_proved_no_address() -> None:
    with early_world(paths=HERE, preserve_source=True) as world:
        world.announced()
        assert (world.early_counts, len(world.early)) == ({}, 0)


def test_from_here_or_else_by_a_gateway() -> None:
    with refusing_address() as address, early_world(paths=((), ("mumbai",))) as world:
        world.lead_to(Endpoint(*address))
        client = world.announced()
        settle()
        far = world.legs.ready()
        world.let_in(client)
        far.opened()
        far.grant()
        finish(world, client, far)
        assert world.early_counts == {"started": 1, "joined": 1}


def test_a_name_that_is_not_known_is_asked_for_so_that_the_next_client_has_a_start() -> None:
    with early_world(paths=HERE, lookup=lambda *_: ADDRESSES) as world:
        ADDRESSES[:] = socket.getaddrinfo(world.target.host, world.target.port, type=socket.SOCK_STREAM)
        world.lead_to(Endpoint("orders.example", world.target.port))
        world.announced()
        turn_until(lambda: world.sessions.egress.only_address(Endpoint("orders.example", world.target.port)))
        assert world.early_counts == {"started": 1, "failed": 1}
        world.announced()
        world.accept()
        assert world.early_counts == {"started": 2, "failed": 1}


def test_nothing_is_begun_where_a_connection_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    with early_world(paths=HERE) as world:
        monkeypatch.setattr("workers.egress.Egress.is_ready", lambda *_, **__: True)
        world.announced()
        assert world.early_counts == {}

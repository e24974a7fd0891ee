"""Sessions that find a connection ready, and who may have which."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from pools.egress_rules import EgressRules
from pools.frame_bodies import Opened
from pools.net.endpoint import Endpoint
from pools.net.scoreboard import Cell
from tests.floor import receive, rest_of, send_all, turn_until
from tests.workers.crossroads import Crossroads, crossroads
from tests.workers.world import ANY
from workers.preconnect import Preconnect, ready_for, shares
from workers.settings import Listen, Mode, Preconnected, ProxyHeader, WorkerSettings

HERE = ((),)
OR_HERE = (("mumbai",), ())
EARLY = b"hello"
TO = Endpoint("db.example", 5432)


@contextmanager
def ready(
    *, clients: int = 0, peers: int = 0, paths: Any = HERE, **listen: Any
) -> Iterator[tuple[Crossroads, Preconnect]]:
    """Have so many connections to the origin ready; they were not accepted there yet."""
    with crossroads(paths=paths) as world:
        ours, overlay = world.sessions.listens
        ours = replace(ours, preconnect=clients, **listen)
        world.sessions.listens = (ours, overlay)
        settings = WorkerSettings(
            world.sessions.listens,
            1,
            1,
            egress=world.sessions.rules,
            preconnect=(Preconnected(world.target, peers),) if peers else (),
        )
        egress, readiness = world.sessions.egress, world.floor.readiness
        preconnect = Preconnect(settings, egress=egress, readiness=readiness, row=world.row)
        world.floor.in_hub(preconnect.start)
        turn_until(lambda: world.row[Cell.PRECONNECT_DIALLED] == clients + peers)
        yield world, preconnect
        world.floor.in_hub(preconnect.close)


def counts(world: Crossroads) -> tuple[int, int]:
    return world.row[Cell.PRECONNECT_HITS], world.row[Cell.PRECONNECT_MISSES]


def serve(world: Crossroads, client: socket.socket, origin: socket.socket) -> None:
    """Answer what the client said, and end the session."""
    assert receive(origin, len(EARLY)) == EARLY
    send_all(origin, b"answer")
    origin.shutdown(socket.SHUT_WR)
    client.shutdown(socket.SHUT_WR)
    assert rest_of(client) == (b"answer", "end")
    world.lets_go()


def test_a_session_needs_no_greenlet_and_does_not_wait() -> None:
    with ready(clients=1) as (world, _):
        origin = world.accept()  # before there is a client
        client = world.begin()
        send_all(client, EARLY)
        serve(world, client, origin)
        assert counts(world) == (1, 0)
        (line,) = world.logged()
        assert line[7] == "--"
        turn_until(lambda: world.row[Cell.PRECONNECT_DIALLED] == 2)


def test_what_the_destination_said_first_reaches_the_client() -> None:
    with ready(clients=1) as (world, _):
        origin = world.accept()
        send_all(origin, b"220 ready\r\n")
        client = world.begin()
        assert receive(client, 11) == b"220 ready\r\n"
        send_all(client, EARLY)
        serve(world, client, origin)


def test_the_proxy_header_is_said_when_one_is_taken() -> None:
    with ready(clients=1, send_proxy=ProxyHeader.V1) as (world, _):
        origin = world.accept()
        client = world.begin()
        header = b"PROXY TCP4 127.0.0.1 127.0.0.1 "
        assert receive(origin, len(header)) == header
        assert b"\r\n" in origin.recv(100)
        send_all(client, EARLY)
        serve(world, client, origin)
        assert counts(world) == (1, 0)


def test_a_path_that_fails_leaves_it_to_what_is_ready_here() -> None:
    with ready(clients=1, paths=OR_HERE) as (world, _):
        origin = world.accept()
        client = world.begin()
        send_all(client, EARLY)
        serve(world, client, origin)
        assert counts(world) == (1, 0)


def test_with_none_left_a_session_dials() -> None:
    with ready(clients=1) as (world, _):
        clients = [world.begin() for _ in range(3)]
        for client in clients:
            send_all(client, EARLY)
        turn_until(lambda: world.sessions.relayed == 3)
        hits, misses = counts(world)
        assert (hits + misses, hits >= 1) == (3, True)
        world.floor.in_hub(world.sessions.kill_all)


def test_a_session_that_must_come_from_its_clients_address_takes_none() -> None:
    with ready(clients=1) as (world, _):
        client = world.begin()
        turn_until(lambda: world.sessions.live == 1)
        session = world.session
        session.listen = replace(session.listen, preserve_source=True)
        assert ready_for(session, world.target) is None
        client.close()
        world.floor.in_hub(world.sessions.kill_all)


def test_a_peers_session_finds_what_is_kept_for_peers() -> None:
    with ready(peers=1) as (world, _):
        origin = world.accept()
        far = world.ask(then=EARLY)
        assert isinstance(far.hear_body(), Opened)
        assert receive(origin, len(EARLY)) == EARLY
        origin.shutdown(socket.SHUT_WR)
        far.hear_fin()
        far.fin()
        world.lets_go()
        assert counts(world) == (1, 0)
        assert world.counts == {"OPENS": 1}


def test_a_peer_does_not_get_what_is_kept_for_clients() -> None:
    with ready(clients=1) as (world, _):
        assert world.sessions.egress.ready(world.target, for_peer=True) is None
        assert counts(world) == (0, 0)


def test_only_addresses_that_peers_may_open_are_kept_for_them() -> None:
    with crossroads() as world:
        settings = WorkerSettings(
            (), 1, 1, egress=EgressRules.parse(["*.example:*"]), preconnect=(Preconnected(world.target, 1),)
        )
        egress, readiness = world.sessions.egress, world.floor.readiness
        preconnect = Preconnect(settings, egress=egress, readiness=readiness, row=world.row)
        world.floor.in_hub(preconnect.start)
        turn_until(lambda: world.row[Cell.PRECONNECT_FAILED] == 1)
        world.floor.in_hub(preconnect.close)


def test_whether_there_is_one_is_told_without_taking_it() -> None:
    with ready(clients=1) as (world, preconnect):
        egress = world.sessions.egress
        assert egress.is_ready(world.target, for_peer=False)
        assert not egress.is_ready(world.target, for_peer=True)
        world.floor.in_hub(preconnect.close)
        assert not egress.is_ready(world.target, for_peer=False)
        assert counts(world) == (0, 0)


def test_the_scoreboard_shows_how_many_there_are() -> None:
    with ready(clients=2) as (world, preconnect):
        turn_until(lambda: world.row[Cell.PRECONNECT_IDLE] == 2)
        world.floor.in_hub(preconnect.close)
        assert world.row[Cell.PRECONNECT_IDLE] == 0
        client = world.begin()
        send_all(client, EARLY)
        turn_until(lambda: world.sessions.relayed == 1)  # a worker that drains dials as ever
        assert counts(world) == (0, 0)
        world.floor.in_hub(world.sessions.kill_all)


@pytest.mark.parametrize(("workers", "share"), [(1, 15), (2, 8), (4, 4), (16, 1)])
def test_each_worker_has_the_same_share_and_what_listeners_want_adds_up(workers: int, share: int) -> None:
    web = Listen("web", ANY, Mode.FORWARD, TO, preconnect=10)
    settings = WorkerSettings(
        (web, replace(web, preconnect=5), replace(web, to=None, preconnect=5), replace(web, preconnect=0)),
        workers,
        1,
        preconnect=(Preconnected(TO, 1),),
    )
    assert shares(settings) == {(TO, False): share, (TO, True): 1}

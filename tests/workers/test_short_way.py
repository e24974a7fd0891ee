"""The short way: who may take it, and how a session ends on it."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from pools.frame_bodies import Opened, Refused, Reset, Where
from pools.leg import PoolLeg
from pools.net.endpoint import Endpoint
from pools.net.errors import Phase
from pools.net.scoreboard import Cell
from tests.floor import receive, refusing_address, reset, rest_of, send_all, silent_address, turn_until
from tests.workers.crossroads import ASKER, Crossroads, crossroads, reset_of
from workers.session import Session

EARLY = b"hello"
HERE = ((),)


def took_it(world: Crossroads) -> bool:
    """Tell whether the only session is being set up without a greenlet."""
    return world.floor.at_work == 0 and world.session.phase is Phase.CONNECT


def ends(world: Crossroads) -> list[list[str]]:
    return [line[7:9] for line in world.logged()]


def know(world: Crossroads, to: Endpoint) -> None:
    """Have the resolver know an address: the first session that goes there takes the long way."""
    world.sessions.egress.resolve(to)


def test_a_forward_to_an_address_needs_no_greenlet() -> None:
    with silent_address() as address, crossroads(paths=HERE) as world:
        listen = replace(world.sessions.listens[0], to=Endpoint(*address))
        world.sessions.listens = (listen, *world.sessions.listens[1:])
        know(world, Endpoint(*address))
        world.begin()
        assert took_it(world)


def test_what_a_client_says_meanwhile_and_its_end_arrive() -> None:
    with crossroads(paths=HERE) as world:
        know(world, world.target)
        client = world.begin()
        send_all(client, EARLY)
        client.shutdown(socket.SHUT_WR)
        assert rest_of(world.accept()) == (EARLY, "end")
        assert world.floor.greenlets.made == 0


def test_a_listener_with_a_path_takes_the_long_way() -> None:
    with crossroads() as world:
        world.legs.dial_hangs()
        world.begin()
        assert world.floor.at_work == 1


def test_a_peers_session_to_an_address_needs_no_greenlet() -> None:
    with crossroads() as world:
        know(world, world.target)
        far = world.ask(then=EARLY)
        origin = world.accept()
        opened = far.hear_body()
        assert isinstance(opened, Opened)
        assert opened.gateway == "oregon"
        assert receive(origin, len(EARLY)) == EARLY
        assert world.floor.greenlets.made == 0
        send_all(origin, b"answer")
        assert far.hear_data(6) == b"answer"
        origin.shutdown(socket.SHUT_WR)
        far.hear_fin()
        far.fin()
        world.lets_go()
        assert (len(world.asking.idle), ends(world)) == (1, [["--", "-"]])
        assert world.counts == {"OPENS": 1}


def test_a_peer_with_an_address_that_it_may_not_open_hears_so() -> None:
    with crossroads(allow=("192.0.2.0/24:*",)) as world:
        know(world, world.target)
        refused = world.ask().hear_body()
        assert isinstance(refused, Refused)
        assert (refused.errno, refused.where) == (errno.EACCES, Where.POLICY)
        assert world.counts == {"OPENS": 1, "OPENS_REFUSED": 1}
        with pytest.raises(BlockingIOError):
            world.origin.accept()


def test_a_destination_that_refuses_is_the_peers_to_hear_and_the_leg_serves_again() -> None:
    with refusing_address() as address, crossroads(allow=("127.0.0.1:*",)) as world:
        know(world, Endpoint(*address))
        far = world.ask(to=Endpoint(*address), then=EARLY)
        refused = far.hear_body()
        assert isinstance(refused, Refused)
        assert (refused.gateway, refused.errno, refused.where) == ("oregon", errno.ECONNREFUSED, Where.CONNECT)
        far.fin()
        world.ask_again(far, then=EARLY)
        assert isinstance(far.hear_body(), Opened)
        assert receive(world.accept(), len(EARLY)) == EARLY
        assert world.counts == {"OPENS": 2}
        assert world.row[Cell.CONNECT_REFUSED] == 1


@contextmanager
def dialling(**more: Any) -> Iterator[tuple[Crossroads, Any, Session]]:
    """Have a peer ask for a destination that does not answer."""
    with silent_address() as address, crossroads(allow=("127.0.0.1:*",), **more) as world:
        know(world, Endpoint(*address))
        far = world.ask(to=Endpoint(*address), then=EARLY)
        turn_until(lambda: world.sessions.live)
        assert took_it(world)
        yield world, far, world.session


def test_a_destination_that_does_not_answer_in_time_is_refused_to_the_peer() -> None:
    with dialling(connect=0.5) as (world, far, _):
        world.watch()
        refused = far.hear_body()
        assert isinstance(refused, Refused)
        assert (refused.errno, refused.where) == (errno.ETIMEDOUT, Where.CONNECT)
        far.fin()
        world.lets_go()
        assert ends(world) == [["sC", "ETIMEDOUT"]]


def test_a_peer_whose_leg_breaks_ends_the_dial() -> None:
    with dialling(connect=600) as (world, far, _):
        reset(far.sock)
        world.lets_go()
        assert ends(world) == [["CC", "ECONNRESET"]]
        assert world.asking.legs == set()


def test_a_killed_dial_is_a_reset_to_the_peer() -> None:
    with dialling(connect=600) as (world, far, _):
        world.floor.in_hub(world.sessions.kill_all)
        assert reset_of(far.rest()) == errno.ECONNABORTED
        assert ends(world) == [["KC", "-"]]


def test_a_reset_said_while_dialling_ends_the_session_with_the_dial_at_the_latest() -> None:
    with crossroads() as world:
        know(world, world.target)
        far = world.ask()
        far.tell(Reset(errno.ECONNRESET))
        origin = world.accept()
        assert rest_of(origin) == (b"", "reset")
        far.rest()
        world.lets_go()
        assert len(ends(world)) == 1


def test_the_session_is_known_by_who_asked() -> None:
    with crossroads() as world:
        far = world.ask()
        far.hear_body()
        assert isinstance(world.session.inbound, PoolLeg)
        assert (world.session.inbound.peer, world.session.client) == (ASKER, ("198.51.100.1", 5000))

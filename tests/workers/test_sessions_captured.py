"""Sessions whose destination the kernel knows, and sessions that go out as their client.

Without a firewall: what the origin accepts is given to the sessions as if it had been captured on its way there.
"""

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from pools.frame_bodies import Opened, Refused, Where, encode
from pools.net.endpoint import Endpoint
from pools.net.scoreboard import Cell
from pools.net.sockopts import linger_reset
from tests.far_end import OPEN
from tests.floor import receive, rest_of, send_all
from tests.workers.crossroads import Crossroads, crossroads
from workers.settings import Listen, Mode, ProxyHeader

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: takes addresses of others")
HERE = ((),)
EARLY = b"hello"
ELSEWHERE = Endpoint("0.0.0.0", 1)


@contextmanager
def capturing(*, bind: Endpoint = ELSEWHERE, mode: Mode = Mode.TPROXY, **more: Any) -> Iterator[Crossroads]:
    """Give a world whose listener captures; `more` is of that listener."""
    paths = more.pop("paths", HERE)
    with crossroads(paths=paths) as world:
        listen = replace(world.sessions.listens[0], mode=mode, bind=bind, to=None, **more)
        use(world, listen)
        yield world


def use(world: Crossroads, listen: Listen, **overlay: Any) -> None:
    world.sessions.listens = (listen, replace(world.sessions.listens[1], **overlay))


def captured(world: Crossroads, *, client: tuple[str, int] | None = None) -> socket.socket:
    """Let a client connect to the origin, and have this gateway get the connection; `client` is who it says it is."""
    dialled = socket.create_connection((world.target.host, world.target.port))
    dialled.setblocking(False)
    world.floor.keep(dialled)
    accepted = world.accept()
    linger_reset(accepted)
    inbound = world.floor.readiness.open(accepted)
    come = client or dialled.getsockname()
    world.floor.in_hub(lambda: world.sessions.begin(inbound, client=come, listen_index=0))
    return dialled


def test_a_captured_connection_goes_on_to_where_it_went_without_a_greenlet() -> None:
    with capturing() as world:
        client = captured(world)
        send_all(client, EARLY)
        origin = world.accept()
        assert receive(origin, len(EARLY)) == EARLY
        assert world.floor.greenlets.made == 0
        assert world.session.destination == world.target


def test_a_proxy_header_names_the_destination_that_the_client_knows() -> None:
    with capturing(send_proxy=ProxyHeader.V1) as world:
        client = captured(world)
        host, port = client.getsockname()
        line = f"PROXY TCP4 {host} {world.target.host} {port} {world.target.port}\r\n".encode()
        assert receive(world.accept(), len(line)) == line


def test_through_a_peer_the_destination_is_said_at_once() -> None:
    with capturing(paths=(("mumbai",),)) as world:
        far = world.legs.ready()
        client = captured(world)
        send_all(client, EARLY)
        assert far.opened().destination == world.target
        assert far.hear_data(len(EARLY)) == EARLY
        assert world.floor.greenlets.made == 0
        far.grant()
        far.say_data(b"answer")
        assert receive(client, 6) == b"answer"
        client.shutdown(socket.SHUT_WR)
        far.hear_fin()
        far.fin()
        assert rest_of(client) == (b"", "end")
        world.lets_go()


@pytest.mark.parametrize("mode", [Mode.TPROXY, Mode.REDIRECT])
@pytest.mark.parametrize("paths", [HERE, (("mumbai",),)])
def test_a_connection_made_straight_to_the_listener_is_reset(
    mode: Mode, paths: tuple[tuple[str, ...], ...], caplog: pytest.LogCaptureFixture
) -> None:
    with capturing(mode=mode, paths=paths) as world, caplog.at_level(logging.WARNING):
        far = world.legs.ready()
        use(world, replace(world.sessions.listens[0], bind=world.target))
        first, second = captured(world), captured(world)
        assert [rest_of(client) for client in (first, second)] == [(b"", "reset")] * 2
        assert [line[7:9] for line in world.logged()] == [["PR", "ELOOP"]] * 2
        assert world.row[Cell.NOT_CAPTURED] == 2
        (line,) = [each.getMessage() for each in caplog.records]
        assert line.startswith("listener orders: reset a connection of 127.0.0.1:")
        assert line.endswith(", made to it and not led here by the firewall (0 not shown)")
        assert far.is_quiet
        with pytest.raises(BlockingIOError):
            world.origin.accept()


@needs_root
@pytest.mark.parametrize("send_proxy", [ProxyHeader.OFF, ProxyHeader.V1], ids=["short way", "long way"])
def test_the_destination_sees_the_clients_address(send_proxy: ProxyHeader) -> None:
    with capturing(preserve_source=True, send_proxy=send_proxy) as world:
        captured(world, client=("127.0.0.9", 5000))
        assert world.accept().getpeername()[0] == "127.0.0.9"


@pytest.mark.parametrize("send_proxy", [ProxyHeader.OFF, ProxyHeader.V1], ids=["short way", "long way"])
def test_a_client_of_the_other_family_is_refused(send_proxy: ProxyHeader) -> None:
    with capturing(preserve_source=True, send_proxy=send_proxy) as world:
        client = captured(world, client=("2001:db8::9", 5000))
        assert rest_of(client) == (b"", "reset")
        assert [line[7:9] for line in world.logged()] == [["SC", "EAFNOSUPPORT"]]


@needs_root
def test_for_a_peer_the_client_is_whom_it_names() -> None:
    with crossroads() as world:
        use(world, world.sessions.listens[0], preserve_source=True)
        far = world.asking.leg()
        far.session += 1
        message = replace(OPEN, destination=world.target, client=Endpoint("127.0.0.9", 5000))
        far.send(encode(message, session=far.session))
        assert world.accept().getpeername()[0] == "127.0.0.9"
        assert isinstance(far.hear_body(), Opened)


def test_a_peer_hears_that_a_client_is_of_the_other_family() -> None:
    with crossroads() as world:
        use(world, world.sessions.listens[0], preserve_source=True)
        far = world.asking.leg()
        far.session += 1
        message = replace(OPEN, destination=world.target, client=Endpoint("2001:db8::9", 5000))
        far.send(encode(message, session=far.session))
        refused = far.hear_body()
        assert isinstance(refused, Refused)
        assert (refused.errno, refused.where) == (errno.EAFNOSUPPORT, Where.CONNECT)
        far.fin()

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from gateway.config import configuration
from gateway.sockets.activation import adopt
from gateway.sockets.holdings import Holdings
from gateway.sockets.inherited import number_of
from pools.net import sockopts
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from tests.bench.processes import free_ports
from tests.lonely_network import needs_root
from workers.settings import WorkerSettings

Open = Callable[..., socket.socket]

SOMEBODY = 65_534


@pytest.fixture
def listening() -> Iterator[Open]:
    """Open sockets as a service manager does from the lines of a .socket unit."""
    opened: list[socket.socket] = []

    def one(port: int, *, host: str = "127.0.0.1", reuse_port: bool = True, dual_stack: bool = False) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        opened.append(sock)
        if reuse_port:
            sockopts.reuse_port(sock)
        if ":" in host:
            sockopts.dual_stack(sock, dual_stack)
        sock.bind((host, port))
        sock.listen()
        sock.setblocking(False)
        return sock

    yield one
    for sock in opened:
        sock.close()


def settings_at(port: int, *, host: str = "127.0.0.1", workers: int = 2) -> WorkerSettings:
    settings = configuration.default()
    listen = replace(settings.listens[0], name="web", bind=Endpoint(host, port))
    return replace(settings, listens=(listen,)).for_workers(workers, 7)


def test_sockets_become_the_groups_of_their_listeners_and_the_admin_page(listening: Open) -> None:
    port, admin_port = free_ports(2)
    group = [listening(port), listening(port)]
    admin = listening(admin_port, reuse_port=False)
    passed = [("web", group[0]), ("admin", admin), ("web", group[1])]
    found = adopt(passed, settings_at(port), admin=Endpoint("127.0.0.1", admin_port))
    assert list(found.groups.values()) == [group]
    assert found.admin == {f"127.0.0.1:{admin_port}": admin}
    assert found.lent == {number_of(sock) for sock in (*group, admin)}


def test_workers_accept_from_them_and_their_manager_has_them_back_as_they_were(listening: Open) -> None:
    (port,) = free_ports(1)
    managers = [listening(port), listening(port)]
    passed = [("web", sock.dup()) for sock in managers]
    settings = settings_at(port)
    holdings = Holdings.open(settings, admin=None, inherited=adopt(passed, settings, admin=None))
    holdings.settle()
    assert [number_of(sock) for sock in holdings.groups[0]] == [number_of(sock) for sock in managers]
    holdings.deafen()
    holdings.take(holdings.prepare(replace(settings, workers=1), admin=None))
    holdings.take(holdings.prepare(replace(settings, listens=()), admin=None))
    holdings.finish()
    holdings.close()
    for _ in range(40):  # to either of them
        socket.create_connection(("127.0.0.1", port), timeout=30).close()


def test_a_listener_that_a_reload_takes_away_is_said_to_go_on_at_the_manager(
    listening: Open, caplog: pytest.LogCaptureFixture
) -> None:
    (port,) = free_ports(1)
    settings = settings_at(port, workers=1)
    inherited = adopt([("web", listening(port))], settings, admin=None)
    holdings = Holdings.open(settings, admin=None, inherited=inherited)
    holdings.take(holdings.prepare(replace(settings, listens=()), admin=None))
    holdings.finish()
    assert f"clients of 127.0.0.1:{port} wait for nobody" in caplog.text


def test_too_few_of_our_own_user_are_joined_by_more(listening: Open) -> None:
    (port,) = free_ports(1)
    settings = settings_at(port, workers=3)
    inherited = adopt([("web", listening(port))], settings, admin=None)
    holdings = Holdings.open(settings, admin=None, inherited=inherited)
    assert len(holdings.groups[0]) == 3
    holdings.close()


@needs_root
def test_too_few_of_another_user_are_refused(listening: Open) -> None:
    (port,) = free_ports(1)
    sock = listening(port)
    os.fchown(sock.fileno(), SOMEBODY, -1)
    with pytest.raises(
        StartError, match=r"expected 2, one for each worker; found 1, and user 0 cannot add to those of"
    ):
        adopt([("web", sock)], settings_at(port), admin=None)


def test_more_than_there_are_workers_are_refused(listening: Open) -> None:
    (port,) = free_ports(1)
    passed = [("web", listening(port)) for _ in range(3)]
    with pytest.raises(StartError, match=r"expected 2, one for each worker; found 3, and others would accept nobody"):
        adopt(passed, settings_at(port), admin=None)


def test_a_socket_that_nobody_can_share_is_refused(listening: Open) -> None:
    (port,) = free_ports(1)
    with pytest.raises(StartError, match=rf"127\.0\.0\.1:{port} \(web\): expected SO_REUSEPORT.*set ReusePort=yes"):
        adopt([("web", listening(port, reuse_port=False))], settings_at(port), admin=None)


def test_a_socket_of_another_kind_than_its_listener_wants_is_refused(listening: Open) -> None:
    (port,) = free_ports(1)
    expected = r"expected what listener 'web' wants: tcp; found tcp dual_stack; .* no dual_stack BindIPv6Only=ipv6-only"
    with pytest.raises(StartError, match=expected):
        adopt([("web", listening(port, host="::", dual_stack=True))], settings_at(port, host="::"), admin=None)


def test_a_socket_that_no_listener_wants_is_refused(listening: Open) -> None:
    port, other = free_ports(2)
    expected = rf"on 127\.0\.0\.1:{other} \(web\): expected the address of a listener \(127\.0\.0\.1:{port}\)"
    with pytest.raises(StartError, match=expected):
        adopt([("web", listening(other))], settings_at(port), admin=None)

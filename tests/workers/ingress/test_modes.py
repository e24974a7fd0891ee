"""Each mode's conversation, and the destinations that need none. Redirected connections: tests/scenarios."""

import socket
from collections.abc import Iterator

import pytest

from pools.net.endpoint import Endpoint
from workers.ingress.connect import Connect
from workers.ingress.conversation import NotCaptured
from workers.ingress.mixed import Mixed
from workers.ingress.modes import conversation_for, destination_given
from workers.ingress.socks5 import Socks5
from workers.settings import Listen, Mode

BIND = Endpoint("127.0.0.1", 1080)


@pytest.mark.parametrize(("mode", "kind"), [(Mode.SOCKS5, Socks5), (Mode.CONNECT, Connect), (Mode.MIXED, Mixed)])
def test_a_mode_has_its_conversation(mode: Mode, kind: type) -> None:
    listen = Listen("proxy", BIND, mode)
    assert type(conversation_for(listen)) is kind
    assert conversation_for(listen) is not conversation_for(listen)


def test_the_users_of_the_listener_are_asked_for() -> None:
    conversation = conversation_for(Listen("proxy", BIND, Mode.SOCKS5, users={"alice": "open sesame"}))
    assert conversation is not None
    assert conversation.receive(b"\x05\x01\x02") == b"\x05\x02"


@pytest.mark.parametrize("mode", [Mode.FORWARD, Mode.REDIRECT, Mode.TPROXY])
def test_where_no_client_is_asked_there_is_none(mode: Mode) -> None:
    assert conversation_for(Listen("orders", BIND, mode)) is None


@pytest.fixture(params=["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def accepted(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A connection to each kind of listener; the last is an IPv4 one to an IPv6 socket."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    dual_stack = family == socket.AF_INET6
    with (
        socket.create_server(("::" if dual_stack else "", 0), family=family, dualstack_ipv6=dual_stack) as listener,
        socket.create_connection((request.param, listener.getsockname()[1])),
        listener.accept()[0] as sock,
    ):
        yield sock


def local(sock: socket.socket) -> Endpoint:
    host, port, *_ = sock.getsockname()
    return Endpoint(host.removeprefix("::ffff:"), port)


def test_a_forwards_destination_is_in_the_configuration(accepted: socket.socket) -> None:
    to = Endpoint("a.example", 443)
    assert destination_given(Listen("orders", BIND, Mode.FORWARD, to), accepted) == to
    assert destination_given(Listen("proxy", BIND, Mode.MIXED), accepted) is None


def test_a_tproxys_is_the_connections_own_address(accepted: socket.socket) -> None:
    assert destination_given(Listen("web", Endpoint("0.0.0.0", 1), Mode.TPROXY), accepted) == local(accepted)
    with pytest.raises(NotCaptured):
        destination_given(Listen("web", Endpoint("0.0.0.0", local(accepted).port), Mode.TPROXY), accepted)


def test_a_redirects_is_none_where_nothing_was_redirected(accepted: socket.socket) -> None:
    with pytest.raises(NotCaptured):
        destination_given(Listen("web", BIND, Mode.REDIRECT), accepted)

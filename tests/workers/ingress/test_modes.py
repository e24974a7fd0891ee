"""Each mode's conversation."""

import pytest

from pools.net.endpoint import Endpoint
from workers.ingress.connect import Connect
from workers.ingress.mixed import Mixed
from workers.ingress.modes import conversation_for
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
    assert conversation.receive(b"\x05\x01\x02") == b"\x05\x02"


def test_a_forward_has_none() -> None:
    with pytest.raises(ValueError, match="orders: expected one of socks5, connect, mixed; found forward"):
        conversation_for(Listen("orders", BIND, Mode.FORWARD, to=Endpoint("a.example", 443)))

"""Which listener a SYN is for, and which connection comes of it."""

import socket
from ipaddress import IPv4Network

import pytest

from pools.net.endpoint import Endpoint
from tests.floor import tcp_pair
from workers.places import Places
from workers.settings import Listen, Mode
from workers.syn_filter import Target
from workers.syn_packet import Syn

TO = Endpoint("app.example", 443)
CLIENT = ("198.51.100.7", 40_000)


def places(*bound: tuple[str, int], dual_stack: bool = False, early: bool = True) -> Places:
    listens = [
        Listen(f"l{port}", Endpoint(host, port), Mode.FORWARD, TO, dual_stack=dual_stack, early_syn=early)
        for host, port in bound
    ]
    return Places(listens, bound)


@pytest.mark.parametrize(
    ("local", "index"),
    [
        (("192.0.2.1", 443), 1),
        (("192.0.2.2", 443), 0),
        (("192.0.2.1", 444), None),
        (("2001:db8::1", 443), None),
        (("2001:db8::1", 8443), 2),
        (("192.0.2.1", 8443), None),
    ],
)
def test_the_closer_listener_gets_it(local: tuple[str, int], index: int | None) -> None:
    found = places(("0.0.0.0", 443), ("192.0.2.1", 443), ("::", 8443)).of(Syn(CLIENT, local))
    assert found == index


def test_a_listener_of_both_families_gets_both() -> None:
    both = places(("::", 443), dual_stack=True)
    assert both.of(Syn(CLIENT, ("192.0.2.1", 443))) == both.of(Syn(("2001:db8::2", 9), ("2001:db8::1", 443))) == 0


def test_a_listener_that_does_not_want_to_know_gets_none() -> None:
    none = places(("0.0.0.0", 443), early=False)
    assert none.of(Syn(CLIENT, ("192.0.2.1", 443))) is None
    assert not none.is_early(0)


def test_where_it_wants_to_go_is_the_listener_s_affair() -> None:
    assert places(("0.0.0.0", 443)).destination(0, Syn(CLIENT, ("192.0.2.1", 443))) == TO


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_a_connection_has_the_key_of_its_syn(host: str) -> None:
    ours, theirs = tcp_pair()
    with ours, theirs:
        local, client = ours.getsockname(), theirs.getsockname()
        table = places((host, local[1]))
        assert table.key_of(0, ours, client) == table.key_of_syn(Syn(client, local))


def test_an_ipv4_client_of_an_ipv6_listener_has_the_key_of_its_syn() -> None:
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, address = listener.accept()
            with accepted:
                table = places(("::", port), dual_stack=True)
                syn = Syn(client.getsockname(), ("127.0.0.1", port))
                assert table.key_of(0, accepted, address) == table.key_of_syn(syn)


def test_a_zone_is_no_part_of_a_key() -> None:
    table = places(("fe80::1", 443))
    with socket.socket() as accepted:
        key = table.key_of(0, accepted, ("fe80::7%eth0", 40_000, 0, 2))
    assert key == table.key_of_syn(Syn(("fe80::7", 40_000), ("fe80::1", 443)))


def capturing(mode: Mode, *, port: int = 15001) -> Places:
    targets = (Target(IPv4Network("198.51.100.0/24"), 443), Target(IPv4Network("127.0.0.0/8"), None))
    web = Listen("web", Endpoint("0.0.0.0", port), mode, early_syn=True, capture=targets)
    near = Listen("near", Endpoint("198.51.100.1", 443), Mode.FORWARD, TO, early_syn=True)
    return Places([web, near], [("0.0.0.0", port), ("198.51.100.1", 443)])


@pytest.mark.parametrize(
    ("local", "index"),
    [
        (("198.51.100.9", 443), 0),
        (("198.51.100.1", 443), 1),
        (("198.51.100.9", 444), None),
        (("203.0.113.9", 443), None),
        (("203.0.113.9", 15001), None),
        (("127.0.0.1", 9), 0),
        (("2001:db8::1", 443), None),
    ],
)
def test_what_the_firewall_leads_here_is_the_capturing_listeners(local: tuple[str, int], index: int | None) -> None:
    assert capturing(Mode.TPROXY).of(Syn(CLIENT, local)) == index


def test_a_captured_syn_says_where_its_client_wants_to_go() -> None:
    local = ("198.51.100.9", 443)
    assert capturing(Mode.TPROXY).destination(0, Syn(CLIENT, local)) == Endpoint(*local)


@pytest.mark.parametrize("mode", [Mode.TPROXY, Mode.REDIRECT])
def test_a_captured_connection_has_the_key_of_its_syn(mode: Mode) -> None:
    ours, theirs = tcp_pair()
    with ours, theirs:
        local, client = ours.getsockname(), theirs.getsockname()
        syn = Syn(client, local)
        if mode is Mode.TPROXY:
            assert capturing(mode).key_of(0, ours, client) == capturing(mode).key_of_syn(syn)
        assert capturing(mode, port=local[1]).key_of(0, ours, client) != capturing(mode).key_of_syn(syn)

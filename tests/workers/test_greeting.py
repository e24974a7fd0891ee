"""The opening words of a session, over real legs: what is heard, what is said on, and what cannot be."""

import errno
import socket
from collections.abc import Callable

import pytest

from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, Phase, ProtocolError, Side
from tests.floor import Floor, receive, send_all, turn_until
from workers.greeting import Greeting, endpoint_of
from workers.ingress.conversation import Request
from workers.settings import Listen, Mode, ProxyHeader

ANY = Endpoint("127.0.0.1", 0)
APP = Endpoint("app.example", 443)
FORWARD = Listen("orders", ANY, Mode.FORWARD, APP)
SOCKS_REQUEST = b"\x05\x01\x00\x05\x01\x00\x03\x0bapp.example\x01\xbb"


def outcome(floor: Floor, work: Callable[[], object]) -> object:
    """Do `work` in a greenlet of the floor and give its result, or the error it raised."""
    results: list[object] = []

    def job() -> None:
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001  # it is what the test asks for
            results.append(error)

    floor.in_hub(lambda: floor.greenlets.run(job))
    turn_until(lambda: bool(results))
    return results[0]


def test_a_forward_listener_needs_no_word_of_its_client() -> None:
    with Floor() as floor:
        inbound, _ = floor.leg()
        assert outcome(floor, Greeting(inbound, FORWARD).hear) == Request(APP)
        inbound.close()


def test_a_proxy_header_names_the_client_and_what_follows_is_early() -> None:
    with Floor() as floor:
        inbound, client = floor.leg()
        greeting = Greeting(inbound, Listen("orders", ANY, Mode.FORWARD, APP, accept_proxy=True))
        send_all(client, b"PROXY TCP4 198.51.100.7 192.0.2.1 51234 443\r\nhello")
        assert outcome(floor, greeting.hear) == Request(APP, b"hello")
        assert greeting.proxied == Endpoint("198.51.100.7", 51234)
        inbound.close()


def test_a_request_cut_in_bytes_is_heard_and_granted() -> None:
    with Floor() as floor:
        inbound, client = floor.leg()
        greeting = Greeting(inbound, Listen("socks", ANY, Mode.SOCKS5))
        for byte in SOCKS_REQUEST:
            send_all(client, bytes([byte]))
        request = outcome(floor, greeting.hear)
        assert isinstance(request, Request)
        assert (request.destination, receive(client, 2)) == (APP, b"\x05\x00")
        assert greeting.words(Request(request.destination, b"early"), ("192.0.2.9", 1)) == b"early"
        assert outcome(floor, lambda: greeting.grant(Endpoint("192.0.2.1", 4711))) is None
        assert receive(client, 10) == b"\x05\x00\x00\x01" + socket.inet_aton("192.0.2.1") + (4711).to_bytes(2)
        inbound.close()


@pytest.mark.parametrize("proxied", [None, Endpoint("198.51.100.7", 51234)])
def test_the_destination_hears_who_the_client_is(proxied: Endpoint | None) -> None:
    with Floor() as floor:
        inbound, _ = floor.leg()
        greeting = Greeting(inbound, Listen("orders", ANY, Mode.FORWARD, APP, send_proxy=ProxyHeader.V1))
        greeting.proxied = proxied
        local = endpoint_of(inbound.socket.getsockname())
        source = proxied or Endpoint("192.0.2.9", 1234)
        line = f"PROXY TCP4 {source.host} {local.host} {source.port} {local.port}\r\n".encode()
        assert greeting.words(Request(APP, b"early"), ("192.0.2.9", 1234)) == line + b"early"
        inbound.close()


def test_a_client_that_ends_before_its_request_is_told_from_one_that_talks_nonsense() -> None:
    with Floor() as floor:
        for words, kind in ((b"\x05", LegError), (b"\x16\x03", ProtocolError)):
            inbound, client = floor.leg()
            send_all(client, words)
            client.shutdown(socket.SHUT_WR)
            error = outcome(floor, Greeting(inbound, Listen("socks", ANY, Mode.SOCKS5)).hear)
            assert isinstance(error, kind)
            inbound.close()


def test_only_a_client_that_waits_for_an_answer_gets_a_refusal() -> None:
    refused = LegError(Side.OUTBOUND, Phase.CONNECT, errno.ECONNREFUSED, str(APP))
    left = LegError(Side.INBOUND, Phase.CONNECT, errno.ECONNRESET, "the client")
    with Floor() as floor:
        inbound, client = floor.leg()
        assert not Greeting(inbound, FORWARD).refuse(refused)
        greeting = Greeting(inbound, Listen("socks", ANY, Mode.SOCKS5))
        assert not greeting.refuse(refused)
        send_all(client, SOCKS_REQUEST)
        outcome(floor, greeting.hear)
        assert not greeting.refuse(left)
        assert greeting.refuse(refused)
        assert receive(client, 4) == b"\x05\x00\x05\x05"


def test_mapped_addresses_are_written_as_ipv4() -> None:
    assert endpoint_of(("::ffff:192.0.2.1", 80, 0, 0)) == Endpoint("192.0.2.1", 80)
    assert endpoint_of(("2001:db8::1", 80, 0, 0)) == Endpoint("2001:db8::1", 80)

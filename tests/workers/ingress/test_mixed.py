"""SOCKS and HTTP behind one port."""

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.net.endpoint import Endpoint
from pools.net.errors import Fault, LegError, Phase, ProtocolError, Side
from tests.workers.ingress.transcripts import Outcome, converse, cuts, spoiled
from workers.ingress.connect import HEAD_LIMIT
from workers.ingress.mixed import Mixed

SOCKS = b"\x05\x01\x00\x05\x01\x00\x03\x09a.example\x01\xbbearly"
CONNECT = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\nearly"
BOUND = Endpoint("192.0.2.1", 40000)
REFUSED = LegError(Side.OUTBOUND, Phase.CONNECT, errno.ECONNREFUSED, "a.example:443")


def test_socks_is_spoken_with_socks_clients() -> None:
    mixed = Mixed({})
    assert mixed.receive(b"") == b""
    assert converse(mixed, SOCKS) == Outcome(b"\x05\x00", Endpoint("a.example", 443), b"early")
    assert mixed.granted(BOUND).startswith(b"\x05\x00\x00\x01")
    assert mixed.denied(REFUSED).startswith(b"\x05\x05")


def test_http_is_spoken_with_http_clients() -> None:
    mixed = Mixed({})
    assert converse(mixed, CONNECT) == Outcome(b"", Endpoint("a.example", 443), b"early")
    assert mixed.granted(BOUND).startswith(b"HTTP/1.1 200 ")
    assert mixed.denied(REFUSED).startswith(b"HTTP/1.1 502 ")


def test_socks_4_clients_hear_it_in_their_own_words() -> None:
    assert converse(Mixed({}), b"\x04\x01").said == b"\x00\x5b" + bytes(6)


@pytest.mark.parametrize(("data", "start"), [(SOCKS, b"\x05\xff"), (CONNECT, b"HTTP/1.1 407 ")])
def test_users_are_asked_for_in_both(data: bytes, start: bytes) -> None:
    assert converse(Mixed({"alice": "open sesame"}), data).said.startswith(start)


def test_an_error_in_the_first_bytes_fixes_no_choice() -> None:
    mixed = Mixed({})
    with pytest.raises(ProtocolError):
        mixed.receive(b"\x04")
    assert converse(mixed, CONNECT).destination == Endpoint("a.example", 443)


def test_an_answer_before_any_byte_is_our_fault() -> None:
    with pytest.raises(ProtocolError) as caught:
        Mixed({}).granted(BOUND)
    assert caught.value.fault is Fault.OURS


@given(data=spoiled([SOCKS, CONNECT]), cuts=cuts())
@settings(max_examples=80, deadline=None)
def test_spoiled_input_ends_alike_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    assert converse(Mixed({}), data, cuts) == converse(Mixed({}), data)


@given(data=st.binary(max_size=64), cuts=cuts())
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_decided_within_the_bound(data: bytes, cuts: list[int]) -> None:
    assert converse(Mixed({}), data + b"x" * HEAD_LIMIT, cuts).decided

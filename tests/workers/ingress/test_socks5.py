"""SOCKS 5 as transcripts: what a client says, what it hears."""

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.net.endpoint import Endpoint
from pools.net.errors import Fault, LegError, Phase, ProtocolError, Side
from tests.workers.ingress.transcripts import Outcome, converse, cuts, every_byte, spoiled
from workers.ingress.socks5 import HELD_LIMIT, Socks5

USERS = {"alice": "open sesame"}
GREETING = b"\x05\x01\x00"
LOGIN_GREETING = b"\x05\x02\x00\x02"
LOGIN = b"\x01\x05alice\x0bopen sesame"
TO_NAME = b"\x05\x01\x00\x03\x09a.example\x01\xbb"
TO_IPV4 = b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"
TO_IPV6 = b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50"
TO_MAPPED = b"\x05\x01\x00\x04" + bytes(10) + b"\xff\xff\xc0\x00\x02\x01\x00\x50"
OPEN_TRANSCRIPTS = [GREETING + request + b"early" for request in (TO_NAME, TO_IPV4, TO_IPV6)]
LOGIN_TRANSCRIPTS = [LOGIN_GREETING + LOGIN + TO_NAME + b"early"]


def refused(code: int) -> bytes:
    return bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("request_", "destination"),
    [
        (TO_NAME, Endpoint("a.example", 443)),
        (TO_IPV4, Endpoint("192.0.2.1", 80)),
        (TO_IPV6, Endpoint("::1", 80)),
        (TO_MAPPED, Endpoint("192.0.2.1", 80)),
        (b"\x05\x01\x00\x03\x09192.0.2.1\x00\x50", Endpoint("192.0.2.1", 80)),
    ],
)
@pytest.mark.parametrize("drip", [False, True])
def test_a_client_names_its_destination(request_: bytes, destination: Endpoint, drip: bool) -> None:
    data = GREETING + request_
    assert converse(Socks5({}), data, every_byte(data) if drip else []) == Outcome(b"\x05\x00", destination)


def test_step_by_step_each_answer_comes_as_soon_as_it_can() -> None:
    socks = Socks5(USERS)
    assert socks.receive(LOGIN_GREETING) == b"\x05\x02"
    assert socks.receive(LOGIN) == b"\x01\x00"
    assert socks.receive(TO_IPV4) == b""
    assert socks.request is not None
    assert socks.granted(Endpoint("198.51.100.7", 0x1234)) == b"\x05\x00\x00\x01\xc6\x33\x64\x07\x12\x34"


def test_a_whole_handshake_in_one_segment() -> None:
    outcome = converse(Socks5(USERS), LOGIN_GREETING + LOGIN + TO_NAME + b"GET /")
    assert outcome == Outcome(b"\x05\x02\x01\x00", Endpoint("a.example", 443), b"GET /")


def test_granted_tells_an_ipv6_address() -> None:
    assert Socks5({}).granted(Endpoint("2001:db8::7", 80)) == (
        b"\x05\x00\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x07\x00\x50"
    )


def test_granted_tells_a_mapped_address_as_ipv4() -> None:
    assert Socks5({}).granted(Endpoint("::ffff:192.0.2.1", 80)) == b"\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x50"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ECONNREFUSED, 5),
        (errno.ENETUNREACH, 3),
        (errno.EHOSTUNREACH, 4),
        (errno.ETIMEDOUT, 6),
        (errno.EACCES, 2),
        (errno.EPERM, 2),
        (errno.EAFNOSUPPORT, 8),
        (errno.ECONNRESET, 1),
        (errno.EMFILE, 1),
    ],
)
def test_denied_says_why(number: int, code: int) -> None:
    error = LegError(Side.OUTBOUND, Phase.CONNECT, number, "192.0.2.1:80")
    assert Socks5({}).denied(error) == refused(code)


@pytest.mark.parametrize(
    ("data", "said", "message"),
    [
        (b"\x04\x01\x00\x50\xc0\x00\x02\x01\x00", b"\x00\x5b" + bytes(6), "found version 4"),
        (b"GET / HTTP/1.1\r\n", b"", "expected SOCKS version 5; found 71"),
        (b"\x05\x00", b"\x05\xff", "found []"),
        (b"\x05\x02\x01\x02", b"\x05\xff", "expected method 0 to be offered; found [1, 2]"),
        (GREETING + b"\x04", b"\x05\x00", "expected SOCKS request version 5; found 4"),
        (GREETING + b"\x05\x02" + TO_IPV4[2:], b"\x05\x00" + refused(7), "found 2"),
        (GREETING + b"\x05\x03" + TO_NAME[2:], b"\x05\x00" + refused(7), "found 3"),
        (GREETING + b"\x05\x01\x00\x02\x01", b"\x05\x00" + refused(8), "found type 2"),
        (GREETING + b"\x05\x01\x00\x03\x00\x00\x50", b"\x05\x00" + refused(4), "found '' and port 80"),
        (GREETING + b"\x05\x01\x00\x03\x03a b\x00\x50", b"\x05\x00" + refused(4), "found 'a b' and port 80"),
        (GREETING + TO_IPV4[:-2] + b"\x00\x00", b"\x05\x00" + refused(4), "found '192.0.2.1' and port 0"),
    ],
)
@pytest.mark.parametrize("drip", [False, True])
def test_bad_input_is_told_apart(data: bytes, said: bytes, message: str, drip: bool) -> None:
    outcome = converse(Socks5({}), data, every_byte(data) if drip else [])
    assert outcome.said == said
    assert message in outcome.error


@pytest.mark.parametrize("login", [b"\x01\x05alice\x05wrong", b"\x01\x03bob\x0bopen sesame", b"\x01\x00\x00"])
def test_a_wrong_login_is_refused(login: bytes) -> None:
    outcome = converse(Socks5(USERS), LOGIN_GREETING + login + TO_NAME)
    assert outcome.said == b"\x05\x02\x01\x01"
    assert "wrong" not in outcome.error
    assert "alice" not in outcome.error


def test_with_users_no_client_gets_in_without_login() -> None:
    assert converse(Socks5(USERS), GREETING + TO_NAME).said == b"\x05\xff"


def test_after_bad_input_nothing_has_changed() -> None:
    socks = Socks5(USERS)
    socks.receive(LOGIN_GREETING + LOGIN[:4])
    with pytest.raises(ProtocolError) as caught:
        socks.receive(b"???\x00" + TO_NAME)
    assert caught.value.reply == b"\x01\x01"
    assert socks.receive(LOGIN[4:]) == b"\x01\x00"


def test_bytes_given_after_the_request_are_our_fault() -> None:
    socks = Socks5({})
    socks.receive(GREETING + TO_NAME)
    with pytest.raises(ProtocolError) as caught:
        socks.receive(b"more")
    assert caught.value.fault is Fault.OURS


def test_the_longest_message_fits_the_bound() -> None:
    users = {"u" * 255: "p" * 255}
    longest = b"\x01\xff" + b"u" * 255 + b"\xff" + b"p" * 255
    assert len(longest) - 1 == HELD_LIMIT
    assert converse(Socks5(users), LOGIN_GREETING + longest, every_byte(longest)).said == b"\x05\x02\x01\x00"


@given(data=st.sampled_from(OPEN_TRANSCRIPTS), cuts=cuts())
@settings(max_examples=150, deadline=None)
def test_any_cut_gives_the_same(data: bytes, cuts: list[int]) -> None:
    assert converse(Socks5({}), data, cuts) == converse(Socks5({}), data)


@given(data=spoiled(OPEN_TRANSCRIPTS), cuts=cuts())
@settings(max_examples=150, deadline=None)
def test_spoiled_input_ends_alike_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    assert converse(Socks5({}), data, cuts) == converse(Socks5({}), data)


@given(data=spoiled(LOGIN_TRANSCRIPTS), cuts=cuts())
@settings(max_examples=150, deadline=None)
def test_spoiled_logins_end_alike_and_keep_their_secret(data: bytes, cuts: list[int]) -> None:
    outcome = converse(Socks5(USERS), data, cuts)
    assert outcome == converse(Socks5(USERS), data)
    assert "sesame" not in outcome.error


@given(data=st.binary(max_size=64), filler=st.integers(0, 255), users=st.sampled_from([{}, USERS]))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_decided_within_the_bound(data: bytes, filler: int, users: dict[str, str]) -> None:
    three_messages = 257 + 513 + 262
    data += bytes([filler]) * three_messages
    assert converse(Socks5(users), data, every_byte(data)).decided

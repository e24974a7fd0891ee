"""HTTP proxy requests as transcripts: what a client says, what it hears, what its destination gets."""

import base64
import errno

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, Phase, ProtocolError, Side
from tests.workers.ingress.transcripts import Outcome, converse, cuts, every_byte, spoiled
from workers.ingress.connect import HEAD_LIMIT, Connect

USERS = {"alice": "open sesame"}
BASIC = b"Proxy-Authorization: Basic " + base64.b64encode(b"alice:open sesame") + b"\r\n"
CONNECT = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"
CONNECT_LOGIN = CONNECT[:-2] + BASIC + b"\r\n"
POST = b"POST http://a.example/form?x=1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello"
TRANSCRIPTS = [CONNECT + b"\x16\x03\x01 early", POST]
LOGIN_TRANSCRIPTS = [CONNECT_LOGIN + b"early", POST.replace(b"\r\n\r\n", b"\r\n" + BASIC + b"\r\n")]
ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"
BOUND = Endpoint("198.51.100.7", 40000)


def answer(said: bytes) -> tuple[int, dict[str, str], str]:
    """Read `said` as HTTP clients do: status, fields, body."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a.example")]))
    client.receive_data(said)
    response, body = client.next_event(), client.next_event()
    assert isinstance(response, h11.Response)
    assert isinstance(body, h11.Data)
    assert isinstance(client.next_event(), h11.EndOfMessage)
    return response.status_code, {k.decode(): v.decode() for k, v in response.headers}, bytes(body.data).decode()


@pytest.mark.parametrize(
    ("target", "destination"),
    [
        (b"a.example:443", Endpoint("a.example", 443)),
        (b"192.0.2.1:8443", Endpoint("192.0.2.1", 8443)),
        (b"[2001:db8::1]:443", Endpoint("2001:db8::1", 443)),
        (b"[::ffff:192.0.2.1]:443", Endpoint("192.0.2.1", 443)),
    ],
)
@pytest.mark.parametrize("drip", [False, True])
def test_connect_names_its_destination(target: bytes, destination: Endpoint, drip: bool) -> None:
    data = CONNECT.replace(b"a.example:443", target) + b"\x16\x03\x01"
    connect = Connect({})
    assert converse(connect, data, every_byte(data) if drip else []) == Outcome(b"", destination, b"\x16\x03\x01")
    assert connect.granted(BOUND) == ESTABLISHED


def test_http_1_0_and_bare_line_feeds_are_understood() -> None:
    assert converse(Connect({}), b"CONNECT a.example:1 HTTP/1.0\n\nx") == Outcome(b"", Endpoint("a.example", 1), b"x")


def test_a_plain_request_goes_to_its_origin_with_its_body_untouched() -> None:
    connect = Connect({})
    assert converse(connect, POST + b"\r\n\r\nGET and what not") == Outcome(
        b"",
        Endpoint("a.example", 80),
        b"POST /form?x=1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
        b"hello\r\n\r\nGET and what not",
    )
    assert connect.granted(BOUND) == b""


def test_a_login_is_for_the_proxy_alone() -> None:
    outcome = converse(Connect(USERS), LOGIN_TRANSCRIPTS[1])
    assert outcome.destination == Endpoint("a.example", 80)
    assert b"roxy" not in outcome.early


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (b"\x16\x03\x01\x02", 400, "found byte 0x16 first (TLS?)"),
        (b"\r\n" + CONNECT, 400, "found byte 0x0d first"),
        (b"NONSENSE\r\n\r\n", 400, "illegal request line"),
        (b"CONNECT a.example:443 HTTP/1.1\r\n\r\n", 400, "Missing mandatory Host"),
        (CONNECT[:-2] + b"Host: b\r\n\r\n", 400, "multiple Host"),
        (CONNECT[:-2] + b"broken line\r\n\r\n", 400, "illegal header line"),
        (CONNECT[:-2] + b"Transfer-Encoding: gzip\r\n\r\n", 501, "Only Transfer-Encoding"),
        (CONNECT.replace(b"a.example:443 ", b"a.example "), 400, "must be HOST:PORT"),
        (CONNECT.replace(b"a.example:443 ", b"a.example:0 "), 400, "port from 1"),
        (CONNECT.replace(b"a.example:443 ", b"a.example:65536 "), 400, "port from 0 to 65535"),
        (CONNECT.replace(b"a.example:443 ", b"a.example:" + b"9" * 5000 + b" "), 400, "destination"),
        (CONNECT.replace(b"a.example:443 ", b"::1:443 "), 400, "brackets"),
        (CONNECT.replace(b"a.example:443 ", b"[fe80::1%eth0]:443 "), 400, "without a zone"),
        (CONNECT.replace(b"a.example:443 ", b"me:secret@a.example:443 "), 400, "found user information"),
        (CONNECT.replace(b"a.example:443 ", b"/path "), 400, "must be HOST:PORT"),
        (CONNECT.replace(b"a.example:443 ", b"https://a.example/secret "), 400, "found 'https:'"),
        (POST.replace(b"http://a.example", b""), 405, "found a path"),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 405, "found a path"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "found another version"),
        (POST.replace(b"http:", b"https:"), 400, "found scheme 'https'"),
        (POST.replace(b"http:", b"ftp:"), 400, "found scheme 'ftp'"),
        (POST.replace(b"http://a.example", b"http://me:secret@a.example"), 400, "user information"),
        (POST.replace(b"http://a.example", b"http://"), 400, "found scheme 'http'"),
        (POST.replace(b"http://a.example", b"http://a.example:port"), 400, "from 0 to 65535"),
        (b"GET /" + b"a" * HEAD_LIMIT, 431, "found no end of it"),
    ],
)
@pytest.mark.parametrize("drip", [False, True])
def test_bad_input_is_told_apart(data: bytes, status: int, message: str, drip: bool) -> None:
    outcome = converse(Connect({}), data, every_byte(data) if drip else [])
    found, fields, text = answer(outcome.said)
    assert found == status
    assert fields["connection"] == "close"
    assert message in outcome.error
    assert message in text
    assert "secret" not in outcome.error + text


def test_a_path_is_answered_with_what_is_allowed() -> None:
    assert answer(converse(Connect({}), POST.replace(b"http://a.example", b"")).said)[1]["allow"] == "CONNECT"


@pytest.mark.parametrize(
    "field",
    [
        b"",
        BASIC.replace(b"Basic", b"Bearer"),
        b"Proxy-Authorization: Basic\r\n",
        b"Proxy-Authorization: Basic ????\r\n",
        b"Proxy-Authorization: Basic " + base64.b64encode(b"alice") + b"\r\n",
        b"Proxy-Authorization: Basic " + base64.b64encode(b"alice:open") + b"\r\n",
        b"Proxy-Authorization: Basic " + base64.b64encode(b"bob:open sesame") + b"\r\n",
        BASIC + BASIC,
        BASIC.replace(b"Proxy-", b""),
    ],
)
@pytest.mark.parametrize("head", [CONNECT, POST[:-5]])
def test_without_a_known_user_the_proxy_asks_for_one(head: bytes, field: bytes) -> None:
    status, fields, _ = answer(converse(Connect(USERS), head[:-2] + field + b"\r\n").said)
    assert status == 407
    assert fields["proxy-authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("field", [BASIC, BASIC.replace(b"Basic ", b"bAsIc   ")])
def test_a_known_user_gets_in(field: bytes) -> None:
    outcome = converse(Connect(USERS), CONNECT[:-2] + field + b"\r\n")
    assert outcome.destination == Endpoint("a.example", 443)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.ECONNREFUSED, 502),
        (errno.EHOSTUNREACH, 502),
        (errno.ETIMEDOUT, 504),
        (errno.EACCES, 403),
        (errno.EPERM, 403),
    ],
)
@pytest.mark.parametrize("data", TRANSCRIPTS)
def test_denied_says_why_and_no_address_that_the_client_did_not_name(data: bytes, number: int, status: int) -> None:
    connect = Connect({})
    converse(connect, data)
    found, _, text = answer(connect.denied(LegError(Side.OUTBOUND, Phase.CONNECT, number, "10.0.0.7:80")))
    assert found == status
    assert f"to a.example:{443 if data.startswith(b'CONNECT') else 80}; found {errno.errorcode[number]}" in text
    assert "10.0.0.7" not in text


def test_a_head_may_be_as_long_as_the_limit_and_no_longer() -> None:
    filler = b"x" * (HEAD_LIMIT - len(CONNECT) - len(b"X: \r\n"))
    longest = CONNECT[:-2] + b"X: " + filler + b"\r\n\r\n"
    assert converse(Connect({}), longest).destination == Endpoint("a.example", 443)
    too_long = longest.replace(b"X: ", b"X: x")
    assert answer(converse(Connect({}), too_long).said)[0] == 431
    assert answer(converse(Connect({}), too_long, [HEAD_LIMIT - 1, HEAD_LIMIT]).said)[0] == 431


def test_after_bad_input_nothing_has_changed() -> None:
    connect = Connect({})
    connect.receive(CONNECT[:20])
    with pytest.raises(ProtocolError):
        connect.receive(b"\r\n\r\n")
    assert connect.receive(CONNECT[20:]) == b""
    assert connect.request is not None


@given(data=st.sampled_from(TRANSCRIPTS), cuts=cuts())
@settings(max_examples=100, deadline=None)
def test_any_cut_gives_the_same(data: bytes, cuts: list[int]) -> None:
    assert converse(Connect({}), data, cuts) == converse(Connect({}), data)


@given(data=spoiled(TRANSCRIPTS), cuts=cuts())
@settings(max_examples=150, deadline=None)
def test_spoiled_input_ends_alike_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    assert converse(Connect({}), data, cuts) == converse(Connect({}), data)


@given(data=spoiled(LOGIN_TRANSCRIPTS), cuts=cuts())
@settings(max_examples=150, deadline=None)
def test_spoiled_logins_end_alike_and_keep_their_secret(data: bytes, cuts: list[int]) -> None:
    outcome = converse(Connect(USERS), data, cuts)
    assert outcome == converse(Connect(USERS), data)
    assert "b3BlbiBzZXNhbW" not in outcome.error + outcome.said.decode("latin-1")  # what the password is in base64


@given(data=st.binary(max_size=64), filler=st.integers(0, 255), cuts=cuts())
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_decided_within_the_bound(data: bytes, filler: int, cuts: list[int]) -> None:
    assert converse(Connect({}), data + bytes([filler]) * HEAD_LIMIT, cuts).decided

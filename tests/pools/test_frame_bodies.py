"""What is written can be read, and what breaks a rule is said so and takes nothing along."""

import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.frame_bodies import (
    LINKS_LIMIT,
    PADDING_LIMIT,
    VERSION,
    Body,
    Hello,
    Link,
    Open,
    Opened,
    Ping,
    Pong,
    Proof,
    Refused,
    Reset,
    Where,
    decode,
    encode,
)
from pools.frames import Frame, FrameReader, FrameType, Role
from pools.net.endpoint import Endpoint
from pools.net.errors import Fault, ProtocolError
from tests import fuzz_frames

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
addresses = st.ip_addresses().map(str).filter(lambda host: "%" not in host)
hosts = addresses | st.sampled_from(["orders.example", "x" * 63 + ".example.", "a_b"])
errnos, u32 = st.integers(1, 4095), st.integers(0, (1 << 32) - 1)
links = st.builds(Link, names, st.booleans(), u32, st.integers(0, 1_000_000))
bodies: st.SearchStrategy[Body] = st.one_of(
    st.builds(Hello, names, st.sampled_from(Role), st.binary(min_size=32, max_size=32)),
    st.builds(Proof, st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32)),
    st.builds(
        Open,
        st.builds(Endpoint, hosts, st.integers(1, 65_535)),
        st.lists(names, max_size=16).map(tuple),
        st.builds(Endpoint, addresses, st.integers(0, 65_535)),
        st.binary(min_size=16, max_size=16),
    ),
    st.builds(Opened, names, u32),
    st.builds(Refused, names, errnos, u32, st.sampled_from(Where)),
    st.builds(Reset, errnos),
    st.builds(Ping, u32, st.integers(0, (1 << 63) - 1), st.integers(0, PADDING_LIMIT)),
    st.builds(Pong, u32, st.integers(0, (1 << 63) - 1), st.lists(links, max_size=LINKS_LIMIT).map(tuple)),
)
OPEN = {"d": ["orders.example", 443], "v": ["pune"], "c": ["192.0.2.1", 50_000], "t": bytes(16)}
HELLO = {"v": VERSION, "g": "oregon", "r": "opener", "n": bytes(32)}
PING = {"n": 0, "t": 0}
PONG = {"n": 0, "t": 0, "l": []}
LINK = ["pune", True, 1500, 0]
REFUSED = {"g": "pune", "e": 111, "u": 5, "w": "connect"}


def frame_of(kind: FrameType, content: Any) -> Frame:
    return Frame(kind, 0, msgpack.packb(content))


@given(bodies, st.integers(0, 65_535))
def test_what_is_written_can_be_read(body: Body, session: int) -> None:
    [frame] = FrameReader().feed(memoryview(encode(body, session=session)))
    assert isinstance(frame, Frame)
    assert (frame.type, frame.session) == (body.TYPE, session)
    assert decode(frame) == body


def test_the_longest_bodies_fit() -> None:
    name, host = "x" * 64, ".".join(["x" * 63] * 3 + ["x" * 61]) + "."
    far = Endpoint("1111:" * 7 + "1111", 65_535)
    assert encode(Open(Endpoint(host, 65_535), (name,) * 16, far, bytes(16)), session=1)
    link = Link(name, True, (1 << 32) - 1, 1_000_000)
    assert encode(Pong((1 << 32) - 1, (1 << 63) - 1, (link,) * LINKS_LIMIT))
    assert encode(Refused(name, 4095, (1 << 32) - 1, Where.RESOLVE), session=1)


def test_types_without_a_body_say_nothing_more() -> None:
    assert decode(Frame(FrameType.FIN, 1)) is None
    assert decode(Frame(FrameType.GOAWAY)) is None


def test_an_answer_to_a_ping_carries_its_numbers() -> None:
    link = Link("pune", True, 1500, 0)
    assert Pong.to(Ping(3, 44), (link,)) == Pong(3, 44, (link,))
    assert Pong.to(Ping(3, 44), (link,) * 20).links == (link,) * LINKS_LIMIT


def test_a_zone_stays_where_its_interface_is() -> None:
    sent = Open(Endpoint("orders.example", 443), (), Endpoint("fe80::1%eth0", 5), bytes(16))
    [frame] = FrameReader().feed(memoryview(encode(sent, session=1)))
    assert isinstance(frame, Frame)
    assert Open.read(frame.body).client == Endpoint("fe80::1", 5)


def test_a_path_that_returns_can_be_told() -> None:
    there = Open(Endpoint("orders.example", 443), ("mumbai", "pune"), Endpoint("192.0.2.1", 5), bytes(16))
    assert not there.returns("oregon", "singapore")
    assert there.returns("oregon", "mumbai")
    twice = Open(there.destination, ("pune", "mumbai", "pune"), there.client, there.trace_id)
    assert twice.returns()


def test_another_version_is_named_whatever_else_it_says() -> None:
    with pytest.raises(ProtocolError, match="expected version 1 .*; found version 2"):
        decode(frame_of(FrameType.HELLO, {"v": 2, "new": [1]}))


@pytest.mark.parametrize(
    ("kind", "content", "rule"),
    [
        (FrameType.HELLO, HELLO | {"g": "a\nb"}, "g to name a gateway"),
        (FrameType.HELLO, HELLO | {"g": "x" * 65}, "g to name a gateway"),
        (FrameType.HELLO, HELLO | {"r": "boss"}, "r to be one of opener, acceptor; found 'boss'"),
        (FrameType.HELLO, HELLO | {"r": ["opener"]}, "r to be one of"),
        (FrameType.HELLO, HELLO | {"n": bytes(31)}, "n to be 32 bytes"),
        (FrameType.HELLO, HELLO | {"n": "x" * 32}, "n to be 32 bytes"),
        (FrameType.HELLO, HELLO | {"v": True}, "v to be from 0"),
        (FrameType.HELLO, {"g": "oregon"}, "v to be from 0"),
        (FrameType.HELLO, HELLO | {"x": 1}, "the keys v, g, r, n; found 'v, g, r, n, x'"),
        (FrameType.OPEN, OPEN | {"d": ["orders.example", 0]}, "a destination with a port"),
        (FrameType.OPEN, OPEN | {"d": ["orders example", 443]}, "d to be a host and a port"),
        (FrameType.OPEN, OPEN | {"d": ["fe80::1%eth0", 443]}, "d to be a host and a port"),
        (FrameType.OPEN, OPEN | {"d": ["a", 65_536]}, "d to be a host and a port"),
        (FrameType.OPEN, OPEN | {"d": ["a", -1]}, "d to be a host and a port"),
        (FrameType.OPEN, OPEN | {"d": ["a", True]}, "d to be a host and a port"),
        (FrameType.OPEN, OPEN | {"d": ["a", 1, 2]}, "d to be a host and a port"),
        (FrameType.OPEN, OPEN | {"c": ["a.example", 1]}, "a client by address"),
        (FrameType.OPEN, OPEN | {"v": ["a"] * 17}, "v to be a list of at most 16 names"),
        (FrameType.OPEN, OPEN | {"v": "a"}, "v to be a list"),
        (FrameType.OPEN, OPEN | {"v": [1]}, "v to name a gateway"),
        (FrameType.OPEN, OPEN | {"t": bytes(15)}, "t to be 16 bytes"),
        (FrameType.REFUSED, REFUSED | {"e": 0}, "e to be from 1 to 4095; found 0"),
        (FrameType.REFUSED, REFUSED | {"u": 1 << 32}, "u to be from 0 to 4294967295"),
        (FrameType.REFUSED, REFUSED | {"w": "here"}, "w to be one of path"),
        (FrameType.RESET, {"e": 4096}, "e to be from 1 to 4095; found 4096"),
        (FrameType.PING, PING | {"p": 0}, "p to be from 1 to 16777216; found 0"),
        (FrameType.PING, PING | {"p": PADDING_LIMIT + 1}, "p to be from 1 to 16777216"),
        (FrameType.PING, {"n": 0, "p": 1}, "the keys n, t; found 'n, p'"),
        (FrameType.PING, PING | {"x": 1}, "the keys n, t; found 'n, t, x'"),
        (FrameType.PONG, PONG | {"p": 1}, "the keys n, t, l"),
        (FrameType.PONG, PONG | {"t": -1}, "t to be from 0"),
        (FrameType.PONG, PONG | {"l": None}, "l to be a list of at most 16 lists"),
        (FrameType.PONG, PONG | {"l": [LINK] * 17}, "l to be a list of at most 16 lists"),
        (FrameType.PONG, PONG | {"l": [LINK[:3]]}, "l to be lists of 4 values"),
        (FrameType.PONG, PONG | {"l": [["a b", *LINK[1:]]]}, "l to name a gateway"),
        (FrameType.PONG, PONG | {"l": [["b", 1, 0, 0]]}, "a link to be a name, true or false"),
        (FrameType.PONG, PONG | {"l": [["b", True, -1, 0]]}, "a link to be a name, true or false"),
        (FrameType.PONG, PONG | {"l": [["b", True, 0, 1_000_001]]}, "a link to be a name, true or false"),
    ],
)
def test_a_broken_rule_is_named_with_what_was_found(kind: FrameType, content: Any, rule: str) -> None:
    with pytest.raises(ProtocolError, match=rule) as caught:
        decode(frame_of(kind, content))
    assert str(caught.value).startswith(kind.name)
    assert caught.value.fault is Fault.THEIRS


def test_a_proof_that_is_wrong_is_not_shown() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(frame_of(FrameType.PROOF, {"k": bytes(8), "m": b"secret"}))
    assert "secret" not in str(caught.value)


def test_a_million_mistakes_begin_with_two_thousand() -> None:
    outcome = fuzz_frames.run(2000, seed=0)
    assert outcome.inputs == 2000
    assert outcome.bodies > 500
    assert min(outcome.proofs[role] for role in Role) > 20
    assert min(outcome.refusals[by] for by in ("reader", "body", "handshake", "state")) > 100


@given(
    st.sampled_from([kind for kind in FrameType if kind not in (FrameType.DATA, FrameType.PAD)]), st.binary(min_size=1)
)
def test_any_body_is_right_or_a_protocol_error(kind: FrameType, body: bytes) -> None:
    fuzz_frames.refused(fuzz_frames.Outcome(), "body", decode, Frame(kind, 0, body))


@pytest.mark.parametrize(
    "opening", [b"\xdd\x00\x00\x07\xff", b"\xdc\x07\xff", b"\x9f", b"\x81\xa1d\xdd\x00\x00\x07\xf0"]
)
def test_nested_lists_that_promise_much_take_no_memory(opening: bytes) -> None:
    body = (opening * 2048)[:2048]
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decode(Frame(FrameType.OPEN, 1, body))
        assert tracemalloc.get_traced_memory()[1] < 512 * 1024
    finally:
        tracemalloc.stop()

"""Legs of peers while no session has them: the next OPEN, whatever else may come, and their end."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pools.frame_bodies import PADDING_LIMIT, Open, Opened, Ping, Pong, Reset, encode
from pools.frames import DATA_LIMIT, Frame, FrameType, Header, Payload, Role, data_header
from pools.handshake import Handshake
from pools.introduction import introduce
from pools.key_file import KeyFile
from pools.leg import PoolLeg
from pools.leg_dial import KEEPALIVE_IDLE_S
from pools.net import sockopts
from tests.far_end import KEY, OPEN, FarEnd, plain, run
from tests.floor import Floor, reset, rest_of, settle, tcp_pair, turn_until
from tests.workers.gate import REFUSED, Gate, key_file

PING = Ping(1, 77)
GOAWAY = plain(FrameType.GOAWAY)
FIN = FrameType.FIN


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return key_file(tmp_path)


@pytest.fixture
def make_gate(keys: KeyFile) -> Iterator[Callable[..., Gate]]:
    gates: list[Gate] = []

    def make(**more: Any) -> Gate:
        gates.append(Gate(floor, keys, **more))
        return gates[-1]

    with Floor() as floor:
        yield make
        for gate in gates:
            gate.close()


@pytest.fixture
def gate(make_gate: Callable[..., Gate]) -> Gate:
    return make_gate()


def expect_end(far: FarEnd) -> None:
    assert rest_of(far.sock) == (b"", "end")


def test_two_legs_of_ours_come_to_know_each_other_and_a_session_opens(gate: Gate) -> None:
    theirs, ours = tcp_pair()
    sockopts.linger_reset(ours)
    opener, accepted = (gate.floor.readiness.open(sock, PoolLeg) for sock in (theirs, ours))
    opener.begin(Role.OPENER, "mumbai")
    handshake = Handshake(Role.OPENER, "oregon", keys=[KEY], nonce=b"n" * 32, peer="mumbai")
    gate.floor.in_hub(lambda: gate.overlay.accept(accepted, ("192.0.2.1", 1)))
    known = run(gate.floor, lambda: introduce(opener, handshake))
    turn_until(lambda: known)
    assert known == ["mumbai"]
    opener.say(OPEN)
    leg = gate.next_session(0)
    assert leg is accepted
    assert (leg.peer, leg.state.session, leg.keeper, leg.on_readable) == ("oregon", 1, gate.overlay, None)
    assert (len(gate.overlay), gate.overlay.idle, gate.counts) == (1, 0, (1, 1, 0, 0))
    opener.close()


def test_the_kernel_looks_after_an_idle_leg_as_the_opener_s_does(gate: Gate) -> None:
    far = gate.peer()
    sock = gate.session(far).socket
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE_IDLE_S


def test_a_stranger_becomes_no_leg(gate: Gate) -> None:
    far = gate.connect()
    far.send(b"GET / HTTP/1.1\r\n")
    assert rest_of(far.sock) == (b"", "reset")
    assert (len(gate.overlay), gate.counts) == (0, (0, 0, 1, 0))


def test_an_open_behind_the_proof_is_heard(gate: Gate) -> None:
    far = gate.connect()
    handshake = Handshake(Role.OPENER, "oregon", keys=[KEY], nonce=b"n" * 32)
    far.send(handshake.begin())
    answer = far.hear()
    assert isinstance(answer, Frame)
    far.send(handshake.receive(answer), encode(OPEN, session=1), data_header(1, 3), b"abc")
    leg = gate.next_session(0)
    assert leg.rest == data_header(1, 3) + b"abc"


def test_a_ping_on_an_idle_leg_is_answered(gate: Gate) -> None:
    far = gate.peer()
    far.say(PING)
    assert far.hear_body() == Pong.to(PING)
    assert gate.overlay.idle == 1


def test_padding_is_given_to_a_peer_that_asks_and_sessions_follow(gate: Gate) -> None:
    far, count = gate.peer(), 0
    far.say(Ping(2, 77, 100_000))
    while isinstance(item := far.hear(), Payload):
        assert item.header.type is FrameType.PAD
        count += len(item.part)
    assert (item.type, count) == (FrameType.PONG, 100_000)
    assert gate.session(far).state.in_session


def test_a_peer_that_leaves_while_padding_comes_is_forgotten(gate: Gate) -> None:
    far = gate.peer()
    far.say(Ping(2, 77, PADDING_LIMIT))
    far.hear()
    far.sock.close()
    turn_until(lambda: len(gate.overlay) == 0)


@pytest.mark.parametrize(("name", "chosen"), [("oregon", "reno"), ("texas", "")])
def test_what_is_sent_to_a_peer_is_under_the_control_chosen_for_it(
    make_gate: Callable[..., Gate], name: str, chosen: str
) -> None:
    gate = make_gate(congestions={"oregon": "reno"})
    with socket.socket() as fresh:
        usual = fresh.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    leg = gate.session(gate.peer(name))
    found = leg.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    assert found == (chosen.encode().ljust(16, b"\0") if chosen else usual)


def test_a_control_that_cannot_be_had_is_named_and_costs_no_leg(
    make_gate: Callable[..., Gate], caplog: pytest.LogCaptureFixture
) -> None:
    gate = make_gate(congestions={"oregon": "none-such"})
    assert gate.session(gate.peer()).state.in_session
    assert "keeps the system's congestion control: cannot set TCP_CONGESTION to 'none-such'" in caplog.messages[0]


def test_sessions_follow_one_another_on_one_leg(gate: Gate) -> None:
    far = gate.peer()
    for number in range(1, 4):
        leg = gate.session(far, number)
        leg.say(Opened("mumbai", 5))
        far.send(plain(FIN, number))
        turn_until(lambda leg=leg: leg.readable and leg.hear_open() is None and leg.state.theirs == "ended")  # type: ignore[misc]
        leg.end_output()
        gate.floor.in_hub(leg.finish)
        assert far.hear_body() == Opened("mumbai", 5)
        assert far.hear() == Frame(FIN, number)
    assert gate.counts == (1, 1, 0, 0)


def test_the_next_open_may_come_in_one_segment_with_what_ends_a_refused_session(gate: Gate) -> None:
    far = gate.peer()
    leg = gate.session(far)
    far.send(data_header(1, 4), b"lost", plain(FIN, 1), encode(OPEN, session=2), plain(FIN, 2), encode(OPEN, session=3))
    turn_until(lambda: leg.readable)
    gate.refuse(leg)
    assert gate.next_session(1) is leg
    assert leg.state.session == 2
    gate.refuse(leg)  # what ends this one is in `rest`, and no edge will come
    assert gate.next_session(2) is leg
    assert leg.state.session == 3
    assert [far.hear_body() for _ in range(2)] == [REFUSED] * 2


def test_what_a_session_had_received_already_is_heard_without_a_further_edge(gate: Gate) -> None:
    far = gate.peer()
    leg = gate.session(far)
    leg.rest, leg.readable = plain(FIN, 1) + encode(OPEN, session=2), False  # as a pump leaves it after a short read
    gate.refuse(leg)
    assert gate.next_session(1) is leg
    assert far.hear_body() == REFUSED


def test_a_look_that_was_put_off_leaves_a_session_its_bytes(gate: Gate) -> None:
    far = gate.peer()
    leg = gate.session(far)
    leg.rest = plain(FIN, 1) + encode(OPEN, session=2) + data_header(2, 3) + b"abc"

    def refuse_as_an_edge_comes() -> None:
        leg.say(REFUSED)
        leg.finish()
        assert leg.on_readable is not None
        leg.on_readable()  # before the look that `finish` put off

    gate.floor.in_hub(refuse_as_an_edge_comes)
    assert gate.next_session(1) is leg
    settle()
    assert leg.rest == data_header(2, 3) + b"abc"


def test_a_leg_refused_at_once_each_time_is_never_heard_in_a_recursion(make_gate: Callable[..., Gate]) -> None:
    gate = make_gate()
    depth: list[int] = [0]
    deepest: list[int] = []

    def refuse_at_once(leg: PoolLeg, _: Open) -> None:
        depth[0] += 1
        deepest.append(depth[0])
        leg.say(REFUSED)
        leg.finish()
        depth[0] -= 1

    gate.overlay.on_open = refuse_at_once
    far = gate.peer()
    far.send(*(frame for number in range(1, 101) for frame in (encode(OPEN, session=number), plain(FIN, number))))
    assert [far.hear_body() for _ in range(100)] == [REFUSED] * 100
    assert set(deepest) == {1}
    turn_until(lambda: gate.overlay.idle == 1)


def test_much_payload_of_a_refused_session_is_thrown_away(gate: Gate) -> None:
    far = gate.peer()
    leg = gate.session(far)
    gate.refuse(leg)
    assert far.hear_body() == REFUSED
    for _ in range(4):
        far.send(data_header(1, DATA_LIMIT), bytes(DATA_LIMIT))
    far.send(plain(FIN, 1))
    assert gate.session(far, 2) is leg


def test_a_reset_after_a_refusal_ends_the_leg_without_blame(gate: Gate) -> None:
    far = gate.peer()
    gate.refuse(gate.session(far))
    far.say(Reset(104), 1)
    assert rest_of(far.sock)[0] == encode(REFUSED, session=1)
    assert gate.counts == (0, 1, 0, 0)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (data_header(1, 1) + b"x", "DATA while it is idle"),
        (plain(FIN, 1), "FIN while it is idle"),
        (encode(OPEN, session=2), "OPEN of session 2; expected 1"),
        (encode(OPEN, session=0), "OPEN of session 0; expected 1"),
        (encode(Pong(1, 1)), "PONG without a PING"),
        (encode(Opened("oregon", 1), session=1), "OPENED while it is idle"),
        (GOAWAY + GOAWAY, "GOAWAY twice"),
        (GOAWAY + encode(OPEN, session=1), "OPEN after GOAWAY"),
        (b"\x03\x00\x00\x01" + (2049).to_bytes(4), "OPEN frame must have 1 to 2048 bytes; found 2049"),
        (Header(FrameType.PAD, 0, DATA_LIMIT).pack()[:4] + (DATA_LIMIT + 1).to_bytes(4), "PAD frame must have"),
        (b"\x00" * 8, "expected a frame of type 1 to 12; found 0"),
        (Frame(FrameType.OPEN, 1, b"\x80").encode(), "OPEN: expected the keys d, v, c, t"),
        (Frame(FrameType.HELLO, 0, b"\x80").encode(), "HELLO while it is idle"),
    ],
)
def test_a_peer_that_breaks_the_protocol_loses_the_leg_and_is_named(
    gate: Gate, caplog: pytest.LogCaptureFixture, words: bytes, found: str
) -> None:
    far = gate.peer()
    far.send(words)
    assert rest_of(far.sock) == (b"", "reset")
    assert (gate.opened, gate.counts) == ([], (0, 1, 0, 1))
    [line] = caplog.messages
    assert line.startswith("closes a leg of gateway oregon: ")
    assert found in line


def test_only_one_line_a_while_tells_of_broken_protocols(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        far = gate.peer()
        far.send(bytes(8))
        rest_of(far.sock)
    assert gate.counts == (0, 5, 0, 5)
    assert len(caplog.messages) == 1


def test_the_end_of_an_idle_leg_is_answered_in_order(gate: Gate) -> None:
    far = gate.peer()
    far.send(GOAWAY)
    far.sock.shutdown(1)
    expect_end(far)
    turn_until(lambda: gate.counts == (0, 1, 0, 0))


@pytest.mark.parametrize("words", [b"", encode(OPEN, session=1)[:-1]], ids=["between frames", "in a frame"])
def test_a_leg_that_breaks_while_idle_is_forgotten_without_blame(gate: Gate, words: bytes) -> None:
    far = gate.peer()
    far.send(words)
    settle()
    reset(far.sock)
    turn_until(lambda: gate.counts == (0, 1, 0, 0))


def test_a_stream_that_ends_within_a_frame_is_forgotten_without_a_session(gate: Gate) -> None:
    far = gate.peer()
    far.send(encode(OPEN, session=1)[:-1])
    far.sock.close()
    turn_until(lambda: gate.counts == (0, 1, 0, 0))
    assert not gate.opened


def test_a_leg_that_its_session_closes_is_forgotten(gate: Gate) -> None:
    far = gate.peer()
    leg = gate.session(far)
    assert leg.last_words(32)
    gate.floor.in_hub(leg.close)
    assert (len(gate.overlay), gate.counts) == (0, (0, 1, 0, 0))


def test_beyond_its_room_a_newcomer_is_told_at_once(
    make_gate: Callable[..., Gate], caplog: pytest.LogCaptureFixture
) -> None:
    gate = make_gate(room=2)
    first = gate.peer()
    gate.peer("virginia")
    assert rest_of(gate.connect().sock) == (b"", "reset")
    assert caplog.messages == ["takes no leg of 192.0.2.1:5000: has 2, as many as it may (0 such lines not shown)"]
    first.sock.close()
    turn_until(lambda: gate.overlay.idle == 1)
    gate.peer("virginia")

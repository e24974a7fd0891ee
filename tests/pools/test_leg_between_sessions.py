"""A leg that waits for its next session, at the acceptor: what may come, and how it ends."""

import errno
import socket
from collections.abc import Iterator

import pytest

from pools.frame_bodies import Open, Ping, Pong, Refused, Where, encode
from pools.frames import FrameType, Header, Role, data_header
from pools.leg import EndOfLeg, PoolLeg
from pools.message_rules import LegCard
from pools.net.errors import ProtocolError
from pools.net.stream import StreamFailed
from tests.far_end import OPEN, FarEnd, plain, pool_leg
from tests.floor import Floor, turn_until

REFUSED = Refused("mumbai", errno.ECONNREFUSED, 5, Where.CONNECT)
PING = Ping(1, 77)


@pytest.fixture
def floor() -> Iterator[Floor]:
    with Floor() as floor:
        yield floor


def acceptor(floor: Floor) -> tuple[PoolLeg, FarEnd]:
    return pool_leg(floor, Role.ACCEPTOR)


def hear(leg: PoolLeg) -> Open | None:
    """Wait until something has come, and hear it."""
    turn_until(lambda: leg.readable)
    return leg.hear_open()


def hear_until_open(leg: PoolLeg) -> Open:
    """Hear what comes up to an OPEN, in however many portions that is."""
    while (heard := hear(leg)) is None:
        pass
    return heard


def test_an_open_is_heard_however_it_is_cut_and_what_is_behind_it_stays(floor: Floor) -> None:
    leg, far = acceptor(floor)
    frame = encode(OPEN, session=1)
    for octet in frame[:-1]:
        far.send(bytes([octet]))
        turn_until(lambda: leg.readable)
        assert leg.hear_open() is None
        assert not leg.readable
    far.send(frame[-1:], data_header(1, 3), b"abc")
    turn_until(lambda: leg.readable)
    assert leg.hear_open() == OPEN
    assert leg.rest == data_header(1, 3) + b"abc"
    leg.close()


def test_pings_and_padding_between_sessions_are_answered_and_thrown_away(floor: Floor) -> None:
    leg, far = acceptor(floor)
    far.send(Header(FrameType.PAD, 0, 50_000).pack(), bytes(50_000), encode(PING))
    turn_until(lambda: leg.readable and leg.hear_open() is None and leg.state.is_reusable and not leg.rest)
    assert far.hear_body() == Pong.to(PING)
    leg.close()


def test_what_a_refused_session_still_sends_is_thrown_away_up_to_the_next_open(floor: Floor) -> None:
    leg, far = acceptor(floor)
    far.send(encode(OPEN, session=1), data_header(1, 40_000), bytes(20_000))
    turn_until(lambda: leg.readable)
    assert leg.hear_open() == OPEN
    leg.say(REFUSED)
    far.send(bytes(20_000), data_header(1, 1), b"x", plain(FrameType.FIN, 1), encode(OPEN, session=2))
    assert hear_until_open(leg) == OPEN
    assert leg.state.session == 2
    leg.close()


def test_payload_that_no_session_was_refused_for_may_not_come(floor: Floor) -> None:
    leg, far = acceptor(floor)
    far.send(data_header(1, 1) + b"x")
    turn_until(lambda: leg.readable)
    with pytest.raises(ProtocolError, match="DATA while it is idle"):
        leg.hear_open()
    leg.close()


def waiting_bytes(leg: PoolLeg) -> int:
    return len(leg.socket.recv(1 << 17, socket.MSG_PEEK))


def test_a_leg_that_brings_much_leaves_others_their_turn_and_is_readable_still(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pools.leg._SHARE", 2)
    leg, far = acceptor(floor)
    far.send(Header(FrameType.PAD, 0, 50_000).pack() + bytes(50_000) + encode(OPEN, session=1))
    turn_until(lambda: leg.readable and waiting_bytes(leg) > 50_000)
    assert hear(leg) is None
    assert leg.readable
    assert hear_until_open(leg) == OPEN
    leg.close()


def test_the_end_between_sessions_is_in_order_and_any_other_is_not(floor: Floor) -> None:
    leg, far = acceptor(floor)
    far.sock.close()
    turn_until(lambda: leg.readable)
    with pytest.raises(EndOfLeg):
        leg.hear_open()
    leg.close()
    cut, far = acceptor(floor)
    far.send(encode(OPEN, session=1)[:20])
    far.sock.close()
    turn_until(lambda: cut.ending)
    with pytest.raises(StreamFailed) as raised:
        cut.hear_open()
    assert (type(raised.value), raised.value.errno) == (StreamFailed, errno.ECONNRESET)
    cut.close()


def test_the_end_during_a_refused_session_is_not_in_order(floor: Floor) -> None:
    leg, far = acceptor(floor)
    far.say(OPEN, 1)
    turn_until(lambda: leg.readable)
    leg.hear_open()
    leg.say(REFUSED)
    assert far.hear_body() == REFUSED
    far.sock.close()
    turn_until(lambda: leg.ending)
    with pytest.raises(StreamFailed) as raised:
        leg.hear_open()
    assert not isinstance(raised.value, EndOfLeg)
    leg.close()


def test_a_leg_is_fit_while_it_rests_and_is_not_too_old(floor: Floor) -> None:
    leg, far = pool_leg(floor, Role.OPENER)
    leg.card = LegCard(1, 0.0, 100.0)
    assert leg.is_fit(99.9)
    assert not leg.is_fit(100.0)
    leg.say(PING)
    assert not leg.is_fit(0.0)
    assert far.hear_body() == PING
    leg.state.received(FrameType.PONG, 0)
    assert leg.is_fit(0.0)
    leg.rest = b"x"
    assert not leg.is_fit(0.0)
    leg.rest = b""
    leg.owed += b"x"
    assert not leg.is_fit(0.0)
    leg.owed.clear()
    far.send(b"\x09")
    turn_until(lambda: leg.readable)
    assert not leg.is_fit(0.0)
    leg.close()
    assert not leg.is_fit(0.0)

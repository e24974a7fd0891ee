"""Padding on a leg before its first session: as much as was asked for, both ways, and nothing of it in the way."""

import errno
from collections.abc import Iterator
from functools import partial

import gevent
import pytest

from pools import padding
from pools.frame_bodies import PADDING_LIMIT, Ping, Pong, encode
from pools.frames import Frame, FrameType, Payload, Role
from pools.leg import PoolLeg
from pools.net.errors import LegError, ProtocolError
from tests.far_end import OPEN, FarEnd, plain, pool_leg, run
from tests.floor import Floor, settle, tcp_pair, turn_until

COUNT = 300_000
WISH = Ping(3, 77, COUNT)


@pytest.fixture
def floor() -> Iterator[Floor]:
    with Floor() as floor:
        yield floor


def acceptor(floor: Floor) -> tuple[PoolLeg, FarEnd]:
    """Give a leg that answers a wish for padding, and what a peer has of it, with buffers that hold little of it."""
    leg, far = pool_leg(floor, Role.ACCEPTOR, send_buffer=16_384, receive_buffer=16_384)
    leg.padder = padding.respond
    return leg, far


def hear(leg: PoolLeg) -> None:
    turn_until(lambda: leg.readable)
    assert leg.hear_open() is None


def hear_padding(far: FarEnd) -> tuple[int, list[Frame]]:
    """Hear up to a PONG: how much padding came, and which other frames."""
    count, frames = 0, list[Frame]()
    while not frames or frames[-1].type is not FrameType.PONG:
        item = far.hear()
        if isinstance(item, Payload):
            assert item.header.type is FrameType.PAD
            count += len(item.part)
        else:
            frames.append(item)
    return count, frames


def test_both_ends_send_as_much_and_the_leg_is_as_good_as_before(floor: Floor) -> None:
    ours, theirs = (floor.readiness.open(sock, PoolLeg) for sock in tcp_pair(send_buffer=16_384, receive_buffer=16_384))
    ours.begin(Role.OPENER, "mumbai")
    theirs.begin(Role.ACCEPTOR, "oregon")
    theirs.padder = padding.respond
    theirs.on_readable = partial(hear, theirs)
    outcome = run(floor, partial(padding.warm, ours, COUNT))
    turn_until(lambda: outcome)
    assert outcome == [None]
    assert theirs.padded_bytes == COUNT
    assert ours.state.is_reusable
    assert ours.is_fit(0.0)
    assert theirs.state.is_reusable
    theirs.on_readable = None
    ours.say(OPEN)
    turn_until(lambda: theirs.readable)
    assert theirs.hear_open() == OPEN
    for leg in (ours, theirs):
        leg.close()


def test_a_wish_is_granted_and_the_pong_is_behind_it(floor: Floor) -> None:
    leg, far = acceptor(floor)
    far.say(WISH)
    hear(leg)
    count, [pong] = hear_padding(far)
    assert (count, pong) == (COUNT, Frame(FrameType.PONG, 0, encode(Pong.to(WISH))[8:]))
    assert not leg.is_padding
    leg.close()


def test_a_leg_gets_so_much_in_all_however_often_it_asks(floor: Floor) -> None:
    leg, far = acceptor(floor)
    leg.padded_bytes = PADDING_LIMIT - 70_000
    for expected in (70_000, 0):
        far.say(WISH)
        hear(leg)
        assert hear_padding(far)[0] == expected
    leg.close()


def test_what_is_said_meanwhile_goes_between_two_frames_of_it(floor: Floor) -> None:
    leg, far = acceptor(floor)
    far.say(WISH)
    hear(leg)
    settle()
    assert leg.is_padding
    leg.say_plain(FrameType.GOAWAY)
    count, frames = hear_padding(far)
    assert (count, [frame.type for frame in frames]) == (COUNT, [FrameType.GOAWAY, FrameType.PONG])
    leg.close()


def test_no_session_opens_before_all_of_it_was_sent(floor: Floor) -> None:
    leg, far = acceptor(floor)
    far.say(WISH)
    hear(leg)
    settle()
    far.say(OPEN, session=1)
    turn_until(lambda: leg.readable)
    with pytest.raises(ProtocolError, match="no OPEN before the PONG"):
        leg.hear_open()
    leg.close()
    settle()  # and its greenlet ends


def test_a_second_wish_must_wait_for_the_answer(floor: Floor) -> None:
    leg, far = acceptor(floor)
    far.say(WISH)
    hear(leg)
    far.say(WISH)
    turn_until(lambda: leg.readable)
    with pytest.raises(ProtocolError, match="while the last one has no answer"):
        leg.hear_open()
    leg.close()


def test_no_wish_within_a_session_nor_from_an_acceptor(floor: Floor) -> None:
    leg, far = acceptor(floor)
    far.say(OPEN, session=1)
    turn_until(lambda: leg.readable)
    assert leg.hear_open() == OPEN
    far.say(WISH)
    turn_until(lambda: leg.readable)
    opener, its_far = pool_leg(floor, Role.OPENER)
    its_far.say(WISH)
    turn_until(lambda: opener.readable)
    for each in (leg, opener):
        with pytest.raises(ProtocolError, match="a wish for padding"):
            each.hear_open()
        each.close()


def test_an_acceptor_whose_peer_leaves_meanwhile_closes_the_leg(floor: Floor) -> None:
    leg, far = acceptor(floor)
    far.say(WISH)
    hear(leg)
    far.sock.close()
    turn_until(lambda: leg.fd < 0)


def test_an_opener_that_hears_nothing_gives_up_in_time_and_closes(floor: Floor) -> None:
    leg, _ = pool_leg(floor, Role.OPENER)
    outcome = run(floor, partial(padding.warm, leg, COUNT, limit_s=0.05))
    turn_until(lambda: outcome)
    [error] = outcome
    assert isinstance(error, LegError)
    assert (error.errno, leg.fd) == (errno.ETIMEDOUT, -1)


@pytest.mark.parametrize(
    ("said", "number"),
    [(b"", errno.ECONNRESET), (plain(FrameType.FIN, 1), errno.EPROTO)],
    ids=["the end", "nonsense"],
)
def test_an_opener_whose_peer_breaks_off_says_why_and_closes(floor: Floor, said: bytes, number: int) -> None:
    leg, far = pool_leg(floor, Role.OPENER)
    outcome = run(floor, partial(padding.warm, leg, 10_000))
    while not isinstance(item := far.hear(), Frame):
        pass
    assert item.type is FrameType.PING
    far.send(said)
    far.sock.close() if not said else None
    turn_until(lambda: outcome)
    [error] = outcome
    assert isinstance(error, LegError)
    assert error.errno in (number, errno.ENOTCONN)  # an end between frames is one in order
    assert leg.fd < 0


def test_an_opener_that_is_ended_meanwhile_closes(floor: Floor) -> None:
    leg, _ = pool_leg(floor, Role.OPENER)
    greenlet = gevent.spawn(padding.warm, leg, COUNT)
    settle()
    greenlet.kill()
    assert leg.fd < 0

"""One end of a leg: what it says, what it hears, and whose it is between sessions."""

import errno
import os
from collections.abc import Iterator

import pytest

from pools.frame_bodies import Opened, Ping, Pong, Refused, Reset, Where, encode
from pools.frames import DATA_LIMIT, Frame, FrameType, Role, data_header
from pools.leg import PoolLeg
from pools.leg_state import State
from pools.message_rules import LegCard
from pools.net.errors import Fault, ProtocolError
from pools.net.sockopts import Socket
from pools.net.stream import StreamClosed, StreamFailed
from tests.far_end import OPEN, FarEnd, Keeper, plain, pool_leg, run
from tests.floor import Floor, receive, reset, rest_of, settle, turn_until

SMALL = {"send_buffer": 4096, "receive_buffer": 4096}
OPENED = Opened("mumbai", 5)
REFUSED = Refused("mumbai", errno.ECONNREFUSED, 5, Where.CONNECT)
PING = Ping(1, 77)


@pytest.fixture
def floor() -> Iterator[Floor]:
    with Floor() as floor:
        yield floor


def acceptor(floor: Floor, **buffers: int) -> tuple[PoolLeg, FarEnd]:
    return pool_leg(floor, Role.ACCEPTOR, **buffers)


def answer_of(leg: PoolLeg) -> Opened | Refused:
    """Wait for the answer to an OPEN."""
    while (answer := leg.hear_answer()) is None:
        leg.wait_readable()
    return answer


def opener(floor: Floor, **buffers: int) -> tuple[PoolLeg, FarEnd]:
    return pool_leg(floor, Role.OPENER, **buffers)


def told(leg: PoolLeg, keeper: object = None) -> list[str]:
    keeper = keeper or leg.keeper
    assert isinstance(keeper, Keeper)
    return keeper.told


def opened(floor: Floor, **buffers: int) -> tuple[PoolLeg, FarEnd]:
    """Give an acceptor's leg with a session that is open."""
    leg, far = acceptor(floor, **buffers)
    far.say(OPEN, 1)
    turn_until(lambda: leg.readable)
    assert leg.hear_open() == OPEN
    leg.say(OPENED)
    assert far.hear_body() == OPENED
    return leg, far


def frame_of(far: FarEnd) -> Frame:
    frame = far.hear()
    assert isinstance(frame, Frame)
    return frame


def fill(leg: PoolLeg) -> int:
    """Fill the kernel's buffers with one payload, and leave that half written; give how much of it went."""
    sent = leg.socket.send(data_header(leg.state.session, DATA_LIMIT))
    leg.mid_frame = True
    while True:
        try:
            sent += leg.socket.send(bytes(DATA_LIMIT))
        except BlockingIOError:
            return sent


# Saying.


def test_what_is_said_carries_its_session_where_it_belongs_to_one(floor: Floor) -> None:
    leg, far = opener(floor)
    leg.say(PING)
    leg.say(OPEN)
    assert far.hear() == Frame(FrameType.PING, 0, encode(PING)[8:])
    assert far.hear() == Frame(FrameType.OPEN, 1, encode(OPEN)[8:])
    leg.end_output()
    assert far.hear() == Frame(FrameType.FIN, 1)
    assert (leg.state.ours, leg.state.theirs) == (State.ENDED, State.OPENING)
    leg.close()


def test_what_may_not_be_said_is_our_fault_and_says_nothing(floor: Floor) -> None:
    leg, far = opener(floor)
    with pytest.raises(ProtocolError, match="FIN while it is idle") as raised:
        leg.end_output()
    assert raised.value.fault is Fault.OURS
    leg.say(PING)
    assert far.hear_body() == PING
    leg.close()


def test_control_frames_behind_half_a_payload_wait_and_go_out_in_order_once_it_is_whole(floor: Floor) -> None:
    leg, far = opened(floor, **SMALL)
    sent = fill(leg)
    leg.say_plain(FrameType.GOAWAY)
    far.say(PING)
    turn_until(lambda: leg.readable)
    outcome = run(floor, leg.hear_open)
    assert outcome == [None]
    assert leg.owed == plain(FrameType.GOAWAY) + encode(Pong.to(PING))
    assert leg.unsent_bytes > len(leg.owed)

    def rest_of_payload() -> None:
        leg.send_all(bytes(8 + DATA_LIMIT - sent))
        leg.mid_frame = False
        leg.settle()

    done = run(floor, rest_of_payload)
    assert not done
    assert len(receive(far.sock, 8 + DATA_LIMIT)) == 8 + DATA_LIMIT
    assert far.hear() == Frame(FrameType.GOAWAY)
    assert far.hear_body() == Pong.to(PING)
    turn_until(lambda: done)
    assert done == [None]
    assert not leg.owed
    leg.close()


def test_the_hub_does_not_break_into_half_a_payload_though_there_is_room(floor: Floor) -> None:
    leg, far = opened(floor, **SMALL)
    sent = fill(leg)
    leg.say_plain(FrameType.GOAWAY)
    assert receive(far.sock, sent)
    settle()
    assert leg.owed == plain(FrameType.GOAWAY)
    with pytest.raises(BlockingIOError):
        far.sock.recv(1)
    leg.close()


def test_what_the_kernel_does_not_take_goes_out_by_itself_when_there_is_room(floor: Floor) -> None:
    leg, far = opened(floor, **SMALL)
    frame = data_header(1, 60_000) + bytes(60_000)
    leg.write(frame)
    leg.write(frame)
    leg.say_plain(FrameType.FIN)
    assert leg.owed
    assert receive(far.sock, 2 * len(frame)) == 2 * frame
    assert far.hear() == Frame(FrameType.FIN, 1)
    turn_until(lambda: not leg.owed)
    assert leg.on_writable is None
    leg.close()


def test_a_peer_that_asks_and_does_not_read_is_owed_no_more_than_a_limit(floor: Floor) -> None:
    leg, far = acceptor(floor, **SMALL)
    pings = encode(PING) * 1000
    with pytest.raises(ProtocolError, match="expected them to read what they ask for"):
        while True:
            far.send(pings)
            turn_until(lambda: leg.readable)
            leg.hear_open()
    assert len(leg.owed) <= 256 * 1024
    leg.close()


def test_a_write_to_a_broken_leg_wakes_who_reads_there(floor: Floor) -> None:
    leg, far = opened(floor, **SMALL)
    frame = data_header(1, 60_000) + bytes(60_000)
    leg.write(frame)
    leg.write(frame)
    woken: list[bool] = []
    leg.on_readable = lambda: woken.append(True)
    reset(far.sock)
    turn_until(lambda: woken)
    turn_until(lambda: not leg.owed)
    with pytest.raises(StreamFailed):
        leg.say_plain(FrameType.FIN)
    leg.close()


def test_settling_ends_when_the_leg_is_closed_meanwhile(floor: Floor) -> None:
    leg, _ = opened(floor, **SMALL)
    fill(leg)
    leg.say_plain(FrameType.GOAWAY)
    outcome = run(floor, leg.settle)
    assert not outcome
    floor.in_hub(leg.close)
    turn_until(lambda: outcome)
    assert isinstance(outcome[0], StreamClosed)
    assert not leg.owed


# Opening a session.


@pytest.mark.parametrize("answer", [OPENED, REFUSED])
def test_the_answer_to_an_open_is_waited_for_and_pings_meanwhile_are_answered(
    floor: Floor, answer: Opened | Refused
) -> None:
    leg, far = opener(floor)
    leg.say(OPEN)
    outcome = run(floor, lambda: answer_of(leg))
    far.say(PING)
    assert far.hear_body() == OPEN
    assert far.hear_body() == Pong.to(PING)
    assert not outcome
    far.send(encode(answer, session=1), data_header(1, 2) if answer is OPENED else b"")
    turn_until(lambda: outcome)
    assert outcome == [answer]
    assert leg.rest == (data_header(1, 2) if answer is OPENED else b"")
    leg.close()


@pytest.mark.parametrize(
    ("sent", "error", "number"),
    [
        (encode(Reset(errno.ETIMEDOUT), session=1), StreamFailed, errno.ETIMEDOUT),
        (b"", StreamFailed, errno.ECONNRESET),
        (encode(OPENED, session=1)[:-1], StreamFailed, errno.ECONNRESET),
        (data_header(1, 1) + b"x", ProtocolError, 0),
        (encode(OPENED, session=2), ProtocolError, 0),
        (b"HTTP/1.1 400 Bad Request", ProtocolError, 0),
    ],
    ids=["reset", "end", "cut off", "payload first", "another session", "garbage"],
)
def test_anything_else_than_an_answer_is_an_error(
    floor: Floor, sent: bytes, error: type[StreamFailed | ProtocolError], number: int
) -> None:
    leg, far = opener(floor)
    leg.say(OPEN)
    assert far.hear_body() == OPEN
    far.send(sent)
    far.sock.close()
    outcome = run(floor, lambda: answer_of(leg))
    turn_until(lambda: outcome)
    [raised] = outcome
    assert isinstance(raised, error)
    assert raised.errno == number
    leg.close()


# Whose it is.


def test_a_leg_whose_other_end_has_not_ended_is_not_kept_by_an_opener(floor: Floor) -> None:
    leg, far = opener(floor)
    keeper = leg.keeper
    leg.say(OPEN)
    leg.end_output()
    leg.finish()
    assert told(leg, keeper) == ["lost"]
    assert rest_of(far.sock)[1] == "end"


def test_an_opener_s_leg_that_is_idle_goes_back_and_one_that_goes_away_is_closed(floor: Floor) -> None:
    leg, far = opener(floor)
    keeper = leg.keeper
    leg.finish()
    assert (told(leg), leg.fd >= 0, leg.on_readable) == (["regain"], True, None)
    far.send(plain(FrameType.GOAWAY))
    leg.state.received(FrameType.GOAWAY, 0)
    leg.finish()
    assert told(leg, keeper) == ["regain", "lost"]


def test_an_acceptor_s_leg_goes_back_while_the_opener_has_not_ended_a_refused_session(floor: Floor) -> None:
    leg, far = acceptor(floor)
    far.say(OPEN, 1)
    turn_until(lambda: leg.readable)
    leg.hear_open()
    leg.say(REFUSED)
    leg.finish()
    assert (told(leg), leg.fd >= 0) == (["regain"], True)
    leg.close()


def test_an_acceptor_s_leg_goes_back_after_goaway_for_the_opener_is_to_close_it(floor: Floor) -> None:
    leg, far = opened(floor)
    leg.say_plain(FrameType.GOAWAY)
    leg.end_output()
    far.send(plain(FrameType.FIN, 1))
    turn_until(lambda: leg.readable and leg.hear_open() is None and not leg.state.in_session)
    leg.finish()
    assert (told(leg), leg.fd >= 0) == (["regain"], True)
    leg.close()


def test_a_leg_with_half_a_payload_written_or_a_reset_is_never_kept(floor: Floor) -> None:
    half, _ = acceptor(floor)
    half.mid_frame = True
    spent, _ = opened(floor)
    spent.say(Reset(errno.ECONNRESET))
    for leg in (half, spent):
        keeper = leg.keeper
        leg.finish()
        assert told(leg, keeper) == ["lost"]


def test_the_keeper_hears_of_a_close_once(floor: Floor) -> None:
    leg, _ = acceptor(floor)
    keeper = leg.keeper
    leg.close()
    leg.close()
    assert (told(leg, keeper), leg.keeper) == (["lost"], None)


def test_last_words_are_a_reset_with_its_reason_where_there_is_a_session(floor: Floor) -> None:
    leg, far = opened(floor)
    assert leg.last_words(errno.EPIPE)
    assert far.hear_body() == Reset(errno.EPIPE)
    assert not leg.last_words(errno.EPIPE)
    leg.close()
    assert not leg.last_words(errno.EPIPE)


def test_without_a_number_the_reason_is_that_we_gave_up(floor: Floor) -> None:
    leg, far = opened(floor)
    assert leg.last_words(0)
    assert far.hear_body() == Reset(errno.ECONNABORTED)
    leg.close()


def test_there_are_no_last_words_between_sessions_nor_in_half_a_payload(floor: Floor) -> None:
    idle, far = acceptor(floor)
    assert not idle.last_words(errno.EPIPE)
    half, _ = opened(floor)
    half.mid_frame = True
    assert not half.last_words(errno.EPIPE)
    idle.close()
    half.close()
    assert rest_of(far.sock)[0] == b""


def test_a_leg_handed_over_lives_on_at_its_new_owner_and_its_keeper_hears_nothing(floor: Floor) -> None:
    leg, far = opener(floor)
    leg.say(OPEN)
    leg.end_output()
    far.send(encode(REFUSED, session=1))
    run(floor, lambda: answer_of(leg))
    turn_until(lambda: leg.state.is_reusable)
    card = LegCard(1, 0.0, 1.0, session=leg.state.session)
    copy, keeper = os.dup(leg.fd), leg.keeper
    leg.hand_over()
    assert (told(leg, keeper), leg.fd, len(floor.readiness)) == ([], -1, 0)
    heir = floor.readiness.open(Socket(fileno=copy), PoolLeg)
    heir.begin(Role.OPENER, "mumbai", session=card.session, card=card)
    heir.say(OPEN)
    assert [frame_of(far).session for _ in range(3)] == [1, 1, 2]
    heir.close()

"""What is owed goes out first and in order; nothing comes between the header of a payload and its end."""

import socket
import sys
from collections.abc import Iterator

import pytest

from pools.frame_stream import RECEIVE_BYTES, FrameStream
from pools.frames import FrameType, Role
from pools.leg import EndOfLeg, PoolLeg
from pools.net.stream import StreamFailed
from tests.far_end import FarEnd, plain, pool_leg, run
from tests.floor import Floor, receive, reset, turn_until


@pytest.fixture
def floor() -> Iterator[Floor]:
    with Floor() as floor:
        yield floor


def stream(floor: Floor) -> tuple[PoolLeg, FarEnd]:
    """Give a leg, the one kind of such streams, and its other end."""
    return pool_leg(floor, Role.ACCEPTOR)


def test_a_short_read_is_the_last_and_spares_the_one_that_would_say_so(floor: Floor) -> None:
    leg, far = stream(floor)
    far.send(plain(FrameType.GOAWAY))
    turn_until(lambda: leg.readable)
    assert leg.receive_at_once()
    assert (leg.rest, leg.readable) == (plain(FrameType.GOAWAY), False)
    leg.rest = b""
    assert not leg.receive_at_once()
    far.send(plain(FrameType.GOAWAY))
    turn_until(lambda: leg.readable)
    leg.close()


def test_a_full_read_may_not_be_the_last(floor: Floor) -> None:
    leg, far = stream(floor)
    far.send(bytes(RECEIVE_BYTES))
    turn_until(lambda: leg.readable)
    got = 0
    while leg.receive_at_once():
        got, leg.rest = got + len(leg.rest), b""
    turn_until(lambda: got == RECEIVE_BYTES or leg.readable)
    leg.close()


def test_the_end_and_a_reset_are_told_apart(floor: Floor) -> None:
    ended, far = stream(floor)
    far.sock.close()
    turn_until(lambda: ended.ending)
    with pytest.raises(EndOfLeg):
        ended.receive_at_once()
    broken, far = stream(floor)
    reset(far.sock)
    turn_until(lambda: broken.unsure)
    with pytest.raises(StreamFailed) as raised:
        broken.receive_at_once()
    assert type(raised.value) is StreamFailed
    ended.close()
    broken.close()


def test_payload_that_begins_holds_back_what_is_said_until_it_is_whole(floor: Floor) -> None:
    leg, far = stream(floor)
    leg.mid_frame = True
    assert run(floor, lambda: leg.begin_payload(b"header")) == [None]
    leg.write(b"after")
    leg.socket.send(b"payload")
    assert receive(far.sock, 13) == b"headerpayload"
    leg.mid_frame = False
    assert run(floor, leg.settle) == [None]
    assert receive(far.sock, 5) == b"after"
    leg.close()


def test_what_may_wait_shares_a_packet_with_what_comes_next(floor: Floor) -> None:
    leg, far = stream(floor)
    leg.write(b"one ", may_wait=True)
    leg.write(b"packet")
    assert receive(far.sock, 10) == b"one packet"
    assert packets_sent(leg) == 1
    leg.close()


def packets_sent(leg: PoolLeg) -> int:
    """Count the packets with data, by tcpi_data_segs_out of linux/tcp.h."""
    told = leg.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
    return int.from_bytes(told[156:160], sys.byteorder)


def test_what_may_wait_does_so_for_a_moment_only(floor: Floor) -> None:
    leg, far = stream(floor)
    leg.write(b"nothing follows", may_wait=True)
    assert receive(far.sock, 15) == b"nothing follows"
    leg.close()


def test_what_has_come_is_counted_before_it_is_read_and_before_it_is_taken_apart(floor: Floor) -> None:
    leg, far = stream(floor)
    assert leg.unread_bytes(at_most=10) == 0
    far.send(b"1234567")
    turn_until(lambda: leg.readable)
    assert [leg.unread_bytes(at_most=most) for most in (10, 5)] == [7, 5]
    assert leg.receive_at_once()
    assert [leg.unread_bytes(at_most=most) for most in (10, 5)] == [7, 5]
    leg.close()


def test_of_a_leg_that_is_broken_nothing_is_counted(floor: Floor) -> None:
    leg, far = stream(floor)
    reset(far.sock)
    turn_until(lambda: leg.unsure)
    assert leg.unread_bytes(at_most=10) == 0
    leg.close()


def test_closing_forgets_what_is_owed(floor: Floor) -> None:
    leg, _ = stream(floor)
    leg.mid_frame = True
    leg.write(b"never said")
    assert leg.unsent_bytes == len(b"never said")
    leg.close()
    assert not leg.owed


def test_the_class_by_itself_does_not_know_what_an_end_means() -> None:
    with pytest.raises(NotImplementedError):
        FrameStream.at_end(object.__new__(FrameStream))

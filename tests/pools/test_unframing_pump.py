"""How pumps into and out of legs end: in order, by a reset, by a broken connection, by what may not come."""

import errno
import socket
from collections.abc import Callable

import pytest

from pools.frame_bodies import Ping, Pong, Reset, encode
from pools.frames import DATA_LIMIT, Frame, FrameType, data_header
from pools.leg_pumps import pump_between
from pools.leg_state import State
from pools.net.sockopts import unsent_bytes
from tests.far_end import OPEN, plain
from tests.floor import Floor, receive, reset, rest_of, segments, send_all, settle, turn_until
from tests.leg_lines import (
    ALPHABET,
    FIN,
    SESSION,
    Framed,
    Line,
    Owner,
    arrival,
    arrive,
    carry,
    count_calls,
    framed,
    framing,
    pad,
    take,
    transit,
    unframing,
)

PING = encode(Ping(5, 77))
OUT_OF_A_LEG = [unframing, transit]
INTO_A_LEG = [framing, transit]


@pytest.mark.parametrize("kind", OUT_OF_A_LEG)
def test_fin_right_behind_data_ends_one_direction_and_no_more(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line = kind(floor)
        arrived = arrival(line)
        send_all(line.far_source, framed(b"all") + FIN + encode(OPEN, session=SESSION + 1))
        carry(line, b"", arrived)
        assert (arrived.payload, line.owner.ended, line.pump.ended) == (b"all", 1, True)
        assert line.source_leg.rest == encode(OPEN, session=SESSION + 1)
        assert (line.source_leg.state.theirs, line.source_leg.state.ours) == (State.ENDED, State.OPEN)
        line.close()


@pytest.mark.parametrize("kind", OUT_OF_A_LEG)
def test_fin_right_behind_data_goes_on_in_the_same_packet(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line = kind(floor)
        arrived = arrival(line)
        before = segments(line.far_sink)
        send_all(line.far_source, framed(b"all") + FIN)
        carry(line, b"", arrived)
        assert (arrived.payload, segments(line.far_sink) - before) == (b"all", 1)
        line.close()


@pytest.mark.parametrize("kind", OUT_OF_A_LEG)
def test_half_a_fin_keeps_nothing_back(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line = kind(floor)
        send_all(line.far_source, framed(b"all") + FIN[:-1])
        turn_until(lambda: line.pump.moved_bytes)
        assert unsent_bytes(line.sink.fd) == 0
        line.close()


@pytest.mark.parametrize(("kind", "call"), [(unframing, "send"), (transit, "sendmsg")])
def test_what_was_received_already_costs_no_read(kind: Callable[..., Line], call: str) -> None:
    with Floor() as floor:
        line = kind(floor)
        reads, writes = count_calls(line.source), count_calls(line.sink)
        line.source_leg.rest = framed(b"it came behind OPEN")
        line.pump.wake()
        assert (reads, writes, line.pump.moved_bytes) == ([], [call], 19)
        line.close()


def test_each_direction_of_a_session_ends_by_itself() -> None:
    with Floor() as floor:
        out = unframing(floor)
        owner = Owner()
        back = pump_between(out.sink, out.source, owner=owner, room=floor.room)
        out.sink.on_readable = back.wake
        send_all(out.far_source, framed(b"request") + FIN)
        assert rest_of(out.far_sink) == (b"request", "end")
        send_all(out.far_sink, b"answer")
        out.far_sink.shutdown(socket.SHUT_WR)
        answer = framed(b"answer") + FIN
        assert receive(out.far_source, len(answer)) == answer
        turn_until(lambda: owner.ended)
        assert (out.owner.failed, owner.failed, out.source_leg.state.is_reusable) == ([], [], True)
        out.close()


@pytest.mark.parametrize("size", [0, 10, 20_000, 500_000])
@pytest.mark.parametrize("kind", OUT_OF_A_LEG)
def test_all_that_came_before_a_reset_arrives_and_then_its_errno_is_told(kind: Callable[..., Line], size: int) -> None:
    with Floor() as floor:
        line = kind(floor, sink_buffer=4096)
        arrived = arrival(line)
        wire = framed(ALPHABET[:size]) + encode(Reset(errno.ETIMEDOUT), session=SESSION) + b"thrown away"
        arrive(line, arrived, size, sent=wire)
        turn_until(lambda: line.owner.failed)
        assert (arrived.payload, line.owner.failed) == (ALPHABET[:size], [(line.source, errno.ETIMEDOUT)])
        assert line.owner.ended == 0
        line.close()


def cut_off(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)


IN_MID_FRAME = data_header(SESSION, 100_000) + ALPHABET[:60_000]
CUT_OFF = {
    "between frames": b"",
    "in a header": PING[:3],
    "in a control frame": PING[:-1],
    "in small data": data_header(SESSION, 50) + b"x" * 49,
    "in large data": IN_MID_FRAME,
    "behind data": framed(ALPHABET[:300_000]),
    "in padding": pad(30_000)[:20_000],
}


@pytest.mark.parametrize("wire", CUT_OFF.values(), ids=CUT_OFF.keys())
@pytest.mark.parametrize("end", [cut_off, reset])
@pytest.mark.parametrize("kind", OUT_OF_A_LEG)
def test_a_leg_that_ends_in_mid_session_is_reset_and_has_no_end(
    kind: Callable[..., Line], end: Callable[[socket.socket], None], wire: bytes
) -> None:
    with Floor() as floor:
        line = kind(floor)
        arrived = arrival(line)
        size = {CUT_OFF["in small data"]: 49, IN_MID_FRAME: 60_000}.get(wire, 300_000 if len(wire) > 200_000 else 0)
        arrive(line, arrived, size, sent=wire)
        end(line.far_source)
        turn_until(lambda: line.owner.failed)
        settle(3)
        assert line.owner.failed == [(line.source, errno.ECONNRESET)]
        assert (line.owner.ended, line.pump.ended, line.pump.moved_bytes) == (0, True, size)
        line.close()


WRONG = {
    "no such type": b"\x7f" + bytes(7),
    "a flag": b"\x06\x01" + data_header(SESSION, 3)[2:] + b"abc",
    "no payload": data_header(SESSION, 1)[:4] + bytes(4),
    "too much payload": data_header(SESSION, 1)[:4] + (DATA_LIMIT + 1).to_bytes(4, "big"),
    "data of another session": data_header(SESSION + 1, 3) + b"abc",
    "large data of another session": data_header(SESSION + 1, 90_000) + bytes(60_000),
    "fin of another session": plain(FrameType.FIN, SESSION - 1),
    "open": encode(OPEN, session=SESSION + 1),
    "a second answer": plain(FrameType.GOAWAY) + plain(FrameType.GOAWAY),
    "pong to nobody": encode(Pong(1, 1)),
    "ping of a session": encode(Ping(1, 1), session=SESSION),
    "padding of a session": b"\x0c\x00\x00\x07" + (3).to_bytes(4, "big") + b"abc",
    "no msgpack": Frame(FrameType.PING, 0, b"\xc1").encode(),
}


@pytest.mark.parametrize("wire", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", OUT_OF_A_LEG)
def test_what_may_not_come_fails_the_leg_and_nothing_of_it_passes(
    kind: Callable[..., Line], large: bool, wire: bytes
) -> None:
    with Floor() as floor:
        line = kind(floor)
        arrived = arrival(line)
        size = 400_000 if large else 3
        arrive(line, arrived, size, sent=framed(ALPHABET[:size]) + wire)
        turn_until(lambda: line.owner.failed)
        assert line.owner.failed == [(line.source, errno.EPROTO)]
        settle(3)
        assert (arrived.payload, take(line.far_sink, 9), line.owner.ended) == (ALPHABET[:size], None, 0)
        line.close()


@pytest.mark.parametrize("size", [10, 500_000])
@pytest.mark.parametrize("kind", [framing, unframing, transit])
def test_a_sink_that_broke_is_told_once(kind: Callable[..., Line], size: int) -> None:
    with Floor() as floor:
        line = kind(floor, sink_buffer=4096)
        wire = ALPHABET[:size] if kind is framing else framed(ALPHABET[:size])
        reset(line.far_sink)
        settle(2)
        line.far_source.send(wire)
        turn_until(lambda: line.owner.failed)
        settle()
        assert [leg for leg, _ in line.owner.failed] == [line.sink]
        assert (floor.pipes.lent, line.owner.ended) == (0, 0)
        line.close()


@pytest.mark.parametrize("kind", INTO_A_LEG)
def test_a_source_that_broke_is_told_after_what_it_said(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line, arrived = kind(floor), Framed()
        sent = ALPHABET[:300_000] if kind is framing else framed(ALPHABET[:300_000])
        arrive(line, arrived, 300_000, sent=sent)
        reset(line.far_source)
        turn_until(lambda: line.owner.failed)
        assert line.owner.failed == [(line.source, errno.ECONNRESET)]
        assert (arrived.payload, arrived.said, arrived.is_between_frames) == (ALPHABET[:300_000], [], True)
        line.close()

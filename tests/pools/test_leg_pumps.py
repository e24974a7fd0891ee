"""Pumps into and out of legs: any cut of the bytes gives the same payload, and nothing said is lost between it."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.frame_bodies import Ping, encode
from pools.frames import HEADER_BYTES, Frame, FrameType, data_header
from pools.leg_pumps import FramingPump, TransitPump, pump_between
from pools.leg_state import State
from pools.net.pump import Pump
from pools.unframing_pump import UnframingPump
from tests.far_end import plain
from tests.floor import Floor, receive, send_all, settle
from tests.leg_lines import (
    ALPHABET,
    FIN,
    ONWARD,
    SESSION,
    Framed,
    Line,
    NoPipes,
    Owner,
    arrival,
    arrive,
    carry,
    count_calls,
    framed,
    framing,
    leg_in_session,
    pad,
    pongs,
    transit,
    unframing,
    unread,
)

PING = encode(Ping(5, 77))
GOAWAY = plain(FrameType.GOAWAY)
OUT_OF_A_LEG = [unframing, transit]
INTO_A_LEG = [framing, transit]


def test_the_kinds_of_the_streams_tell_which_pump_leads_between_them() -> None:
    with Floor() as floor:
        ends = [(floor.leg()[0], leg_in_session(floor, SESSION)[0]) for _ in range(2)]
        (stream, leg), (other_stream, other_leg) = ends
        kinds = {
            Pump: (stream, other_stream),
            FramingPump: (stream, leg),
            UnframingPump: (leg, stream),
            TransitPump: (leg, other_leg),
        }
        for kind, (source, sink) in kinds.items():
            assert type(pump_between(source, sink, owner=Owner(), room=floor.room)) is kind
        for end in (stream, leg, other_stream, other_leg):
            end.close()


def test_a_small_message_becomes_a_frame_by_one_read_and_one_write() -> None:
    with Floor() as floor:
        line = framing(floor)
        reads, writes = count_calls(line.source), count_calls(line.sink)
        for number in range(20):
            send_all(line.far_source, b"%3d" % number)
            assert receive(line.far_sink, HEADER_BYTES + 3) == data_header(ONWARD, 3) + b"%3d" % number
        assert (reads, writes) == (["recv_into"] * 20, ["send"] * 20)
        assert (floor.greenlets.made, line.pump.moved_bytes, floor.room.copied_bytes) == (0, 60, 60)
        line.close()


@pytest.mark.parametrize(("kind", "call"), [(unframing, "send"), (transit, "sendmsg")])
def test_a_small_frame_is_passed_on_by_one_read_and_one_write(kind: Callable[..., Line], call: str) -> None:
    with Floor() as floor:
        line = kind(floor)
        arrived = arrival(line)
        reads, writes = count_calls(line.source), count_calls(line.sink)
        for number in range(20):
            arrive(line, arrived, 3 * number + 3, sent=framed(b"%3d" % number))
            assert arrived.payload[-3:] == b"%3d" % number
        assert (reads, writes) == (["recv_into"] * 20, [call] * 20)
        assert (floor.greenlets.made, line.pump.moved_bytes, floor.room.copied_bytes) == (0, 60, 60)
        line.close()


@pytest.mark.parametrize("kind", OUT_OF_A_LEG)
def test_frames_in_one_segment_are_passed_on_in_order(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line = kind(floor)
        arrived = arrival(line)
        send_all(line.far_source, framed(ALPHABET[:3000], [1, 70, 3, 500]) + FIN)
        carry(line, b"", arrived)
        assert (arrived.payload, line.owner.ended, line.pump.moved_bytes) == (ALPHABET[:3000], 1, 3000)
        line.close()


PORTIONS = st.lists(st.sampled_from([1, 7, 700, 16_383, 16_384, 65_536, 200_000]), min_size=1, max_size=6)
PAUSES = st.lists(st.sampled_from([0, 0, 500, 8192, 65_536, 400_000]), max_size=5).map(lambda reads: [*reads, 65_536])
BUFFERS = st.sampled_from([0, 4096, 32_768])


@settings(max_examples=40)
@given(size=st.integers(1, 400_000), writes=PORTIONS, reads=PAUSES, buffer=BUFFERS, splice=st.booleans())
def test_any_cut_of_a_stream_arrives_in_frames_and_then_fin(
    size: int, writes: list[int], reads: list[int], buffer: int, splice: bool
) -> None:
    with Floor(splice=splice) as floor:
        line, arrived = framing(floor, sink_buffer=buffer), Framed()
        carry(line, ALPHABET[:size], arrived, writes=[max(part, size // 500) for part in writes], reads=reads)
        assert arrived.payload == ALPHABET[:size]
        assert arrived.said == [Frame(FrameType.FIN, ONWARD)]
        assert (line.owner.ended, line.owner.failed, line.pump.moved_bytes) == (1, [], size)
        line.close()


FRAMES = st.lists(st.sampled_from([1, 5, 900, 16_384, 70_000, 150_000]), min_size=1, max_size=4)
BETWEEN = st.sampled_from([b"", PING, PING + PING, pad(3), pad(40_000), pad(9) + PING + pad(20_000)])
BEHIND = st.sampled_from([b"", PING + b"\x03", b"anything " * 40])


WIRES = st.tuples(st.integers(1, 300_000), FRAMES, BETWEEN)


@settings(max_examples=80)
@given(
    kind=st.sampled_from(OUT_OF_A_LEG),
    wire=WIRES,
    behind=BEHIND,
    cut=st.tuples(PORTIONS, PAUSES, BUFFERS),
    splice=st.sampled_from(["splice", "no pipes", "copy"]),
)
def test_any_cut_of_any_frames_gives_the_same(
    kind: Callable[..., Line],
    wire: tuple[int, list[int], bytes],
    behind: bytes,
    cut: tuple[list[int], list[int], int],
    splice: str,
) -> None:
    (size, sizes, between), (writes, reads, buffer) = wire, cut
    with Floor(splice=splice != "copy") as floor:
        if splice == "no pipes":
            floor.room.pipes = NoPipes()  # type: ignore[assignment]
        line = kind(floor, sink_buffer=buffer)
        arrived = arrival(line)
        frames = framed(ALPHABET[:size], [max(part, size // 50) for part in sizes], between=between)
        whole = frames + FIN + behind
        carry(line, whole, arrived, writes=[max(part, len(whole) // 500) for part in writes], reads=reads)
        assert arrived.payload == ALPHABET[:size]
        assert (line.owner.ended, line.owner.failed, line.pump.moved_bytes) == (1, [], size)
        assert pongs(line, frames.count(PING)) == [5] * frames.count(PING)
        assert line.source_leg.state.theirs is State.ENDED
        assert unread(line, len(behind)) == behind
        line.close()


@pytest.mark.parametrize("kind", OUT_OF_A_LEG)
def test_frames_cut_in_two_anywhere_give_the_same(kind: Callable[..., Line]) -> None:
    wire = framed(b"one") + PING + framed(b"two") + pad(5) + GOAWAY + framed(b"three!") + FIN + b"behind"
    with Floor() as floor:
        for place in range(1, len(wire)):
            line = kind(floor)
            arrived = arrival(line)
            send_all(line.far_source, wire[:place])
            settle(3)
            carry(line, wire[place:], arrived)
            assert (arrived.payload, line.owner.ended, line.owner.failed) == (b"onetwothree!", 1, [])
            assert pongs(line, 1) == [5]
            assert unread(line, 6) == b"behind"
            assert line.source_leg.state.going_away
            line.close()

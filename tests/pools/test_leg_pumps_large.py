"""Long transfers into, out of and between legs: spliced, held back by a slow reader, with frames in between."""

from collections.abc import Callable

import pytest

from pools.frame_bodies import Ping, Pong, decode, encode
from pools.frames import DATA_LIMIT, Frame, FrameType
from pools.leg_pumps import pump_between
from pools.net.pipes import CAPACITY_BYTES
from pools.net.pump import COPY_BYTES
from tests.far_end import plain
from tests.floor import Floor, receive, send_all, settle, turn_until
from tests.leg_lines import (
    ALPHABET,
    FIN,
    ONWARD,
    SESSION,
    Framed,
    Line,
    Owner,
    arrival,
    arrive,
    carry,
    framed,
    framing,
    offer,
    pad,
    pongs,
    take,
    transit,
    unframing,
)

ALL = [framing, unframing, transit]
OUT_OF_A_LEG = [unframing, transit]
INTO_A_LEG = [framing, transit]
PING = encode(Ping(5, 77))
LARGE = ALPHABET * 41  # 51 MB


def wire_of(kind: Callable[..., Line], data: bytes, sizes: tuple[int, ...] = (262_144,), between: bytes = b"") -> bytes:
    return data if kind is framing else framed(data, sizes, between=between) + FIN


@pytest.mark.parametrize("splice", [True, False])
@pytest.mark.parametrize("kind", ALL)
def test_a_large_transfer_arrives_whole_and_is_spliced_where_that_is_wanted(
    kind: Callable[..., Line], splice: bool
) -> None:
    with Floor(splice=splice) as floor:
        line = kind(floor)
        arrived = arrival(line)
        carry(line, wire_of(kind, LARGE, (DATA_LIMIT, 300_000, 70_000)), arrived, writes=[3_000_000])
        assert arrived.payload == LARGE
        assert (line.owner.ended, line.owner.failed, line.pump.moved_bytes) == (1, [], len(LARGE))
        assert floor.room.copied_bytes + floor.room.spliced_bytes == len(LARGE)
        assert (floor.room.spliced_bytes > 0.9 * len(LARGE)) is splice
        assert floor.room.spliced_bytes == 0 or splice
        line.close()


@pytest.mark.parametrize("kind", ALL)
def test_small_and_large_frames_take_turns(kind: Callable[..., Line]) -> None:
    data = LARGE[:6_000_000]
    with Floor() as floor:
        line = kind(floor)
        arrived = arrival(line)
        wire = wire_of(kind, data, (5, DATA_LIMIT, 3, 16_384, 1, 1, 65_536, 16_383, 200_000))
        carry(line, wire, arrived, writes=[9, 400_000, 70_000], reads=[1_000_000, 0, 30_000])
        assert arrived.payload == data
        assert floor.room.copied_bytes + floor.room.spliced_bytes == len(data)
        line.close()


@pytest.mark.parametrize("kind", ALL)
def test_small_messages_are_copied_again_after_a_large_transfer(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line = kind(floor)
        arrived = arrival(line)
        arrive(line, arrived, 900_000, sent=wire_of(kind, ALPHABET[:900_000]).removesuffix(FIN))
        turn_until(lambda: floor.at_work == 0)
        copied = floor.room.copied_bytes
        for number in range(1, 6):  # the first one after a burst may still be spliced
            arrive(line, arrived, 900_000 + 5 * number, sent=wire_of(kind, b"small").removesuffix(FIN))
            turn_until(lambda: floor.at_work == 0)
        assert floor.room.copied_bytes - copied in {20, 25}
        assert (arrived.payload[900_000:], floor.pipes.lent) == (b"small" * 5, 0)
        line.close()


@pytest.mark.parametrize("splice", [True, False])
@pytest.mark.parametrize("kind", ALL)
def test_a_sink_that_does_not_read_bounds_what_is_read_and_holds_one_greenlet(
    kind: Callable[..., Line], splice: bool
) -> None:
    with Floor(splice=splice) as floor:
        line = kind(floor, sink_buffer=4096)
        arrived = arrival(line)
        wire = wire_of(kind, LARGE[:20_000_000])
        written = 0

        def is_full() -> bool:
            nonlocal written
            written += (taken := offer(line.far_source, wire[written : written + 100_000]))
            return not taken

        turn_until(is_full)
        settle()
        held = line.pump.moved_bytes
        assert (floor.at_work, floor.pipes.lent <= 1) == (1, True)
        settle()
        assert line.pump.moved_bytes == held < written  # the rest waits in the source's own buffers
        assert held <= CAPACITY_BYTES + 2 * COPY_BYTES + 64 * 1024  # one pipe, what was read, the sink's own buffers
        arrive(line, arrived, held)
        line.drop()


@pytest.mark.parametrize("kind", OUT_OF_A_LEG)
def test_what_is_said_between_large_frames_is_heard_in_order(kind: Callable[..., Line]) -> None:
    data = LARGE[:8_000_000]
    with Floor() as floor:
        line = kind(floor)
        arrived = arrival(line)
        pings = [encode(Ping(number, 0)) for number in range(5)]
        parts = [framed(data[start : start + 1_600_000], [400_000]) for start in range(0, 8_000_000, 1_600_000)]
        wire = b"".join(part + ping for part, ping in zip(parts, pings, strict=True))
        carry(line, wire + plain(FrameType.GOAWAY) + FIN, arrived)
        assert (arrived.payload, line.pump.moved_bytes) == (data, 8_000_000)
        assert pongs(line, 5) == [0, 1, 2, 3, 4]
        assert line.source_leg.state.going_away
        assert floor.room.spliced_bytes > 4_000_000
        line.close()


@pytest.mark.parametrize("size", [1, 5000, DATA_LIMIT])
@pytest.mark.parametrize("kind", OUT_OF_A_LEG)
def test_padding_between_large_frames_is_thrown_away(kind: Callable[..., Line], size: int) -> None:
    data = LARGE[:8_000_000]
    with Floor() as floor:
        line = kind(floor)
        arrived = arrival(line)
        carry(line, framed(data, [600_000], between=pad(size)) + FIN, arrived)
        assert (arrived.payload, line.pump.moved_bytes) == (data, 8_000_000)
        assert floor.room.copied_bytes + floor.room.spliced_bytes == 8_000_000
        line.close()


@pytest.mark.parametrize("kind", INTO_A_LEG)
def test_an_answer_to_ping_goes_between_two_frames_of_a_transfer_that_is_stuck(kind: Callable[..., Line]) -> None:
    data = LARGE[:3_000_000]
    with Floor() as floor:
        line, arrived = kind(floor, sink_buffer=4096), Framed()
        back = pump_between(line.sink, line.source, owner=Owner(), room=floor.room)
        line.sink.on_readable = back.wake
        wire = memoryview(wire_of(kind, data))

        def is_stuck() -> bool:
            """Read just so much that the pump goes over to splicing, and no more."""
            nonlocal wire
            wire = wire[offer(line.far_source, wire) :]
            if not floor.pipes.lent and (piece := take(line.far_sink, 65_536)):
                arrived.feed(piece)
            return line.sink_leg.mid_frame

        turn_until(is_stuck)
        send_all(line.far_sink, PING)
        turn_until(lambda: line.sink_leg.owed)
        carry(line, bytes(wire), arrived)
        assert arrived.payload == data
        assert [decode(frame) for frame in arrived.said] == [Pong(5, 77), None]
        line.close()


@pytest.mark.parametrize("kind", INTO_A_LEG)
def test_what_is_owed_goes_out_before_payload_and_fin(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line, arrived = kind(floor, sink_buffer=4096), Framed()
        padded = 0
        while not line.sink_leg.owed:
            line.sink_leg.write(pad(1000))
            padded += 1000
        send_all(line.far_source, b"late" if kind is framing else framed(b"late"))
        settle(3)
        assert floor.at_work == 1
        carry(line, wire_of(kind, b", but here"), arrived)
        assert (arrived.payload, arrived.padding_bytes) == (b"late, but here", padded)
        assert arrived.said == [Frame(FrameType.FIN, ONWARD)]
        line.close()


def test_fin_is_owed_where_there_is_no_room_for_it() -> None:
    with Floor() as floor:
        line, arrived = framing(floor, sink_buffer=4096), Framed()
        while not line.sink_leg.owed:
            line.sink_leg.write(pad(1000))
        line.sink_leg.end_output()
        assert bytes(line.sink_leg.owed).endswith(Frame(FrameType.FIN, ONWARD).encode())
        carry(line, b"", arrived)
        assert arrived.said == [Frame(FrameType.FIN, ONWARD)]
        line.close()


FLOODS = {"padding": pad(65_528), "tiny frames": framed(b"x" * 7000, [1])}


@pytest.mark.parametrize("splice", [True, False])
@pytest.mark.parametrize("flood", [*FLOODS.values(), framed(ALPHABET[:400_000])], ids=[*FLOODS, "large frames"])
@pytest.mark.parametrize("kind", OUT_OF_A_LEG)
def test_a_flood_of_frames_does_not_starve_a_small_session(
    kind: Callable[..., Line], flood: bytes, splice: bool
) -> None:
    with Floor(splice=splice) as floor:
        bulk, small = kind(floor), unframing(floor)
        wire = memoryview(flood * (2_000_000 // len(flood)))
        left, poured, pouring = wire, 0, [True]

        def pour() -> None:
            """Keep the bulk pump busy without end, from inside the same loop."""
            nonlocal left, poured
            taken = offer(bulk.far_source, left)
            left, poured = left[taken:] or wire, poured + taken
            take(bulk.far_sink, 4_000_000)
            if pouring[0]:
                floor.readiness.defer(pour)
            else:
                pouring.clear()

        floor.readiness.defer(pour)
        turn_until(lambda: poured > 200_000)
        for _ in range(2):
            before = poured
            send_all(small.far_source, framed(b"ping"))
            assert receive(small.far_sink, 4) == b"ping"
            assert poured - before < 64 * 1024 * 1024
        pouring[0] = False
        turn_until(lambda: not pouring)
        assert (bulk.owner.failed, SESSION) == ([], bulk.source_leg.state.session)
        bulk.drop()
        small.close()


def test_half_a_session_goes_on_for_long_after_the_other_half_ended() -> None:
    data = LARGE[:4_000_000]
    with Floor() as floor:
        line = framing(floor)
        back = pump_between(line.sink, line.source, owner=(owner := Owner()), room=floor.room)
        line.sink.on_readable = back.wake
        send_all(line.far_sink, Frame(FrameType.FIN, ONWARD).encode())
        turn_until(lambda: owner.ended)
        arrived = Framed()
        carry(line, data, arrived)
        assert (arrived.payload, take(line.far_source, 1)) == (data, b"")
        assert line.sink_leg.state.is_reusable
        line.close()

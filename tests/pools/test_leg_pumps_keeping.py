"""What goes into a leg before its session is confirmed: kept, said again on another leg, and never too much."""

import errno
from collections.abc import Callable

import pytest

from pools.frame_bodies import Ping, encode
from pools.frames import Frame, FrameType
from pools.leg_pumps import KEPT_LIMIT_BYTES
from pools.net.stream import StreamFailed
from tests.floor import Floor, reset, send_all, settle, turn_until
from tests.leg_lines import (
    ALPHABET,
    FIN,
    ONWARD,
    Framed,
    Line,
    arrive,
    carry,
    framed,
    framing,
    leg_in_session,
    offer,
    pad,
    pongs,
    transit,
)

INTO_A_LEG = [framing, transit]
PING = encode(Ping(5, 77))
OVER = [Frame(FrameType.FIN, ONWARD)]


def said(kind: Callable[..., Line], data: bytes, sizes: tuple[int, ...] = (1000,)) -> bytes:
    return data if kind is framing else framed(data, sizes)


def go_on(line: Line, *, sink_buffer: int = 0) -> None:
    """Take another leg, as a session does whose first one broke or was refused."""
    line.sink.close()
    line.sink, line.far_sink = leg_in_session(line.floor, ONWARD, buffer=sink_buffer)
    line.into.redirect(line.sink_leg)
    line.floor.in_hub(line.pump.wake)


def fill_up(line: Line, kind: Callable[..., Line]) -> memoryview:
    """Say more than is kept; give what was not taken from us."""
    left = memoryview(said(kind, ALPHABET[:900_000], (999, 20_000, 70_000)))
    while taken := offer(line.far_source, left):
        left = left[taken:]
        settle(2)
    return left


@pytest.mark.parametrize("words", [b"", b"a greeting, "])
@pytest.mark.parametrize("kind", INTO_A_LEG)
def test_what_was_said_on_one_leg_is_said_again_on_the_next(kind: Callable[..., Line], words: bytes) -> None:
    with Floor() as floor:
        line, first = kind(floor), Framed()
        line.into.keep(words)
        arrive(line, first, len(words) + 2500, sent=said(kind, ALPHABET[:2500]))
        assert (first.payload, line.kept) == (words + ALPHABET[:2500], words + ALPHABET[:2500])
        second = Framed()
        go_on(line)
        line.into.confirm()
        carry(line, said(kind, b" and more") + (FIN if kind is transit else b""), second)
        assert (second.payload, second.said) == (words + ALPHABET[:2500] + b" and more", OVER)
        assert (line.kept, line.pump.moved_bytes, line.owner.failed) == (None, 2509, [])
        line.close()


@pytest.mark.parametrize("kind", INTO_A_LEG)
def test_fin_is_said_again_too(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line, first, second = kind(floor), Framed(), Framed()
        line.into.keep(b"")
        carry(line, said(kind, b"all of it") + (FIN if kind is transit else b""), first)
        line.sink.close()
        line.sink, line.far_sink = leg_in_session(floor, ONWARD)
        line.into.redirect(line.sink_leg)
        arrive(line, second, 99)
        assert (second.payload, second.said, line.owner.ended) == (b"all of it", OVER, 1)
        line.close()


@pytest.mark.parametrize("kind", INTO_A_LEG)
def test_no_more_is_read_than_may_be_kept_until_the_session_is_confirmed(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line, arrived = kind(floor), Framed()
        line.into.keep(b"x" * 100)
        left = fill_up(line, kind)
        arrive(line, arrived, KEPT_LIMIT_BYTES)
        settle()
        assert len(line.kept or b"") == KEPT_LIMIT_BYTES == len(arrived)
        assert (floor.at_work, line.source.readable) == (0, True)
        line.into.confirm()
        assert line.pump.has_input()
        floor.in_hub(line.pump.wake)
        carry(line, bytes(left) + (FIN if kind is transit else b""), arrived)
        assert (arrived.payload, arrived.said) == (b"x" * 100 + ALPHABET[:900_000], OVER)
        line.close()


def test_frames_between_what_is_kept_are_heard_and_not_kept() -> None:
    with Floor() as floor:
        line, arrived = transit(floor), Framed()
        line.into.keep(b"")
        arrive(line, arrived, 6, sent=framed(b"one") + pad(3000) + PING + framed(b"two") + pad(1))
        assert (line.kept, pongs(line, 1)) == (b"onetwo", [5])
        line.close()


@pytest.mark.parametrize("kind", INTO_A_LEG)
def test_a_leg_closed_while_the_pump_waits_for_room_in_it_costs_nothing(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line, arrived = kind(floor, sink_buffer=4096), Framed()
        line.into.keep(b"")
        left = fill_up(line, kind)
        assert floor.at_work == 1
        line.sink.close()
        turn_until(lambda: floor.at_work == 0)
        assert (line.pump.ended, line.owner.failed, line.pump.has_input()) == (False, [], False)
        floor.in_hub(line.pump.wake)  # input that comes now waits
        go_on(line)
        line.into.confirm()
        floor.in_hub(line.pump.wake)
        carry(line, bytes(left) + (FIN if kind is transit else b""), arrived)
        assert arrived.payload == ALPHABET[:900_000]
        line.close()


@pytest.mark.parametrize("stuck", [False, True])
@pytest.mark.parametrize("kind", INTO_A_LEG)
def test_a_leg_that_breaks_before_it_is_confirmed_is_told_once_and_is_not_the_end(
    kind: Callable[..., Line], stuck: bool
) -> None:
    with Floor() as floor:
        line, arrived = kind(floor, sink_buffer=4096 if stuck else 0), Framed()
        line.into.keep(b"")
        left = fill_up(line, kind) if stuck else memoryview(said(kind, ALPHABET[:900_000]))
        assert floor.at_work == stuck
        reset(line.far_sink)
        settle(2)
        while left and (taken := offer(line.far_source, left[:1000])):
            left = left[taken:]
            settle(1)
        turn_until(lambda: line.owner.failed and not floor.at_work)
        settle()
        assert [leg for leg, _ in line.owner.failed] == [line.sink]
        assert (line.pump.ended, line.into.is_held, line.pump.has_input()) == (False, True, False)
        go_on(line)
        line.into.confirm()
        floor.in_hub(line.pump.wake)
        carry(line, bytes(left) + (FIN if kind is transit else b""), arrived)
        assert (arrived.payload, len(line.owner.failed)) == (ALPHABET[:900_000], 1)
        line.close()


@pytest.mark.parametrize("kind", INTO_A_LEG)
def test_the_next_leg_is_not_blamed_for_the_last_one(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line, arrived = kind(floor, sink_buffer=4096), Framed()
        line.into.keep(b"")
        left = fill_up(line, kind)
        assert floor.at_work == 1
        last, far_last = line.sink, line.far_sink
        line.sink, line.far_sink = leg_in_session(floor, ONWARD)
        line.into.redirect(line.sink_leg)
        line.into.confirm()
        reset(far_last)
        carry(line, bytes(left) + (FIN if kind is transit else b""), arrived)
        assert (arrived.payload, line.owner.failed) == (ALPHABET[:900_000], [])
        last.close()
        line.close()


@pytest.mark.parametrize("kind", INTO_A_LEG)
def test_a_leg_that_broke_and_was_confirmed_all_the_same_is_the_end(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line = kind(floor)
        line.into.keep(b"")
        reset(line.far_sink)
        settle(2)
        send_all(line.far_source, said(kind, b"lost"))
        turn_until(lambda: line.owner.failed)
        line.into.confirm()
        send_all(line.far_source, said(kind, b"lost too"))
        floor.in_hub(line.pump.wake)
        turn_until(lambda: line.pump.ended)
        assert line.owner.failed == [(line.sink, errno.ECONNRESET), (line.sink, errno.EPIPE)]
        line.close()


@pytest.mark.parametrize("kind", INTO_A_LEG)
def test_a_source_that_breaks_meanwhile_is_the_end(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line, arrived = kind(floor), Framed()
        line.into.keep(b"")
        arrive(line, arrived, 4, sent=said(kind, b"some"))
        reset(line.far_source)
        turn_until(lambda: line.pump.ended)
        assert line.owner.failed == [(line.source, errno.ECONNRESET)]
        line.close()


@pytest.mark.parametrize("kind", INTO_A_LEG)
def test_nothing_moves_while_the_pump_is_held(kind: Callable[..., Line]) -> None:
    with Floor() as floor:
        line, arrived = kind(floor), Framed()
        line.into.keep(b"")
        line.into.is_held = True
        send_all(line.far_source, said(kind, b"waits"))
        settle()
        assert (line.kept, line.pump.moved_bytes, floor.at_work) == (b"", 0, 0)
        go_on(line)
        arrive(line, arrived, 5)
        assert arrived.payload == b"waits"
        line.close()


def test_a_second_leg_that_is_broken_too_raises() -> None:
    with Floor() as floor:
        line, arrived = framing(floor), Framed()
        line.into.keep(b"")
        arrive(line, arrived, 5, sent=b"words")
        line.sink.close()
        line.sink, line.far_sink = leg_in_session(floor, ONWARD)
        reset(line.far_sink)
        turn_until(lambda: line.sink.ending)
        with pytest.raises(StreamFailed):
            line.into.redirect(line.sink_leg)
        line.close()

"""Pumps between real connections: what goes in comes out, in order, with nothing held that need not be."""

import errno
import os
import socket
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.net.pipes import CAPACITY_BYTES, Pipe
from pools.net.pump import COPY_BYTES, LARGE_BYTES, Pump
from pools.net.stream import Stream
from tests.floor import (
    Floor,
    receive,
    reset,
    rest_of,
    segments,
    send_all,
    settle,
    turn,
    turn_until,
    wait_for_end,
)

ALPHABET = bytes(range(251)) * 5000  # 251 is prime: a piece out of place shows


class Owner:
    """Hears what a pump reports, and does with it what a session would at the least."""

    def __init__(self) -> None:
        self.ended = 0
        self.failed: list[tuple[Stream, int]] = []

    def source_ended(self, pump: Pump) -> None:
        self.ended += 1
        pump.sink.end_output()

    def leg_failed(self, pump: Pump, leg: Stream, number: int) -> None:
        assert pump.ended
        self.failed.append((leg, number))


class Line:
    """One pump with its two far ends: write to `far_source`, read from `far_sink`."""

    def __init__(self, floor: Floor, *, sink_buffer: int = 0) -> None:
        self.owner = Owner()
        self.source, self.far_source = floor.leg()
        self.sink, self.far_sink = floor.leg(send_buffer=sink_buffer, receive_buffer=sink_buffer)
        self.pump = Pump(self.source, self.sink, owner=self.owner, room=floor.room)
        self.source.on_readable = self.pump.wake

    def close(self) -> None:
        self.source.close()
        self.sink.close()


class NoPipes:
    """Refuses as the cache does when no descriptor is left."""

    lent = 0

    def take(self) -> Pipe | None:
        return None

    def close(self) -> None:
        pass


def offer(sock: socket.socket, data: bytes | memoryview) -> int:
    """Write what is taken at once."""
    try:
        return sock.send(data) if data else 0
    except BlockingIOError:
        return 0


def take(sock: socket.socket, size: int) -> bytes | None:
    """Read what is there, b"" at the end; None when there is nothing now."""
    try:
        return sock.recv(size)
    except BlockingIOError:
        return None


def write_and_read(line: Line, sent: bytes, *, writes: list[int], reads: list[int]) -> bytes:
    """Write and read in portions, the reader pausing where a portion is 0, until the end arrives."""
    received, left = bytearray(), memoryview(sent)
    for write, read in zip(cycle(writes), cycle(reads), strict=False):
        if left:
            left = left[offer(line.far_source, left[:write]) :]
            if not left:
                line.far_source.shutdown(socket.SHUT_WR)
        piece = take(line.far_sink, read) if read else None
        if piece == b"":
            break
        received += piece or b""
        turn()
    return bytes(received)


PORTIONS = st.lists(st.sampled_from([1, 700, 4096, 16_383, 16_384, 65_536, 200_000]), min_size=1, max_size=6)
PAUSES = st.lists(st.sampled_from([0, 0, 500, 8192, 65_536, 400_000]), max_size=5).map(lambda reads: [*reads, 65_536])


@settings(max_examples=60)
@given(
    size=st.integers(1, 400_000),
    writes=PORTIONS,
    reads=PAUSES,
    buffer=st.sampled_from([0, 4096, 32_768]),
    splice=st.booleans(),
    pipes=st.booleans(),
)
def test_any_cut_of_any_bytes_arrives_in_order_and_then_the_end(
    size: int, writes: list[int], reads: list[int], buffer: int, splice: bool, pipes: bool
) -> None:
    with Floor(splice=splice) as floor:
        if not pipes:
            floor.room.pipes = NoPipes()  # type: ignore[assignment]
        line = Line(floor, sink_buffer=buffer)
        writes = [max(portion, size // 500) for portion in writes]  # a million writes of one byte show no more
        assert write_and_read(line, ALPHABET[:size], writes=writes, reads=reads) == ALPHABET[:size]
        assert (line.owner.ended, line.owner.failed, line.pump.moved_bytes) == (1, [], size)
        turn_until(lambda: floor.at_work == 0)
        line.close()


@pytest.mark.parametrize("splice", [True, False])
def test_large_transfers_are_spliced_where_that_is_wanted(splice: bool) -> None:
    with Floor(splice=splice) as floor:
        line = Line(floor)
        size = 4 * 1024 * 1024
        data = (ALPHABET * 4)[:size]
        floor.in_hub(lambda: None)
        received = write_and_read(line, data, writes=[500_000], reads=[1_000_000])
        assert received == data
        assert floor.room.copied_bytes + floor.room.spliced_bytes == size
        assert (floor.room.spliced_bytes > size // 2) is splice
        line.close()


def test_small_messages_cost_no_greenlet_and_no_pipe() -> None:
    with Floor() as floor:
        line = Line(floor)
        for number in range(20):
            send_all(line.far_source, b"%3d" % number)
            assert receive(line.far_sink, 3) == b"%3d" % number
        assert (floor.greenlets.made, floor.room.spliced_bytes, floor.room.copied_bytes) == (0, 0, 60)
        line.close()


def test_an_end_that_came_with_the_last_bytes_goes_on_in_their_packet() -> None:
    with Floor() as floor:
        line = Line(floor)
        before = segments(line.far_sink)
        line.far_source.send(b"all of it")
        line.far_source.shutdown(socket.SHUT_WR)
        wait_for_end(line.source)
        assert rest_of(line.far_sink) == (b"all of it", "end")
        assert segments(line.far_sink) - before == 1
        line.close()


def test_a_pump_copies_again_after_a_large_burst_and_holds_nothing_when_quiet() -> None:
    with Floor() as floor:
        line = Line(floor)
        send_all(line.far_source, ALPHABET[:500_000])
        assert receive(line.far_sink, 500_000) == ALPHABET[:500_000]
        turn_until(lambda: floor.at_work == 0)
        assert floor.pipes.lent == 0
        for _ in range(3):  # the first small message after a burst may still be spliced
            send_all(line.far_source, b"small")
            assert receive(line.far_sink, 5) == b"small"
        turn_until(lambda: floor.at_work == 0)
        copied = floor.room.copied_bytes
        send_all(line.far_source, b"small")
        assert receive(line.far_sink, 5) == b"small"
        assert floor.room.copied_bytes == copied + 5
        line.close()


@pytest.mark.parametrize("splice", [True, False])
def test_a_sink_that_does_not_read_bounds_what_is_read_and_holds_one_greenlet(splice: bool) -> None:
    with Floor(splice=splice) as floor:
        line = Line(floor, sink_buffer=4096)
        offered = ALPHABET * 20
        written = 0

        def is_full() -> bool:
            nonlocal written
            taken = offer(line.far_source, offered[written : written + 100_000])
            written += taken
            return not taken

        turn_until(is_full)
        settle()
        held = line.pump.moved_bytes
        assert (floor.at_work, floor.pipes.lent <= 1) == (1, True)
        settle()
        assert line.pump.moved_bytes == held < written  # the rest waits in the source's own buffers
        assert held <= CAPACITY_BYTES + COPY_BYTES + 64 * 1024  # one pipe, one read, the sink's own buffers
        line.far_source.shutdown(socket.SHUT_WR)
        assert receive(line.far_sink, written) == offered[:written]
        turn_until(lambda: floor.at_work == 0)
        assert (line.owner.ended, floor.pipes.lent) == (1, 0)
        line.close()


def test_input_that_comes_while_the_pump_is_blocked_is_not_lost() -> None:
    with Floor() as floor:
        line = Line(floor, sink_buffer=4096)
        send_all(line.far_source, ALPHABET[:60_000])
        turn_until(lambda: floor.at_work == 1)
        parts = [ALPHABET[start : start + 3000] for start in range(60_000, 90_000, 3000)]
        sent = 60_000
        received = bytearray()
        for part in parts:
            send_all(line.far_source, part)
            sent += len(part)
            received += receive(line.far_sink, 2000)
        received += receive(line.far_sink, sent - len(received))
        assert received == ALPHABET[:sent]
        line.close()


@pytest.mark.parametrize("splice", [True, False])
def test_blocked_pumps_do_not_mix_their_bytes(splice: bool) -> None:
    with Floor(splice=splice) as floor:
        lines = [Line(floor, sink_buffer=4096) for _ in range(5)]
        payloads = [bytes([65 + index]) * 80_000 for index in range(5)]
        for line in lines:
            line.far_source.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400_000)
        turn_until(lambda: _offer(lines, payloads))
        turn_until(lambda: floor.at_work == 5)
        for line, payload in zip(lines, payloads, strict=True):
            done = write_rest(line, payload)
            assert done == payload
        for line in lines:
            line.close()


def _offer(lines: list[Line], payloads: list[bytes]) -> bool:
    """Write the first part everywhere before anybody reads."""
    for line, payload in zip(lines, payloads, strict=True):
        line.far_source.send(payload[:20_000])
    return True


def write_rest(line: Line, payload: bytes) -> bytes:
    received, left = bytearray(), memoryview(payload)[20_000:]
    while len(received) < len(payload):
        left = left[offer(line.far_source, left) :]
        received += take(line.far_sink, 3000) or b""
        turn()
    return bytes(received)


@pytest.mark.parametrize("splice", [True, False])
def test_a_bulk_transfer_does_not_starve_a_small_session(splice: bool) -> None:
    with Floor(splice=splice) as floor:
        bulk, small = Line(floor), Line(floor)
        pouring = [True]

        def pour() -> None:
            """Keep the bulk pump busy without end, from inside the same loop."""
            offer(bulk.far_source, ALPHABET)
            take(bulk.far_sink, 4_000_000)
            if pouring[0]:
                floor.readiness.defer(pour)
            else:
                pouring.clear()

        floor.readiness.defer(pour)
        turn_until(lambda: bulk.pump.moved_bytes > 4_000_000)
        for _ in range(5):
            before = bulk.pump.moved_bytes
            send_all(small.far_source, b"ping")
            assert receive(small.far_sink, 4) == b"ping"
            assert bulk.pump.moved_bytes - before < 64 * 1024 * 1024
        pouring[0] = False
        turn_until(lambda: not pouring)
        for line in (bulk, small):
            line.close()


@pytest.mark.parametrize("size", [10, LARGE_BYTES, 300_000])
def test_bytes_before_a_reset_arrive_and_then_the_failure_is_told(size: int) -> None:
    with Floor() as floor:
        line = Line(floor)
        turn_until(lambda: line.source.fd >= 0)
        send_all(line.far_source, ALPHABET[:size])
        assert receive(line.far_sink, size) == ALPHABET[:size]
        reset(line.far_source)
        turn_until(lambda: line.owner.failed)
        assert line.owner.failed[0][0] is line.source
        assert (line.owner.ended, line.pump.ended) == (0, True)
        line.close()


@pytest.mark.parametrize("size", [10, 500_000])
def test_a_sink_that_broke_is_told_once(size: int) -> None:
    with Floor() as floor:
        line = Line(floor, sink_buffer=4096)
        reset(line.far_sink)
        turn()
        line.far_source.send(ALPHABET[:size])
        turn_until(lambda: line.owner.failed)
        settle()
        assert [leg for leg, _ in line.owner.failed] == [line.sink]
        assert floor.pipes.lent == 0
        line.close()


def test_closing_under_a_blocked_pump_frees_its_greenlet_and_closes_its_pipe() -> None:
    with Floor() as floor:
        line = Line(floor, sink_buffer=4096)
        turn_until(lambda: _is_stuck(floor, line))
        assert floor.pipes.lent == 1
        line.close()
        turn_until(lambda: floor.at_work == 0)
        assert (floor.pipes.lent, floor.pipes._idle) == (0, [])  # the bytes in it were one session's
        assert line.pump.ended


def _is_stuck(floor: Floor, line: Line) -> bool:
    """Read just so much that the pump goes over to splicing, and no more."""
    offer(line.far_source, ALPHABET)
    if not floor.pipes.lent:
        take(line.far_sink, 65_536)
    return floor.pipes.lent == 1


@pytest.mark.parametrize("before", [b"", b"some", ALPHABET[:200_000]], ids=["at once", "small", "large"])
def test_urgent_data_stops_nothing(before: bytes) -> None:
    """The kernel cuts reads at the urgent mark; the urgent byte itself is dropped, as by any relay of streams."""
    with Floor() as floor:
        line = Line(floor)
        send_all(line.far_source, before)
        line.far_source.send(b"!", socket.MSG_OOB)
        send_all(line.far_source, b"after")
        line.far_source.shutdown(socket.SHUT_WR)
        assert receive(line.far_sink, len(before) + 5) == before + b"after"
        turn_until(lambda: line.owner.ended)
        line.close()


def test_repr_says_what_it_is_doing() -> None:
    with Floor() as floor:
        line = Line(floor)
        assert "quiet moved_bytes=0" in repr(line.pump)
        line.far_source.shutdown(socket.SHUT_WR)
        turn_until(lambda: line.pump.ended)
        assert "ended moved_bytes=0" in repr(line.pump)
        line.close()


class NoSplice:
    """A kernel that refuses splice(2) for one descriptor, as it does for a kind of socket that has none."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._splice = os.splice
        self.refused = 0

    def __call__(self, source: int, sink: int, count: int, *, flags: int) -> int:
        if self._descriptor in (source, sink):
            self.refused += 1
            raise OSError(errno.EINVAL, "Invalid argument")
        return self._splice(source, sink, count, flags=flags)


@pytest.mark.parametrize("end", ["source", "sink"])
def test_what_cannot_be_spliced_is_copied_whole_and_not_tried_again(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Floor() as floor:
        line, other = Line(floor), Line(floor)
        kernel = NoSplice(getattr(line, end).fd)
        monkeypatch.setattr("pools.net.pump.os.splice", kernel)
        for _ in range(2):
            send_all(line.far_source, ALPHABET)
            assert receive(line.far_sink, len(ALPHABET)) == ALPHABET
        assert kernel.refused == 1
        assert not line.owner.failed
        copied = floor.room.copied_bytes
        send_all(other.far_source, ALPHABET)  # others are spliced as ever
        assert receive(other.far_sink, len(ALPHABET)) == ALPHABET
        assert floor.room.copied_bytes - copied < len(ALPHABET) // 2
        assert not other.owner.failed
        line.close()
        other.close()

"""Pumps into and out of legs, each with two far ends that the test speaks for, and what arrives there."""

import socket
from collections.abc import Iterable
from itertools import cycle
from typing import Any, Final

import gevent

from pools.frame_bodies import Pong, decode
from pools.frames import Frame, FrameReader, FrameType, Payload, Role, data_header
from pools.leg import PoolLeg
from pools.leg_pumps import AnyPump, IntoLeg, pump_between
from pools.net.pump import Pump
from pools.net.sockopts import Socket
from pools.net.stream import Stream
from tests.far_end import pool_leg
from tests.floor import LIMIT_S, Floor, turn, turn_until

ALPHABET: Final = bytes(range(251)) * 5000  # 251 is prime: a piece out of place shows
SESSION: Final = 7  # of every leg that is a source
ONWARD: Final = 9  # of every leg that is a sink
FIN: Final = Frame(FrameType.FIN, SESSION).encode()
PATIENCE_S: Final = 2 * LIMIT_S  # for many megabytes, on a machine that does other things too


class Owner:
    """Hears what a pump reports, and does with it what a relay would at the least."""

    def __init__(self) -> None:
        self.ended = 0
        self.failed: list[tuple[Stream, int]] = []

    def source_ended(self, pump: Pump) -> None:
        self.ended += 1
        pump.sink.end_output()

    def leg_failed(self, pump: Pump, leg: Stream, number: int) -> None:
        assert pump.ended or (isinstance(pump, IntoLeg) and pump.is_held)
        self.failed.append((leg, number))


class Line:
    """One pump with its two far ends: write to `far_source`, read from `far_sink`."""

    def __init__(self, floor: Floor, source: tuple[Stream, socket.socket], sink: tuple[Stream, socket.socket]) -> None:
        self.floor = floor
        self.owner = Owner()
        self.source, self.far_source = source
        self.sink, self.far_sink = sink
        self.pump: AnyPump = pump_between(self.source, self.sink, owner=self.owner, room=floor.room)
        self.source.on_readable = self.pump.wake

    @property
    def source_leg(self) -> PoolLeg:
        assert isinstance(self.source, PoolLeg)
        return self.source

    @property
    def sink_leg(self) -> PoolLeg:
        assert isinstance(self.sink, PoolLeg)
        return self.sink

    @property
    def into(self) -> IntoLeg:
        assert isinstance(self.pump, IntoLeg)
        return self.pump

    @property
    def kept(self) -> bytes | None:
        return None if self.into.kept is None else bytes(self.into.kept)

    def close(self) -> None:
        turn_until(lambda: self.floor.at_work == 0)
        self.drop()

    def drop(self) -> None:
        self.source.close()
        self.sink.close()


def leg_in_session(floor: Floor, number: int, *, buffer: int = 0) -> tuple[PoolLeg, socket.socket]:
    """Give an acceptor's leg whose session is open."""
    leg, far = pool_leg(floor, Role.ACCEPTOR, send_buffer=buffer, receive_buffer=buffer)
    leg.begin(Role.ACCEPTOR, "oregon", session=number - 1)
    leg.state.received(FrameType.OPEN, number)
    leg.state.sent(FrameType.OPENED, number)
    return leg, far.sock


def framing(floor: Floor, *, sink_buffer: int = 0) -> Line:
    """From a plain stream into a leg."""
    return Line(floor, floor.leg(), leg_in_session(floor, ONWARD, buffer=sink_buffer))


def unframing(floor: Floor, *, sink_buffer: int = 0) -> Line:
    """Out of a leg into a plain stream."""
    sink = floor.leg(send_buffer=sink_buffer, receive_buffer=sink_buffer)
    return Line(floor, leg_in_session(floor, SESSION), sink)


def transit(floor: Floor, *, sink_buffer: int = 0) -> Line:
    """Out of one leg into another."""
    return Line(floor, leg_in_session(floor, SESSION), leg_in_session(floor, ONWARD, buffer=sink_buffer))


class Plain:
    """What arrived at the far end of a plain stream."""

    def __init__(self) -> None:
        self._payload = bytearray()
        self.is_over = False

    def __len__(self) -> int:
        return len(self._payload)

    @property
    def payload(self) -> bytes:
        return bytes(self._payload)

    def feed(self, data: bytes) -> None:
        self._payload += data
        self.is_over = not data


class Framed:
    """What arrived at the far end of a leg: the payload, the sizes of its frames, and all that was said."""

    def __init__(self, session: int = ONWARD) -> None:
        self._reader = FrameReader()
        self._payload = bytearray()
        self._session = session
        self.sizes: list[int] = []
        self.said: list[Frame] = []
        self.padding_bytes = 0

    def __len__(self) -> int:
        return len(self._payload)

    @property
    def payload(self) -> bytes:
        return bytes(self._payload)

    @property
    def is_over(self) -> bool:
        return bool(self.said) and self.said[-1].type is FrameType.FIN

    @property
    def is_between_frames(self) -> bool:
        return self._reader.is_between_frames

    def feed(self, data: bytes) -> None:
        assert data, "expected a frame; found the end"
        for item in self._reader.feed(memoryview(data)):
            if isinstance(item, Payload) and item.header.type is FrameType.PAD:
                self.padding_bytes += len(item.part)
            elif isinstance(item, Payload):
                assert (item.header.type, item.header.session) == (FrameType.DATA, self._session)
                self.sizes += [item.header.length] * item.begins
                self._payload += item.part
            else:
                self.said.append(item)


class Counted:
    """A socket that counts what is asked of it."""

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in ("recv", "recv_into", "send", "sendmsg"):
            self.calls.append(name)
        return getattr(self._sock, name)


def count_calls(stream: Stream) -> list[str]:
    """Give the names of the calls that read from or write to the stream's socket from now on, one for each."""
    counted = Counted(stream.socket)
    stream.socket = counted  # type: ignore[assignment]
    return counted.calls


def framed(data: bytes, sizes: Iterable[int] = (65_536,), *, between: bytes = b"") -> bytes:
    """Cut `data` into DATA frames of these sizes, over and over, with some bytes between every two."""
    wire: list[bytes] = []
    start = 0
    for size in cycle(sizes):
        part = data[start : start + size]
        start += size
        if not part:
            return between.join(wire)
        wire.append(data_header(SESSION, len(part)) + part)
    return b""


def offer(sock: Socket, data: bytes | memoryview) -> int:
    """Write what is taken at once."""
    try:
        return sock.send(data) if data else 0
    except BlockingIOError:
        return 0


def take(sock: Socket, size: int) -> bytes | None:
    """Read what is there, b"" at the end; None when there is nothing now."""
    try:
        return sock.recv(size)
    except BlockingIOError:
        return None


def arrive(line: Line, arrived: Plain | Framed, size: int, *, sent: bytes = b"") -> None:
    """Write `sent`, and read until that many bytes of payload have arrived, or the end."""
    left = memoryview(sent)
    with gevent.Timeout(PATIENCE_S):
        while left or (len(arrived) < size and not arrived.is_over):
            left = left[offer(line.far_source, left) :]
            piece = take(line.far_sink, 1_000_000)
            if piece is None:
                turn()
            else:
                arrived.feed(piece)


def carry(
    line: Line,
    sent: bytes,
    arrived: Plain | Framed,
    *,
    writes: Iterable[int] = (500_000,),
    reads: Iterable[int] = (1_000_000,),
) -> None:
    """Write and read in portions, the reader pausing where a portion is 0, until the end arrives.

    The end of `sent` is an end of stream where the source is no leg.
    """
    left, has_ended = memoryview(sent), isinstance(line.source, PoolLeg)
    with gevent.Timeout(PATIENCE_S):
        for write, read in zip(cycle(writes), cycle(reads), strict=False):
            left = left[offer(line.far_source, left[:write]) :]
            if not left and not has_ended:
                line.far_source.shutdown(socket.SHUT_WR)
                has_ended = True
            piece = take(line.far_sink, read) if read else None
            if piece is not None:
                arrived.feed(piece)
            if arrived.is_over and not left:
                return
            turn()


class NoPipes:
    """Refuses as the cache of pipes does when no descriptor is left."""

    lent = 0

    def take(self) -> None:
        return None

    def close(self) -> None:
        pass


def pad(size: int) -> bytes:
    """Give a frame of padding."""
    return bytes([FrameType.PAD, 0, 0, 0]) + size.to_bytes(4, "big") + b"?" * size


def arrival(line: Line) -> Plain | Framed:
    """Give what takes apart what arrives at the far sink."""
    return Framed() if isinstance(line.sink, PoolLeg) else Plain()


def pongs(line: Line, count: int) -> list[int]:
    """Give the numbers of so many answers at the far end of a source that says nothing else."""
    answers = Framed()
    with gevent.Timeout(LIMIT_S):
        while len(answers.said) < count:
            piece = take(line.far_source, 65_536)
            if piece is None:
                turn()
            else:
                answers.feed(piece)
    assert take(line.far_source, 1) is None
    said = [decode(frame) for frame in answers.said]
    assert all(isinstance(body, Pong) for body in said)
    return [body.number for body in said if isinstance(body, Pong)]


def unread(line: Line, size: int) -> bytes:
    """Give so many bytes that have come to the source, not taken apart, and make sure that there are no more."""
    behind = line.source_leg.rest
    with gevent.Timeout(LIMIT_S):
        while len(behind) < size:
            turn()
            behind += take(line.source_leg.socket, size) or b""
    assert take(line.source_leg.socket, 1) is None
    return behind

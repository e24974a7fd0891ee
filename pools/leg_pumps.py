"""Pumps into and out of legs between gateways: payload gets its frames, or loses them, on the way.

A small message is copied, header and payload in one system call; a large transfer is spliced, each pipeful as one
frame. What comes out of one leg and goes into another is cut anew, so that a frame is never half written for want of
input. Control frames that come between the payload are the leg's to hear, except for those that end a direction.
"""

import errno
from typing import Final, TypeAlias

from pools.frame_bodies import Reset
from pools.frames import HEADER_BYTES, Frame, FrameType, Payload, data_header, put_data_header
from pools.leg import PoolLeg
from pools.net.errors import ProtocolError
from pools.net.pipes import CAPACITY_BYTES, Pipe
from pools.net.pump import COPY_BYTES, LARGE_BYTES, Pump, PumpOwner, PumpRoom
from pools.net.stream import Stream, StreamClosed, StreamFailed

KEPT_LIMIT_BYTES: Final = 64 * 1024
"""What a client may say before its session is confirmed: kept, to be said again on another leg."""


class IntoLeg(Pump):
    """What all pumps into a leg do.

    Attributes:
        kept: what was written so far, until `confirm`; None from then on.
        is_held: nothing moves until `redirect`, or `confirm`; only while something is kept. A pump whose leg broke
            meanwhile holds by itself.
    """

    __slots__ = ("is_held", "kept")

    sink: PoolLeg

    def __init__(self, source: Stream, sink: PoolLeg, *, owner: PumpOwner, room: PumpRoom) -> None:
        super().__init__(source, sink, owner=owner, room=room)
        self.kept: bytearray | None = None
        self.is_held = False

    def keep(self, words: bytes) -> None:
        """Keep what is written from now on, `words` first, and take no more than can be kept.

        Raises:
            StreamFailed: the leg is broken.
        """
        self.kept = bytearray(words)
        self._say_again()

    def redirect(self, sink: PoolLeg) -> None:
        """Go on to another leg, on which an OPEN was just said: say there what was kept, and FIN where that came.

        Raises:
            StreamFailed: that leg is broken too.
        """
        self.sink = sink
        self.is_held = False
        self._say_again()
        if self.ended:
            sink.end_output()

    def confirm(self) -> None:
        """Keep nothing any more: the session is open at the other end. Call `wake` afterwards if `has_input`."""
        self.kept = None
        self.is_held = False

    def has_input(self) -> bool:
        """As `Pump.has_input`."""
        return super().has_input() and self._allowance() > 0

    def _say_again(self) -> None:
        if self.kept:
            self.sink.write(data_header(self.sink.state.session, len(self.kept)) + self.kept)

    def _allowance(self) -> int:
        if self.kept is None:
            return COPY_BYTES
        return 0 if self.is_held or self.sink.fd < 0 else max(0, KEPT_LIMIT_BYTES - len(self.kept))

    def _can_splice(self) -> bool:
        return self._room.splice and self.kept is None

    def _is_behind(self) -> bool:
        return bool(self.sink.owed) and not self.is_held

    def _flush(self) -> None:
        sink = self.sink
        try:
            sink.settle()
        except StreamFailed as failure:
            if sink is self.sink:  # or else there is another leg by now
                self._fail(sink, failure.errno)
        except StreamClosed:
            if sink is self.sink and self.kept is None:  # or else there will be another leg
                raise

    def _drain(self, pipe: Pipe, held: int) -> None:
        """Write one frame with all that the pipe holds."""
        sink = self.sink
        sink.settle()
        sink.mid_frame = True
        sink.begin_payload(data_header(sink.state.session, held))
        super()._drain(pipe, held)
        sink.mid_frame = False
        sink.settle()

    def _fail(self, leg: Stream, number: int | None) -> bool:
        if leg is self.sink and self.kept is not None:  # not the end yet: there may be another leg
            self.is_held = True
            self.owner.leg_failed(self, leg, number or errno.EIO)
            return False
        return super()._fail(leg, number)


class FramingPump(IntoLeg):
    """From a plain stream into a leg."""

    __slots__ = ()

    def _copy(self) -> bool:  # noqa: C901, PLR0911, PLR0912, PLR0915  # once a message: kept in one piece
        """Copy until the source is empty; returns as `Pump._copy`."""
        source, sink, room = self.source, self.sink, self._room
        while True:
            allowance = COPY_BYTES if self.kept is None else self._allowance()
            if not allowance:
                return False
            if sink.owed:
                return True
            try:
                count = source.socket.recv_into(room.view, allowance)
            except BlockingIOError:
                source.readable = False
                return False
            except OSError as error:
                return self._fail(source, error.errno)
            if not count:
                return self._end()
            self.moved_bytes += count
            room.copied_bytes += count
            if self.kept is not None:
                self.kept += room.view[:count]
            put_data_header(room.framed, sink.state.session, count)
            framed = room.framed[: HEADER_BYTES + count]
            try:
                sent = sink.socket.send(framed)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                return self._fail(sink, error.errno)
            if sent < len(framed):
                sink.owed += framed[sent:]
                self._large = count >= LARGE_BYTES and self._can_splice()
                return True
            if count >= LARGE_BYTES:
                self._large = self._can_splice()
                return True
            if count < allowance and not source.unsure:
                source.readable = False
                return source.ending and self._end()


class UnframingPump(Pump):
    """Out of a leg into a plain stream. The source's FIN is its end; the end of its stream cuts the session off."""

    __slots__ = ()

    source: PoolLeg

    def has_input(self) -> bool:
        """As `Pump.has_input`."""
        return self.source.readable or bool(self.source.rest)

    def _allowance(self) -> int:
        """Give how much may be read at once; of frames, so that no more payload is read than that."""
        return COPY_BYTES

    def _can_splice(self) -> bool:
        return self._room.splice

    def _copy(self) -> bool:
        """Pass on what the source has; returns as `Pump._copy`."""
        source = self.source
        while True:
            limit, is_fresh, moved_before = self._allowance(), not source.rest, self.moved_bytes
            if not limit or not (view := self._take_in(limit)):
                return False
            is_last = is_fresh and len(view) < limit and not source.unsure and not source.ending
            if is_last:  # spare the read that would only tell so; before a FIN in there is heard, and the leg judged
                source.readable = False
            if not self._pass_on(view):
                return not self.ended
            if self._is_long(len(view), moved_before):
                return True
            if is_last and not source.rest:
                return False

    def _is_long(self, count: int, moved_before: int) -> bool:
        """Tell whether a greenlet must go on: more of this is worth splicing, or others must have their turn."""
        if self.source.reader.data_left >= LARGE_BYTES and self._can_splice():
            self._large = True
            return True
        if count < LARGE_BYTES:
            return False
        if self._busy and self.moved_bytes - moved_before < LARGE_BYTES:  # padding, or tiny frames: all work, no bytes
            self._take_turns()
        return True

    def _take_in(self, limit: int) -> memoryview:
        """Give what is to be taken apart next: what lies here already, or what has come; nothing where that is over."""
        source, view = self.source, self._room.view
        if source.rest:
            rest = memoryview(source.rest)
            source.rest = bytes(rest[limit:])
            return rest[:limit]
        try:
            count = source.socket.recv_into(view, limit)
        except BlockingIOError:
            source.readable = False
            return view[:0]
        except OSError as error:
            self._fail(source, error.errno)
            return view[:0]
        if not count:
            self._fail(source, errno.ECONNRESET)
        return view[:count]

    def _pass_on(self, view: memoryview) -> bool:
        """Take `view` apart, up to the first thing that stops this pump; False if something does.

        What is behind a control frame goes back to where the next read will find it.
        """
        source = self.source
        take = source.reader.take
        try:
            while view:
                item, view = take(view)
                if isinstance(item, Payload):
                    if not self._pass_payload(item):
                        source.rest = bytes(view) + source.rest
                        return False
                elif item is not None:
                    source.rest = bytes(view) + source.rest  # before an end is heard of: the next session may be there
                    return self._hear(item)
        except ProtocolError:
            return self._fail(source, errno.EPROTO)
        return True

    def _pass_payload(self, payload: Payload) -> bool:
        if payload.begins:
            self.source.state.received(payload.header.type, payload.header.session)
        part = payload.part
        if payload.header.type is not FrameType.DATA or not part:
            return True
        self.moved_bytes += len(part)
        self._room.copied_bytes += len(part)
        return self._put(part)

    def _put(self, part: memoryview) -> bool:
        """Write `part`; False where not all of it went out."""
        try:
            sent = self.sink.socket.send(part)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            return self._fail(self.sink, error.errno)
        self._unsent = bytes(part[sent:])
        return not self._unsent

    def _hear(self, frame: Frame) -> bool:
        """Take a control frame; False where it ends this direction."""
        try:
            body = self.source.hear(frame)
        except StreamFailed as failure:
            return self._fail(self.source, failure.errno)
        if frame.type is FrameType.FIN:
            return self._end()
        if isinstance(body, Reset):
            return self._fail(self.source, body.errno)
        return True

    def _fill(self, pipe: Pipe) -> int:
        """As `Pump._fill`, up to the end of the frame."""
        reader = self.source.reader
        if not reader.data_left and not self._next_is_large():
            return 0
        count = super()._fill(pipe)
        reader.spliced(count)
        return count

    def _pipeful(self) -> int:
        return min(CAPACITY_BYTES, self.source.reader.payload_left)

    def _next_is_large(self) -> bool:
        """Read the next header, and nothing behind it; tell whether its payload is worth splicing."""
        source, room = self.source, self._room
        if source.rest or source.reader.payload_left:  # padding
            self._large = False
            return False
        try:
            count = source.socket.recv_into(room.view, HEADER_BYTES)
        except BlockingIOError:
            source.readable = False
            return False
        except OSError as error:
            return self._fail(source, error.errno)
        if not count:
            return self._fail(source, errno.ECONNRESET)
        self._large = self._pass_on(room.view[:count]) and source.reader.data_left >= LARGE_BYTES
        return self._large


class TransitPump(IntoLeg, UnframingPump):
    """Out of one leg into another."""

    __slots__ = ()

    def _put(self, part: memoryview) -> bool:
        sink = self.sink
        header = data_header(sink.state.session, len(part))
        if self.kept is not None:
            self.kept += part
        sent = 0
        if not sink.owed:
            try:
                sent = sink.socket.sendmsg([header, part])
            except BlockingIOError:
                sent = 0
            except OSError as error:
                return self._fail(sink, error.errno)
        if sent == HEADER_BYTES + len(part):
            return True
        sink.owed += (header + part)[sent:]
        return False


AnyPump: TypeAlias = Pump | FramingPump | UnframingPump | TransitPump


def pump_between(source: Stream, sink: Stream, *, owner: PumpOwner, room: PumpRoom) -> AnyPump:
    """Give the pump that leads from `source` to `sink`, whichever kind each is."""
    if isinstance(sink, PoolLeg):
        kind = TransitPump if isinstance(source, PoolLeg) else FramingPump
        return kind(source, sink, owner=owner, room=room)
    if isinstance(source, PoolLeg):
        return UnframingPump(source, sink, owner=owner, room=room)
    return Pump(source, sink, owner=owner, room=room)

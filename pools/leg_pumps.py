"""Pumps into legs between gateways: payload gets its frames on the way.

A small message is copied, header and payload in one system call; a large transfer is spliced, each pipeful as one
frame. What comes out of one leg and goes into another is cut anew, so that a frame is never half written for want of
input. The way out of a leg is `pools.unframing_pump`.
"""

import errno
from socket import MSG_MORE
from typing import Final, TypeAlias

from pools.frames import HEADER_BYTES, data_header, put_data_header
from pools.leg import PoolLeg
from pools.net.pipes import Pipe
from pools.net.pump import COPY_BYTES, LARGE_BYTES, Pump, PumpOwner, PumpRoom
from pools.net.stream import Stream, StreamClosed, StreamFailed
from pools.unframing_pump import UnframingPump

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
        return self.kept is None and super()._can_splice()

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
        if sink.owed:
            sink.settle()
        sink.mid_frame = True
        sink.begin_payload(data_header(sink.state.session, held))
        super()._drain(pipe, held)
        sink.mid_frame = False
        if sink.owed:
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
            is_last = source.ending and not source.unsure and count < min(allowance, LARGE_BYTES)
            try:  # FIN follows at once what is last, in the same packet
                sent = sink.socket.send(framed, MSG_MORE if is_last else 0)
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


class TransitPump(IntoLeg, UnframingPump):
    """Out of one leg into another."""

    __slots__ = ()

    def _put(self, part: memoryview, flags: int) -> bool:
        sink = self.sink
        header = data_header(sink.state.session, len(part))
        if self.kept is not None:
            self.kept += part
        sent = 0
        if not sink.owed:
            try:
                sent = sink.socket.sendmsg([header, part], (), flags)
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

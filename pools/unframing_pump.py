"""The pump out of a leg between gateways: payload loses its frames, and what is said between it is heard.

Small frames are copied, as many in one write as came together; large ones are spliced. Control frames are the leg's to
hear, except for those that end a direction.
"""

import errno
from socket import MSG_MORE
from typing import Final

from pools.frame_bodies import Reset
from pools.frames import HEADER_BYTES, Frame, FrameType, Payload, data_header
from pools.leg import PoolLeg
from pools.net.errors import ProtocolError
from pools.net.pipes import CAPACITY_BYTES, Pipe
from pools.net.pump import COPY_BYTES, LARGE_BYTES, Pump
from pools.net.stream import StreamFailed

_LENGTH_OFFSET: Final = 4  # in a frame's header


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
                self._large = self._is_worth_splicing()
                return not self.ended
            if self._is_long(len(view), moved_before):
                return True
            if not self.has_input():
                return False

    def _is_long(self, count: int, moved_before: int) -> bool:
        """Tell whether a greenlet must go on: more of this is worth splicing, or others must have their turn."""
        self._large = self._is_worth_splicing()
        if self._large:
            return True
        if count < LARGE_BYTES:
            return False
        if self._busy and self.moved_bytes - moved_before < LARGE_BYTES:  # padding, or tiny frames: all work, no bytes
            self._take_turns()
        return True

    def _is_worth_splicing(self) -> bool:
        return self.source.reader.data_left >= LARGE_BYTES and self._can_splice()

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
                    part = self._judge(item)
                    if part and view:
                        part, view = self._gather(part, view)
                    if part and not self._put_down(part, view):
                        source.rest = bytes(view) + source.rest
                        return False
                elif item is not None:
                    source.rest = bytes(view) + source.rest  # before an end is heard of: the next session may be there
                    return self._hear(item)
        except ProtocolError:
            return self._fail(source, errno.EPROTO)
        return True

    def _judge(self, payload: Payload) -> memoryview:
        """Give what of `payload` goes on: nothing of padding."""
        if payload.begins:
            self.source.state.received(payload.header.type, payload.header.session)
        return payload.part if payload.header.type is FrameType.DATA else payload.part[:0]

    def _gather(self, part: memoryview, view: memoryview) -> tuple[memoryview, memoryview]:
        """Join `part` with the payload of the DATA frames right behind it, so that all of them cost one write."""
        take = self.source.reader.take
        parts = [part]
        prefix = data_header(self.source.state.session, 1)[:_LENGTH_OFFSET]
        while len(view) >= HEADER_BYTES and view[:_LENGTH_OFFSET] == prefix:
            try:
                item, view = take(view)
            except ProtocolError:  # a length that may not be; nothing was taken, and it is met again
                break
            if isinstance(item, Payload):
                parts.append(item.part)
        return memoryview(b"".join(parts)), view

    def _put_down(self, part: memoryview, behind: memoryview) -> bool:
        self.moved_bytes += len(part)
        self._room.copied_bytes += len(part)
        is_last = len(behind) >= HEADER_BYTES and behind[0] == FrameType.FIN
        return self._put(part, MSG_MORE if is_last else 0)  # the end follows at once, in the same packet

    def _put(self, part: memoryview, flags: int) -> bool:
        """Write `part`; False where not all of it went out."""
        try:
            sent = self.sink.socket.send(part, flags)
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
        self._large = self._hear_header(room.view[:count]) and source.reader.data_left >= LARGE_BYTES
        return self._large

    def _hear_header(self, view: memoryview) -> bool:
        header = self.source.reader.begins_data(view)
        if header is None:
            return self._pass_on(view)
        try:
            self.source.state.received(FrameType.DATA, header.session)
        except ProtocolError:
            return self._fail(self.source, errno.EPROTO)
        return True

"""Moves bytes one way between two streams, with back-pressure.

A pump costs no greenlet while its source is quiet. A small message moves right in the hub; what does not finish at
once (a full send buffer, a long transfer) takes a greenlet from the pool, which it gives back when the source has
nothing more. What an end or a failure means for the session is its owner's to say.
"""

import errno
import os
from socket import MSG_MORE
from typing import Final, Protocol

from pools.net.greenlet_pool import GreenletPool
from pools.net.pipes import CAPACITY_BYTES, Pipe, PipeCache
from pools.net.readiness import Readiness
from pools.net.stream import Stream, StreamClosed, StreamFailed

COPY_BYTES: Final = 64 * 1024
HEADROOM_BYTES: Final = 8
"""Free space in front of the buffer, for who must put a header before what was read there."""

LARGE_BYTES: Final = 16 * 1024
"""A read of this size makes a pump splice what follows; a burst that ends below it makes the pump copy again."""
_TURN_BYTES: Final = 2 * 1024 * 1024  # moved before other sockets have their turn
_CANNOT_SPLICE: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM})
"""What splice(2) says of a kind of socket, or a container's filter of the call itself, before it has moved anything."""

SPLICE_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class PumpOwner(Protocol):
    """Who a pump reports to. Calls come from the hub or from the pump's greenlet; they must not block."""

    def source_ended(self, pump: "Pump") -> None:
        """Hear that the source said end of stream, all that came before it having been written to the sink."""

    def leg_failed(self, pump: "Pump", leg: Stream, number: int) -> None:
        """Hear that `leg`, the pump's source or sink, failed with errno `number`; the pump moves nothing any more."""


class PumpRoom:
    """What all pumps of a process share. Make it in the process that uses it, after the fork.

    Args:
        splice: whether long transfers go by splice(2) rather than through `view`.

    Attributes:
        view: where bytes lie between a read and the write that follows it, with nothing in between.
        framed: the same bytes, and HEADROOM_BYTES before them.
        copied_bytes: moved through the buffer, all pumps together.
        spliced_bytes: moved by splice.
    """

    __slots__ = ("copied_bytes", "framed", "greenlets", "pipes", "readiness", "splice", "spliced_bytes", "view")

    def __init__(self, *, readiness: Readiness, greenlets: GreenletPool, pipes: PipeCache, splice: bool) -> None:
        self.readiness = readiness
        self.greenlets = greenlets
        self.pipes = pipes
        self.splice = splice
        self.framed = memoryview(bytearray(HEADROOM_BYTES + COPY_BYTES))
        self.view = self.framed[HEADROOM_BYTES:]
        self.copied_bytes = 0
        self.spliced_bytes = 0


class Pump:
    """One direction of a session, from a plain stream to a plain stream. Owns neither.

    Those that lead into or out of a leg between gateways are `pools.leg_pumps`.

    Attributes:
        source: read here.
        sink: written there.
        moved_bytes: read from the source so far, spliced ones included.
        owner: who hears of the end.
        ended: the source has ended, or either leg failed; nothing will move any more.
    """

    __slots__ = ("_busy", "_large", "_room", "_unsent", "ended", "moved_bytes", "owner", "sink", "source")

    def __init__(self, source: Stream, sink: Stream, *, owner: PumpOwner, room: PumpRoom) -> None:
        self.source = source
        self.sink = sink
        self.moved_bytes = 0
        self.ended = False
        self.owner = owner
        self._room = room
        self._busy = False
        self._large = False
        self._unsent = b""

    def __repr__(self) -> str:
        state = "ended" if self.ended else "at work" if self._busy else "quiet"
        return f"<Pump {self.source.fd}>{self.sink.fd} {state} moved_bytes={self.moved_bytes}>"

    def wake(self) -> None:
        """Move what the source has; for the hub, at each edge of input."""
        if not self._busy and not self.ended and (self._large or self._copy()):
            self._busy = True
            self._room.greenlets.run(self._work)

    def _copy(self) -> bool:  # noqa: C901, PLR0911, PLR0912, PLR0915  # once a message: kept in one piece
        """Copy until the source is empty.

        Returns:
            Whether a greenlet must go on: the sink is full, or there is so much that others must have their turn.
        """
        source, room = self.source, self._room
        while True:
            try:
                count = source.socket.recv_into(room.view)
            except BlockingIOError:
                source.readable = False
                return False
            except OSError as error:
                return self._fail(source, error.errno)
            if not count:
                return self._end()
            self.moved_bytes += count
            room.copied_bytes += count
            is_last = source.ending and not source.unsure and count < LARGE_BYTES
            try:  # the end follows at once what is last, in the same packet
                sent = self.sink.socket.send(room.view[:count], MSG_MORE if is_last else 0)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                return self._fail(self.sink, error.errno)
            if sent < count:
                self._unsent = bytes(room.view[sent:count])
                self._large = count >= LARGE_BYTES and self._can_splice()
                return True
            if count >= LARGE_BYTES:
                self._large = self._can_splice()
                return True
            if not source.unsure:  # a short read has emptied the source: spare the one that would only tell that
                source.readable = False
                return source.ending and self._end()

    def _work(self) -> None:
        """Move until the source is empty, waiting for the sink as often as it takes; in a greenlet."""
        turn_ends = self.moved_bytes + _TURN_BYTES
        try:
            while not self.ended:
                if self._is_behind():
                    self._flush()
                elif not self.has_input():
                    break
                elif self.moved_bytes >= turn_ends:
                    turn_ends = self._take_turns()
                elif self._large:
                    self._splice(turn_ends)
                else:
                    self._copy()
        except StreamClosed:  # whoever closed it has ended the session
            self.ended = True
        finally:
            self._busy = False

    def _take_turns(self) -> int:
        self._room.readiness.take_turns()
        if self.source.fd < 0:
            raise StreamClosed
        return self.moved_bytes + _TURN_BYTES

    def _is_behind(self) -> bool:
        """Tell whether what was read must be written before more is read."""
        return bool(self._unsent)

    def has_input(self) -> bool:
        """Tell whether the source may have something that this pump would take now."""
        return self.source.readable

    def _can_splice(self) -> bool:
        return self._room.splice and self.source.splices and self.sink.splices

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, b""
        try:
            self.sink.send_all(unsent)
        except StreamFailed as failure:
            self._fail(self.sink, failure.errno)

    def _splice(self, turn_ends: int) -> None:
        """Splice until the source is empty or the turn is over, holding a pipe meanwhile."""
        pipe = self._room.pipes.take()
        if pipe is None:
            self._large = False
            self._copy()
            return
        burst_began = self.moved_bytes
        empty = False
        try:
            while self._large and self.moved_bytes < turn_ends and (count := self._fill(pipe)):
                self._drain(pipe, count)
            empty = True
        except (OSError, StreamFailed) as error:
            self._fail(self.sink, error.errno)
        finally:
            self._room.pipes.give(pipe, empty=empty)
        self._large = self._large and self.moved_bytes - burst_began >= LARGE_BYTES

    def _fill(self, pipe: Pipe) -> int:
        """Give the bytes that went from the source into the empty pipe; 0 when there were none or it may have ended.

        The pipe being empty, EAGAIN can only mean that the source is.
        """
        try:
            count = os.splice(self.source.fd, pipe.write_fd, self._pipeful(), flags=SPLICE_FLAGS)
        except BlockingIOError:
            if self.source.unsure:  # splice never passes the mark of urgent data; a read does
                self._large = False
            else:
                self.source.readable = False
            return 0
        except OSError as error:
            self._cannot_fill(error)
            return 0
        if not count:
            self._large = False  # the end, or an urgent mark with the end behind it: a read will tell
        self.moved_bytes += count
        self._room.spliced_bytes += count
        return count

    def _pipeful(self) -> int:
        """Give how much may go into an empty pipe."""
        return CAPACITY_BYTES

    def _cannot_fill(self, error: OSError) -> None:
        if error.errno in _CANNOT_SPLICE:  # it is copied from here on
            self._large = self.source.splices = False
        else:
            self._fail(self.source, error.errno)

    def _drain(self, pipe: Pipe, held: int) -> None:
        """Empty the pipe into the sink; here EAGAIN can only mean that the sink is full."""
        while held:
            try:
                held -= os.splice(pipe.read_fd, self.sink.fd, held, flags=SPLICE_FLAGS)
            except BlockingIOError:
                self.sink.wait_writable()
            except OSError as error:
                if error.errno not in _CANNOT_SPLICE:
                    raise
                self._large = self.sink.splices = False
                self._copy_out(pipe, held)
                return

    def _copy_out(self, pipe: Pipe, held: int) -> None:
        """Empty the pipe into a sink that cannot be spliced to."""
        while held:
            part = os.read(pipe.read_fd, min(held, COPY_BYTES))
            held -= len(part)
            self.sink.send_all(part)

    def _end(self) -> bool:
        self.ended = True
        self.owner.source_ended(self)
        return False

    def _fail(self, leg: Stream, number: int | None) -> bool:
        self.ended = True
        self.owner.leg_failed(self, leg, number or errno.EIO)
        return False

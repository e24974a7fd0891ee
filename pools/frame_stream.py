"""A stream that frames go over: whose turn it is to write, and what was received and not taken apart yet.

Payload is written by one pump at a time, control frames by whoever has something to say. Two rules keep them apart:
what the kernel does not take at once is owed, and goes out before anything else; and nothing comes between the header
of a payload and its end. What the frames mean is not known here.
"""

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pools.frames import FrameReader
from pools.net import sockopts
from pools.net.errors import ProtocolError
from pools.net.sockopts import Socket
from pools.net.stream import Stream, StreamFailed

if TYPE_CHECKING:
    from pools.net.readiness import Readiness

RECEIVE_BYTES: Final = 16_384
_OWED_LIMIT: Final = 256 * 1024  # what is said again on a second leg, and control frames for a peer that reads nothing


class FrameStream(Stream):
    """See the module.

    Attributes:
        reader: takes apart what is received.
        rest: received, and not taken apart yet: it came behind the frame that its reader stopped at.
        owed: said, and not taken by the kernel yet. Whoever writes payload lets it go first.
        mid_frame: a payload is half written: nothing else may be written until the rest of it is.
    """

    __slots__ = ("mid_frame", "owed", "reader", "rest")

    def __init__(self, readiness: "Readiness", sock: Socket, fd: int) -> None:
        super().__init__(readiness, sock, fd)
        self.reader = FrameReader()
        self.rest = b""
        self.owed = bytearray()
        self.mid_frame = False

    def write(self, data: "bytes | memoryview", *, may_wait: bool = False) -> None:
        """Write bytes between two frames, behind what is owed. Never waits: what does not fit is owed.

        Args:
            may_wait: for what is written next, to share its packet. The kernel sends it by itself after as long as it
                would wait for an acknowledgement: some tenths of a second (MSG_MORE, send(2)). Or `push` it.

        Raises:
            ProtocolError: theirs: too much is owed, for they read nothing of what they ask for.
            StreamFailed: the connection is broken.
        """
        if not self.owed and not self.mid_frame:
            try:
                data = data[self.socket.send(data, socket.MSG_MORE if may_wait else 0) :]
            except BlockingIOError:
                pass
            except OSError as error:
                raise StreamFailed(error) from error
        if data:
            self._owe(data)

    def push(self) -> None:
        """Let go at once what may wait: TCP_NODELAY, set once more, sends what waits (tcp(7))."""
        if self.fd >= 0:
            sockopts.no_delay(self.socket)

    def begin_payload(self, header: bytes) -> None:
        """Write the header of a payload that follows, waiting for room; otherwise as `settle`."""
        while header:
            try:
                header = header[self.socket.send(header, socket.MSG_MORE) :]
            except BlockingIOError:
                self.wait_writable()
            except OSError as error:
                raise StreamFailed(error) from error

    def settle(self) -> None:
        """Write what is owed, waiting for room; in the greenlet of the pump that writes here.

        Raises:
            StreamFailed: the connection is broken.
            StreamClosed: we closed it meanwhile.
        """
        while self.owed:
            if not self._pay_some():
                self.wait_writable()

    def receive_at_once(self) -> bool:
        """Fill `rest`, which is empty, with what has arrived; False where nothing has.

        Raises:
            StreamFailed: the connection is broken, or has ended; `at_end` says which.
        """
        if not self.readable:
            return False
        try:
            self.rest = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            self.readable = False
            return False
        except OSError as error:
            raise StreamFailed(error) from error
        if not self.rest:
            raise self.at_end()
        if len(self.rest) < RECEIVE_BYTES and not (self.unsure or self.ending):
            self.readable = False  # a short read was all there is
        return True

    def unread_bytes(self, *, at_most: int) -> int:
        """Count what has come and was not taken apart, up to `at_most`."""
        count = len(self.rest)
        if self.readable:
            with suppress(OSError):  # nothing has come after all, or whoever reads here learns why
                count += len(self.socket.recv(at_most, socket.MSG_PEEK))
        return min(count, at_most)

    def at_end(self) -> StreamFailed:
        """Give what it means that the input has ended."""
        raise NotImplementedError

    @property
    def unsent_bytes(self) -> int:
        """As in `Stream`, with what is owed."""
        return len(self.owed) + sockopts.unacked_bytes(self.fd)

    def close(self) -> None:
        """Close as any stream."""
        super().close()
        self.owed.clear()

    def _owe(self, data: "bytes | memoryview") -> None:
        if len(self.owed) + len(data) > _OWED_LIMIT:
            raise ProtocolError(f"expected them to read what they ask for; found {len(self.owed)} bytes unread")
        self.owed += data
        if self.on_writable is None:
            self.on_writable = self._pay

    def _pay(self) -> None:
        """Go on with what is owed, in the hub, unless a pump has a payload half written: then that one does."""
        if self.mid_frame:
            return
        try:
            while self.owed and self._pay_some():
                pass
        except StreamFailed:
            self.prompt()  # whoever reads here learns why
            self.owed.clear()
        if not self.owed:
            self.on_writable = None

    def _pay_some(self) -> bool:
        try:
            del self.owed[: self.socket.send(self.owed)]
        except BlockingIOError:
            return False
        except OSError as error:
            raise StreamFailed(error) from error
        return True

"""A TCP connection of ours: its socket, what the kernel last said of it, and waiting for more.

What is done with the bytes is not decided here. Registration and events are `pools.net.readiness`.
"""

import errno
import os
import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from greenlet import getcurrent

from pools.net import sockopts
from pools.net.errors import MidmileError
from pools.net.sockopts import Socket

if TYPE_CHECKING:
    from pools.net.readiness import Readiness

Wake: TypeAlias = Callable[[], object]

_END_EVENTS: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_UNSURE_EVENTS: Final = select.EPOLLERR | select.EPOLLPRI
_DISCARD_BYTES: Final = 65_536


class StreamClosed(MidmileError):
    """The stream was closed by us while a greenlet waited on it. Not a fault of anybody."""


class StreamFailed(MidmileError):
    """The kernel says that the connection is broken.

    Attributes:
        errno: the kernel's number.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.errno = error.errno or errno.EIO


class Stream:
    """A non-blocking socket and what the kernel last said of it. Owns the socket.

    Attributes:
        socket: the socket; not to be used after `close`.
        fd: its descriptor, -1 once closed.
        readable: input, or its end, may be waiting. Whoever reads clears it when nothing is left.
        ending: the kernel has seen the end of the input: no further edge will come, and a short read was its last,
            unless it is `unsure` too.
        unsure: a short read says nothing, because of an error, or of urgent data, at whose mark the kernel cuts
            reads short (tcp(7)). A reader goes on until EAGAIN or the end.
        splices: splice(2) was not refused for it yet. A kernel may know it for some sockets and not for others, such as
            those of MPTCP.
        on_readable: called in the hub at each edge of input; must neither block nor raise.
        on_writable: called in the hub when output may go on.
    """

    __slots__ = (
        "_readiness",
        "ending",
        "fd",
        "on_readable",
        "on_writable",
        "readable",
        "socket",
        "splices",
        "unsure",
    )

    def __init__(self, readiness: "Readiness", sock: Socket, fd: int) -> None:
        self._readiness = readiness
        self.socket = sock
        self.fd = fd
        self.readable = False
        self.ending = False
        self.unsure = False
        self.splices = True
        self.on_readable: Wake | None = None
        self.on_writable: Wake | None = None

    def __repr__(self) -> str:
        said = [word for word in ("readable", "ending", "unsure") if getattr(self, word)]
        return f"<Stream fd={self.fd} {' '.join(said) or 'quiet'}>"

    def wait_readable(self) -> None:
        """Park this greenlet until input, or its end, may be waiting.

        Raises:
            StreamClosed: we closed it meanwhile.
        """
        while not self.readable:
            self.on_readable = getcurrent().switch
            try:
                self._readiness.park()
            finally:
                self.on_readable = None
            self._check_open()

    def wait_writable(self) -> None:
        """Park this greenlet until the kernel says that output may go on. Call it after EAGAIN or EINPROGRESS only.

        Raises:
            StreamClosed: we closed it meanwhile.
        """
        self.on_writable = getcurrent().switch
        try:
            self._readiness.park()
        finally:
            self.on_writable = None
        self._check_open()

    def receive(self, limit: int) -> bytes:
        """Give what has arrived, at most `limit` bytes, waiting for the first; b"" at the end of the input.

        Raises:
            StreamClosed: we closed it meanwhile.
            StreamFailed: the connection is broken.
        """
        while True:
            self.wait_readable()
            try:
                return self.socket.recv(limit)
            except BlockingIOError:
                self.readable = False
            except OSError as error:
                raise StreamFailed(error) from error

    def send_all(self, data: "bytes | memoryview") -> None:
        """Write all of `data`, parking this greenlet while the send buffer is full.

        Raises:
            StreamClosed: we closed it meanwhile.
            StreamFailed: the connection is broken.
        """
        left = memoryview(data)
        while left:
            try:
                left = left[self.socket.send(left) :]
            except BlockingIOError:
                self.wait_writable()
            except OSError as error:
                raise StreamFailed(error) from error

    def end_output(self) -> None:
        """Send FIN after what was written; the other direction goes on.

        Raises:
            StreamFailed: the connection was reset in the same moment.
        """
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:  # ENOTCONN, whatever the reason
            number = sockopts.pending_error(self.socket) or error.errno or errno.ENOTCONN
            raise StreamFailed(OSError(number, os.strerror(number))) from error

    def close_after(self, last_words: bytes) -> None:
        """Close in order once `last_words` are written, as far as the send buffer takes them at once.

        What came in is read away first: closing over unread input would send a reset (RFC 1122 section 4.2.2.13),
        which may overtake the words.
        """
        if self.fd < 0:
            return
        try:
            self.socket.send(last_words)
            while self.socket.recv(_DISCARD_BYTES):
                pass
        except OSError:  # nothing more came, or nobody is there to hear it
            pass
        sockopts.linger_off(self.socket)
        self.close()

    def note_end(self, mask: int) -> None:
        """Remember what epoll said beyond "input": its end, an error, urgent data."""
        if mask & _END_EVENTS:
            self.ending = True
        if mask & _UNSURE_EVENTS:
            self.unsure = True

    def late_error(self) -> int:
        """Give the errno by which a stream whose input had ended is broken now; 0 while it is not."""
        return sockopts.pending_error(self.socket) if self.unsure else 0

    def prompt(self) -> None:
        """Act as if the kernel had said that the input is ending: for whoever learned it by writing."""
        self.readable = self.ending = self.unsure = True
        if self.on_readable is not None:
            self._readiness.defer(self._wake_reader)

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the other end has not acknowledged, and those that the kernel has not taken yet."""
        return sockopts.unacked_bytes(self.fd)

    def last_words(self, number: int) -> bool:  # noqa: ARG002  # a reset of TCP carries no reason
        """Say that the session is cut off because of errno `number`, where that takes more than closing.

        Returns:
            Whether something was said, which must get through before the stream is closed.
        """
        return False

    def finish(self) -> None:
        """End in order, all having been said: what is still in the send buffer goes out, then FIN."""
        sockopts.linger_off(self.socket)
        self.close()

    def close(self) -> None:
        """Close the socket and wake who waits on it with StreamClosed. Calling it again does nothing."""
        if self.fd < 0:
            return
        self._readiness.forget(self)
        self.fd = -1
        self.socket.close()

    def _wake_reader(self) -> None:
        """Wake who reads here by now: the one who did when it was put off may be done, its greenlet at another job."""
        if self.on_readable is not None:
            self.on_readable()

    def _check_open(self) -> None:
        if self.fd < 0:
            raise StreamClosed

"""Whole lines to a descriptor that other processes share, without ever waiting for its reader.

Log lines go to stderr: a file, a terminal, a pipe, or the journal's socket, shared by the supervisor and all its
children. What a line says is decided elsewhere.

O_NONBLOCK belongs to the open file description, so setting it on stderr would set it for everybody (fcntl(2)). A
pipe or terminal is therefore opened anew through /proc/self/fd; a socket is sent to with MSG_DONTWAIT; a regular file
is written as it is, for it never makes a writer wait and the shared offset keeps writers apart.
"""

import os
import select
import socket
import stat
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

FLUSH_BYTES: Final = 32 * 1024
HELD_BYTES_MAX: Final = 256 * 1024
ATOMIC_BYTES: Final = select.PIPE_BUF  # a write up to this size is never mixed with others': pipe(7)

_Write = Callable[[bytes], int]
_Close = Callable[[], None]


class LineSink:
    """A bounded buffer of lines before a shared descriptor. Never blocks, never raises OSError, counts what it drops.

    Lines leave in chunks of whole lines, each chunk in one write: up to ATOMIC_BYTES where the kernel would mix
    larger writes of several processes. The newest lines are dropped when HELD_BYTES_MAX are waiting for a reader, and
    all waiting lines when the descriptor is broken or its disk full.

    Args:
        descriptor: where to write, borrowed; it must stay open as long as the sink.
    """

    def __init__(self, descriptor: int) -> None:
        self._write, self._close, self._chunk_bytes = _open(descriptor)
        self._chunks: deque[bytes] = deque()
        self._filling: list[bytes] = []
        self._filling_bytes = 0
        self._held_bytes = 0
        self._unflushed_bytes = 0
        self._mid_line = False  # the last byte written was inside a line
        self._torn = False  # and the rest of that line was dropped: what follows must not continue it

    def put(self, line: bytes) -> int:
        """Take one line, newline included; write what is held each time another FLUSH_BYTES came in.

        Returns:
            Lines dropped by this call, for a counter.
        """
        if self._held_bytes + len(line) > HELD_BYTES_MAX:
            return 1
        if self._filling_bytes + len(line) > self._chunk_bytes:
            self._seal()
        self._filling.append(line)
        self._filling_bytes += len(line)
        self._held_bytes += len(line)
        self._unflushed_bytes += len(line)
        return self.flush() if self._unflushed_bytes >= FLUSH_BYTES else 0

    def flush(self) -> int:
        """Write what the descriptor takes now and keep the rest.

        Returns:
            Lines dropped by this call, for a counter.
        """
        self._seal()
        self._unflushed_bytes = 0
        try:
            while self._chunks:
                self._write_first()
        except BlockingIOError:
            return 0
        except OSError:  # a full disk, a reader that went away: there is nowhere left to report it but the counter
            return self._drop_all()
        return 0

    def close(self) -> None:
        """Let go of what the sink opened. Lines still held are lost: flush first."""
        self._close()

    def _seal(self) -> None:
        if self._filling:
            self._chunks.append(b"".join(self._filling))
            self._filling.clear()
            self._filling_bytes = 0

    def _write_first(self) -> None:
        if self._torn:
            self._write(b"\n")
            self._torn = False
        chunk = self._chunks[0]
        written = self._write(chunk)
        self._held_bytes -= written
        self._mid_line = not chunk.endswith(b"\n", 0, written)
        if written == len(chunk):
            self._chunks.popleft()
        else:
            self._chunks[0] = chunk[written:]

    def _drop_all(self) -> int:
        dropped = sum(chunk.count(b"\n") for chunk in self._chunks)
        self._chunks.clear()
        self._held_bytes = 0
        self._torn = self._torn or self._mid_line
        return dropped


def _open(descriptor: int) -> tuple[_Write, _Close, int]:
    """Find the way to write to `descriptor` that never waits, the way to let go of it, and the largest chunk."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return partial(os.write, descriptor), _nothing_to_close, FLUSH_BYTES
    if stat.S_ISSOCK(mode):
        return _open_socket(descriptor)
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # no /proc, or a pipe of a user whose rights were given up since
        return partial(_write_if_writable, descriptor), _nothing_to_close, ATOMIC_BYTES
    return partial(os.write, own), partial(os.close, own), ATOMIC_BYTES


def _open_socket(descriptor: int) -> tuple[_Write, _Close, int]:
    own = socket.socket(fileno=os.dup(descriptor))
    return lambda chunk: own.send(chunk, socket.MSG_DONTWAIT), own.close, ATOMIC_BYTES


def _write_if_writable(descriptor: int, chunk: bytes) -> int:
    """Write where only a shared blocking descriptor is at hand: a pipe that polls writable takes PIPE_BUF at once."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, chunk[:ATOMIC_BYTES])


def _nothing_to_close() -> None:
    """Leave a borrowed descriptor open."""

"""Pipes for splice(2), kept for the next use. A pipe is held by a pump only while bytes are in it.

Descriptors and pipe memory are bounded per user (pipe(7), pipe-user-pages-soft): a pipe that cannot be made is no
error, the pump copies instead; one that stays small works, only slower.
"""

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

CAPACITY_BYTES: Final = 512 * 1024  # CPU s/GB of two gateways in a row: 256 KiB 1.29, 512 KiB 1.14
"""What a pump puts into an empty pipe at once."""

# A pipe is full when its slots are, and what a packet brought seldom fills its slots. In a pipe of just that capacity
# half the frames of a pipeful left a small remainder (a quarter of all bytes were copied, in twice as many frames).
SIZE_BYTES: Final = 2 * CAPACITY_BYTES  # fs.pipe-max-size, as it comes
_SIZES: Final = (SIZE_BYTES, SIZE_BYTES // 2, SIZE_BYTES // 4)
_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class Pipe:
    """Both ends of a pipe, non-blocking and close-on-exec."""

    read_fd: int
    write_fd: int

    def close(self) -> None:
        """End it with whatever it holds."""
        os.close(self.read_fd)
        os.close(self.write_fd)


class PipeCache:
    """Lends pipes; owns those it is not lending.

    Args:
        most: pipes that may exist, two descriptors each; beyond it sessions whose readers stall would take the
            descriptors that others need.

    Attributes:
        lent: pipes that pumps hold now.
    """

    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        self._idle: list[Pipe] = []
        self.lent = 0

    def take(self) -> Pipe | None:
        """Lend an empty pipe; None when as many are lent as may be, or no descriptor is left."""
        if self.lent >= self._most:
            return None
        try:
            pipe = self._idle.pop() if self._idle else _make()
        except OSError:  # EMFILE, ENFILE: copying needs no pipe
            return None
        self.lent += 1
        return pipe

    def give(self, pipe: Pipe, *, empty: bool) -> None:
        """Take a pipe back. One that still holds bytes of a session that broke is closed, never lent again."""
        self.lent -= 1
        if empty:
            self._idle.append(pipe)
        else:
            pipe.close()

    def close(self) -> None:
        """Close the idle ones."""
        while self._idle:
            self._idle.pop().close()


def _make() -> Pipe:
    pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
    for size in _SIZES:
        with suppress(OSError):  # EPERM above the user's share of pipe memory: a smaller pipe must do
            fcntl.fcntl(pipe.write_fd, fcntl.F_SETPIPE_SZ, size)
            break
    return pipe

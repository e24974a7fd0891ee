"""Ends connections with a reset, but not before the other end has what was sent first.

Closing with SO_LINGER{1,0} throws the send buffer away (tcp(7), socket(7)). A reset that one side of a session sent
must reach the other side after the bytes that came before it, as it would have without a gateway between them.
"""

from typing import Final

import gevent

from pools.net import sockopts
from pools.net.clock import monotonic_s
from pools.net.stream import Stream

_PERIOD_S: Final = 0.02
_PATIENCE_S: Final = 5.0


class Resets:
    """Channels on their way out. Make it in the process that uses it, after the fork; owns what it is given.

    Args:
        patience_s: seconds after which the reset is sent although bytes are unacknowledged.
    """

    def __init__(self, *, patience_s: float = _PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._waiting: dict[Stream, float] = {}
        self._timer = gevent.get_hub().loop.timer(_PERIOD_S, _PERIOD_S)

    def __len__(self) -> int:
        return len(self._waiting)

    def reset(self, stream: Stream) -> None:
        """Close `stream` with a reset as soon as all that was written to it is acknowledged, or nobody can any more."""
        if _flushed(stream):
            _close(stream)
            return
        self._waiting[stream] = monotonic_s() + self._patience_s
        if len(self._waiting) == 1:
            self._timer.start(self._look)

    def cut(self, stream: Stream, number: int) -> None:
        """End a stream whose session is cut off because of errno `number`: with a reset at once, unless it can say so.

        A reset may throw away what was sent before. Where words say it, they go out first.
        """
        if stream.last_words(number):
            self.reset(stream)
        else:
            stream.close()

    def wait(self) -> None:
        """Park this greenlet until nothing waits any more, which patience bounds, or `hurry` cuts short."""
        while self._waiting:
            gevent.sleep(_PERIOD_S)

    def hurry(self) -> None:
        """Reset all that still wait, at once."""
        for stream in self._waiting:
            _close(stream)
        self._waiting.clear()
        self._timer.stop()

    def close(self) -> None:
        """Reset all that still wait, and take nothing more."""
        self.hurry()
        self._timer.close()

    def _look(self) -> None:
        now_s = monotonic_s()
        done = [stream for stream, until_s in self._waiting.items() if now_s >= until_s or _flushed(stream)]
        for stream in done:
            del self._waiting[stream]
            _close(stream)
        if not self._waiting:
            self._timer.stop()


def _flushed(stream: Stream) -> bool:
    if stream.unsent_bytes == 0:
        return True
    return stream.unsure and sockopts.pending_error(stream.socket) != 0  # broken: nobody will acknowledge the rest


def _close(stream: Stream) -> None:
    sockopts.linger_reset(stream.socket)
    stream.close()

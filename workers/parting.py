"""Legs to other gateways whose session nobody wants any more before anybody had it: on their way back to the pool.

The session is ended in order: FIN is said, what still comes is thrown away, and once the other end has said FIN too
the leg can carry another one. An end that takes too long, or talks too much, costs the leg.
"""

import errno
from functools import partial

from pools.leg import PoolLeg
from pools.net.errors import ProtocolError
from pools.net.readiness import Readiness
from pools.net.resets import Resets
from pools.net.stream import StreamFailed


class Partings:
    """The legs that wait for their session's end. Owns each from `part` until it is back with its keeper, or closed.

    Args:
        patience_s: how long one waits.
    """

    def __init__(self, *, readiness: Readiness, resets: Resets, patience_s: float) -> None:
        self._readiness = readiness
        self._resets = resets
        self._patience_s = patience_s
        self._waiting: dict[PoolLeg, float] = {}  # the first to be given up first

    def __len__(self) -> int:
        return len(self._waiting)

    def part(self, leg: PoolLeg, *, now_s: float) -> None:
        """End the session that was asked for on `leg`, whether or not that was answered; nothing was said in it."""
        leg.on_readable = partial(self._hear, leg)
        self._waiting[leg] = now_s + self._patience_s
        try:
            leg.end_output()
        except (StreamFailed, ProtocolError):
            self._close(leg)
        else:
            self._readiness.defer(partial(self._hear, leg))  # what has come before this listened makes no edge

    def look(self, now_s: float) -> None:
        """Give up those whose time is over; in the hub."""
        for leg, until_s in list(self._waiting.items()):
            if until_s > now_s:
                break
            self._give_up(leg)

    def close(self) -> None:
        """Give up all."""
        for leg in list(self._waiting):
            self._give_up(leg)

    def _hear(self, leg: PoolLeg) -> None:
        """Read, and throw away, what has come; in the hub."""
        if leg not in self._waiting:
            return
        try:
            leg.hear_open()  # an opener's leg hears none: this reads on to the end of what has come
        except (StreamFailed, ProtocolError):
            self._close(leg)
            return
        if leg.state.is_spent:
            self._close(leg)
        elif not leg.state.in_session:
            self._forget(leg)
            leg.finish()
        elif leg.rest or (leg.readable and not leg.ending):  # it has had its share
            self._give_up(leg)

    def _give_up(self, leg: PoolLeg) -> None:
        self._forget(leg)
        if leg.owed:  # nobody reads there, nor would RESET be
            leg.close()
        else:
            self._resets.cut(leg, errno.ECONNABORTED)

    def _close(self, leg: PoolLeg) -> None:
        self._forget(leg)
        leg.close()

    def _forget(self, leg: PoolLeg) -> None:
        del self._waiting[leg]
        leg.on_readable = None

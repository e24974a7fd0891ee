"""Two pumps and their shared fate: half-close, reset, and the end of a session's two legs.

Three things stay apart on the way through: an end of stream goes on as an end of stream, a reset as a reset after
what came before it, and our own close is told to neither side as theirs. When and why a relay begins is the
session's affair.
"""

import errno
from collections.abc import Callable
from functools import partial
from typing import Final

from pools.leg_pumps import pump_between
from pools.net.errors import Phase, Side
from pools.net.pump import Pump, PumpRoom
from pools.net.resets import Resets
from pools.net.stream import Stream, StreamFailed

NO_ERROR: Final = 0


class Relay:
    """Both directions of a session whose two legs are connected. Owns the pumps and, from `start` on, both streams.

    Either leg may lead to a client or a destination, or to another gateway: then its keeper gets it back at the end.

    Args:
        forward: that pump, if it has begun before the session was open.
        on_end: called once, when nothing moves any more, while both legs can still be asked for their TCP_INFO.

    Attributes:
        forward: inbound to outbound.
        backward: outbound to inbound.
        broken: the leg that failed; None while none has.
        errno: what the kernel said of it.
        over: `on_end` has been called.
        phase: DATA while both directions are open, LAST once one side has said all it had to say.
    """

    __slots__ = ("_on_end", "_resets", "backward", "broken", "errno", "forward", "over", "phase")

    def __init__(
        self,
        inbound: Stream,
        outbound: Stream,
        *,
        room: PumpRoom,
        resets: Resets,
        on_end: Callable[[], None],
        forward: Pump | None = None,
    ) -> None:
        self.forward = forward or pump_between(inbound, outbound, owner=self, room=room)
        self.backward = pump_between(outbound, inbound, owner=self, room=room)
        self.forward.owner = self
        self.broken: Side | None = None
        self.errno = NO_ERROR
        self.over = False
        self.phase = Phase.DATA
        self._resets = resets
        self._on_end = on_end

    @property
    def moved_bytes(self) -> int:
        """Both directions together: what an idle session does not change."""
        return self.forward.moved_bytes + self.backward.moved_bytes

    def start(self) -> None:
        """Move what has come in already, and from now on whatever comes. Call it in the hub."""
        if self.over:
            return
        pumps = (self.forward, self.backward)
        for pump in pumps:
            pump.source.on_readable = pump.wake
        if self.forward.ended:
            self._wait_for_more(self.forward)
        for pump in pumps:  # the first may end it all; then the second stays quiet
            if not pump.ended and pump.has_input():
                pump.wake()

    def abort(self, number: int = errno.ECONNABORTED) -> None:
        """Reset both legs at once, because we have had enough: a timeout, an order, the end of the worker.

        SO_LINGER{1,0} is in force on both as long as a session is open. Another gateway is told errno `number`.
        """
        if not self.over:
            cut = partial(self._resets.cut, number=number)
            self._end(cut, cut)

    def source_ended(self, pump: Pump) -> None:
        """Pass an end of stream on; see `pools.net.pump.PumpOwner`."""
        partner = self._partner(pump)
        if self.broken is not None:
            self._break()
        elif partner.ended:
            self._finish()
        else:
            self._half_close(pump)

    def leg_failed(self, pump: Pump, leg: Stream, number: int) -> None:
        """Pass a reset on; see `pools.net.pump.PumpOwner`.

        When writing failed, the other direction may still hold what that leg said before it broke: it is moved first.
        """
        if self.broken is None:
            self.broken = Side.INBOUND if leg is self.forward.source else Side.OUTBOUND
            self.errno = number
        partner = self._partner(pump)
        if leg is pump.source or partner.ended:
            self._break()
        else:
            leg.prompt()

    def _partner(self, pump: Pump) -> Pump:
        return self.backward if pump is self.forward else self.forward

    def _half_close(self, pump: Pump) -> None:
        try:
            pump.sink.end_output()
        except StreamFailed as failure:
            self.phase = Phase.LAST
            self.leg_failed(pump, pump.sink, failure.errno)
        else:
            self._wait_for_more(pump)

    def _wait_for_more(self, pump: Pump) -> None:
        self.phase = Phase.LAST
        pump.source.on_readable = partial(self._stirs_after_end, pump)
        self._stirs_after_end(pump)  # the reset may have come together with the end

    def _stirs_after_end(self, pump: Pump) -> None:
        """Notice that a leg which had said its all is reset now, for perhaps nobody will write there for hours."""
        if not self.over and (number := pump.source.late_error()):
            self.leg_failed(pump, pump.source, number)

    def _finish(self) -> None:
        """End in order: what is still in the send buffers goes out, then FIN."""
        self._end(_finish, _finish)

    def _break(self) -> None:
        """Close the broken leg and reset the other, once it has got what came before."""
        if self.broken is Side.INBOUND:
            self._end(_close, self._reset)
        else:
            self._end(self._reset, _close)

    def _reset(self, leg: Stream) -> None:
        leg.last_words(self.errno)
        self._resets.reset(leg)

    def _end(self, end_inbound: Callable[[Stream], None], end_outbound: Callable[[Stream], None]) -> None:
        """Stop both pumps, tell the owner, end both legs; then untie the knot, so that no collector is needed."""
        inbound, outbound = self.forward.source, self.backward.source
        self.over = self.forward.ended = self.backward.ended = True
        inbound.on_readable = outbound.on_readable = None
        self._on_end()
        end_inbound(inbound)
        end_outbound(outbound)
        del self.forward, self.backward, self._on_end


def _finish(leg: Stream) -> None:
    leg.finish()


def _close(leg: Stream) -> None:
    leg.close()

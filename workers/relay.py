"""Two pumps and their shared fate: half-close, reset, and the end of a session's two legs.

Three things stay apart on the way through: an end of stream goes on as an end of stream, a reset as a reset after
what came before it, and our own close is told to neither side as theirs. When and why a relay begins is the
session's affair.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from pools.net import sockopts
from pools.net.errors import Phase, Side
from pools.net.pump import Pump, PumpRoom
from pools.net.resets import Resets
from pools.net.stream import Stream, StreamFailed

NO_ERROR: Final = 0


class Relay:
    """Both directions of a session whose two legs are connected. Owns the pumps and, from `start` on, both streams.

    Args:
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
        self, inbound: Stream, outbound: Stream, *, room: PumpRoom, resets: Resets, on_end: Callable[[], None]
    ) -> None:
        self.forward = Pump(inbound, outbound, owner=self, room=room)
        self.backward = Pump(outbound, inbound, owner=self, room=room)
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
        for pump in (self.forward, self.backward):
            pump.source.on_readable = pump.wake
        for pump in (self.forward, self.backward):  # the first may end it all; then the second stays quiet
            if pump.source.readable:
                pump.wake()

    def abort(self) -> None:
        """Reset both legs at once, because we have had enough: a timeout, an order, the end of the worker."""
        if not self.over:
            self._end(_reset_now, _reset_now)

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
        self.phase = Phase.LAST
        pump.source.on_readable = partial(self._stirs_after_end, pump)
        try:
            pump.sink.end_output()
        except StreamFailed as failure:
            self.leg_failed(pump, pump.sink, failure.errno)
        else:
            self._stirs_after_end(pump)  # the reset may have come together with the end

    def _stirs_after_end(self, pump: Pump) -> None:
        """Notice that a leg which had said its all is reset now, for perhaps nobody will write there for hours."""
        if not self.over and pump.source.unsure and (number := sockopts.pending_error(pump.source.socket)):
            self.leg_failed(pump, pump.source, number)

    def _finish(self) -> None:
        """End in order: what is still in the send buffers goes out, then FIN."""
        self._end(_close_in_order, _close_in_order)

    def _break(self) -> None:
        """Close the broken leg and reset the other, once it has got what came before."""
        if self.broken is Side.INBOUND:
            self._end(_reset_now, self._resets.reset)
        else:
            self._end(self._resets.reset, _reset_now)

    def _end(self, close_inbound: Callable[[Stream], None], close_outbound: Callable[[Stream], None]) -> None:
        """Stop both pumps, tell the owner, close both legs; then untie the knot, so that no collector is needed."""
        inbound, outbound = self.forward.source, self.backward.source
        self.over = self.forward.ended = self.backward.ended = True
        inbound.on_readable = outbound.on_readable = None
        self._on_end()
        close_inbound(inbound)
        close_outbound(outbound)
        del self.forward, self.backward, self._on_end


def _close_in_order(leg: Stream) -> None:
    sockopts.linger_off(leg.socket)
    leg.close()


def _reset_now(leg: Stream) -> None:
    """Close with a reset: SO_LINGER{1,0} is in force on both legs as long as a session is open."""
    leg.close()

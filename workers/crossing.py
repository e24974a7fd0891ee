"""Opens a session through other gateways: takes a leg, says OPEN on it, waits for the answer, and tries again.

Payload follows OPEN at once. It is kept until the answer comes, so that a leg which breaks, or a gateway that refuses,
costs the client nothing but time: the same bytes go out on the next leg, or by the next path.
"""

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import gevent

from pools.frame_bodies import Open, Opened, Refused
from pools.leg import PoolLeg
from pools.leg_pumps import IntoLeg, pump_between
from pools.leg_state import State
from pools.net.clock import monotonic_s
from pools.net.errors import LegError, Phase, ProtocolError, Side
from pools.net.pump import Pump, PumpRoom
from pools.net.resets import Resets
from pools.net.stream import Stream, StreamFailed

if TYPE_CHECKING:
    from pools.broker_client import BrokerClient

_POOLED_TRIES: Final = 2  # legs of the pool that may turn out dead, before a session pays for a new one


class OpenRefused(LegError):
    """A gateway further on could not open the session.

    Attributes:
        refused: its words.
    """

    def __init__(self, refused: Refused, target: str) -> None:
        super().__init__(Side.OUTBOUND, Phase.CONNECT, refused.errno, target, retryable=True)
        self.refused = refused


class Crossing:
    """The tries to open one session; in its greenlet. Borrows the inbound leg, owns the outbound one until it is open.

    Args:
        legs: where legs to peers come from.
        on_stale: called for each leg that broke before it brought an answer.
        on_gone: called, perhaps in the hub, with the errno by which the inbound leg is broken.

    Attributes:
        words: what goes before the client's own bytes; of no use any more once `through` was called.
        forward: the pump into the leg that is tried; None before the first.
    """

    __slots__ = ("_inbound", "_leg", "_legs", "_on_gone", "_on_stale", "_resets", "_room", "forward", "words")

    def __init__(  # noqa: PLR0913  # what a session knows of both sides comes together here
        self,
        inbound: Stream,
        *,
        legs: "BrokerClient",
        room: PumpRoom,
        resets: Resets,
        words: bytes,
        on_stale: Callable[[], None],
        on_gone: Callable[[int], None],
    ) -> None:
        self._inbound = inbound
        self._legs = legs
        self._room = room
        self._resets = resets
        self._on_stale = on_stale
        self._on_gone = on_gone
        self._leg: PoolLeg | None = None
        self.words = words
        self.forward: IntoLeg | None = None

    def through(self, peer: str, message: Open, *, until_s: float) -> tuple[PoolLeg, Opened]:
        """Open the session through `peer`, on a leg of the pool or else a new one.

        Args:
            message: what to say there.
            until_s: when to give up, on the monotonic clock.

        Returns:
            The leg, which is the caller's, and what the last gateway said. `forward` leads into it, at work already.

        Raises:
            OpenRefused: a gateway said why it cannot be.
            LegError: no leg, or none that brought an answer in time.
        """
        for _ in range(_POOLED_TRIES):
            leg = self._legs.take(peer)
            if leg is None:
                break
            try:
                return leg, self._ask(leg, message, until_s)
            except OpenRefused:
                raise
            except LegError as error:
                if error.errno == errno.ETIMEDOUT:
                    raise
                self._on_stale()
        leg = self._legs.dial(peer, limit_s=max(0.0, until_s - monotonic_s()))
        return leg, self._ask(leg, message, until_s)

    def said(self) -> bytes:
        """Give what the client has said so far, `words` first, for whoever goes on without another gateway."""
        if self.forward is None or self.forward.kept is None:
            return self.words
        return bytes(self.forward.kept)

    @property
    def heard_end(self) -> bool:
        """Whether the client has ended its direction already."""
        return self.forward is not None and self.forward.ended

    # As the owner of a pump, until the session is open; see `pools.net.pump.PumpOwner`.

    def source_ended(self, pump: Pump) -> None:
        """Pass the client's end on, behind what it has said; what fails here is seen by who waits for the answer."""
        leg = self._leg
        if leg is not None and pump.sink is leg:
            try:
                leg.end_output()
            except StreamFailed:
                leg.prompt()

    def leg_failed(self, pump: Pump, leg: Stream, number: int) -> None:
        """Give up for a client that left; a leg that fails is seen by who waits for its answer."""
        if leg is pump.source:
            self._on_gone(number)
        else:
            leg.prompt()

    def _ask(self, leg: PoolLeg, message: Open, until_s: float) -> Opened:
        answer = self._answer(leg, message, until_s)
        if isinstance(answer, Refused):
            self._end_refused(leg)
            raise OpenRefused(answer, str(message.destination))
        assert self.forward is not None
        self.forward.confirm()
        return answer

    def _answer(self, leg: PoolLeg, message: Open, until_s: float) -> Opened | Refused:
        """Get an answer, or see to it that the leg ends."""
        timeout = gevent.Timeout.start_new(max(0.0, until_s - monotonic_s()))
        self._leg = leg
        try:
            return self._exchange(leg, message)
        except (StreamFailed, ProtocolError) as error:
            self._hold()
            leg.close()
            raise _failed(leg, error.errno or errno.EPROTO) from error
        except gevent.Timeout as fired:
            self._give_up(leg, errno.ETIMEDOUT)
            if fired is not timeout:
                raise
            raise _failed(leg, errno.ETIMEDOUT) from None
        except BaseException:  # the client left, or the session is killed: thrown in from outside
            self._give_up(leg, errno.ECONNABORTED)
            raise
        finally:
            timeout.close()

    def _exchange(self, leg: PoolLeg, message: Open) -> Opened | Refused:
        leg.say(message)
        if self.forward is None:
            pump = pump_between(self._inbound, leg, owner=self, room=self._room)
            assert isinstance(pump, IntoLeg)
            self.forward = pump
            pump.keep(self.words)
        else:
            self.forward.redirect(leg)
        self._room.readiness.defer(self._listen)
        return leg.answer()

    def _listen(self) -> None:
        """Pass on what the client has said already, and from now on whatever it says; in the hub."""
        pump = self.forward
        if pump is not None and self._leg is not None and not pump.ended and self._inbound.fd >= 0:
            self._inbound.on_readable = pump.wake
            if pump.has_input():
                pump.wake()

    def _end_refused(self, leg: PoolLeg) -> None:
        """End our direction of a session that was refused: then both are over, and the leg can be used again."""
        self._hold()
        if leg.state.ours is State.OPEN:
            try:
                leg.end_output()
            except StreamFailed:
                leg.close()
                return
        leg.finish()

    def _give_up(self, leg: PoolLeg, number: int) -> None:
        self._hold()
        self._resets.cut(leg, number)

    def _hold(self) -> None:
        self._leg = None
        if self.forward is not None:
            self.forward.is_held = True


def _failed(leg: PoolLeg, number: int) -> LegError:
    return LegError(Side.OUTBOUND, Phase.CONNECT, number, f"gateway {leg.peer}", retryable=True)

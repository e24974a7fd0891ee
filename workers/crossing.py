"""Opens a session through other gateways: takes a leg, says OPEN on it, waits for the answer, and tries again.

Payload follows OPEN at once. It is kept until the answer comes, so that a leg which breaks, or a gateway that refuses,
costs the client nothing but time: the same bytes go out on the next leg, or by the next path.
"""

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import gevent
from greenlet import getcurrent, greenlet

from pools.frame_bodies import Open, Opened, Refused
from pools.leg import PoolLeg
from pools.leg_pumps import IntoLeg, pump_between
from pools.net import sockopts
from pools.net.clock import monotonic_s
from pools.net.errors import LegError, Phase, ProtocolError, Side
from pools.net.pump import Pump, PumpRoom
from pools.net.resets import Resets
from pools.net.stream import Stream, StreamFailed

if TYPE_CHECKING:
    from pools.broker_client import BrokerClient
    from workers.head_start import OpenAhead

_CUT_OFF: Final = (errno.ECONNRESET, errno.EKEYREJECTED)
"""What a new leg fails with where it came to a worker of the peer that is about to go: another one takes the next."""

_POOLED_TRIES: Final = 2  # legs of the pool that may turn out dead, before a session pays for a new one


class OpenRefused(LegError):
    """A gateway further on could not open the session.

    Attributes:
        refused: its words.
    """

    def __init__(self, refused: Refused, target: str) -> None:
        super().__init__(Side.OUTBOUND, Phase.CONNECT, refused.errno, target, retryable=True)
        self.refused = refused


class LegBroke(LegError):
    """A leg broke before it brought an answer: another one may do."""


Answer: TypeAlias = Opened | LegError


class Crossing:
    """The tries to open one session. Borrows the inbound leg, owns the one that is tried until it is open.

    Args:
        legs: where legs to peers come from.
        on_stale: called for each leg that broke before it brought an answer.
        on_gone: called, perhaps in the hub, with the errno by which the inbound leg is broken.

    Attributes:
        words: what goes before the client's own bytes; of no use any more once a try has begun.
        forward: the pump into the leg that is tried; None before the first.
        dials: the pool has nothing for this session.
    """

    __slots__ = (
        "_broken_legs",
        "_inbound",
        "_leg",
        "_legs",
        "_on_answer",
        "_on_gone",
        "_on_stale",
        "_resets",
        "_room",
        "dials",
        "forward",
        "words",
    )

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
        self._on_answer: Callable[[Answer], None] = _nobody_waits
        self._leg: PoolLeg | None = None
        self._broken_legs = 0
        self.dials = False
        self.words = words
        self.forward: IntoLeg | None = None

    def through(
        self, peer: str, message: Open, *, until_s: float, ahead: "OpenAhead | None" = None
    ) -> tuple[PoolLeg, Opened]:
        """Open the session through `peer`, on a leg of the pool or else a new one, parking this greenlet.

        Args:
            message: what to say there.
            ahead: says it already, on a leg that is tried before all others.
            until_s: when to give up, on the monotonic clock.

        Returns:
            The leg, which is the caller's, and what the last gateway said. `forward` leads into it, at work already.

        Raises:
            OpenRefused: a gateway said why it cannot be.
            LegError: no leg, or none that brought an answer in time.
        """
        try:
            return self._join(ahead, until_s) or self._open(peer, message, until_s)
        finally:
            self._broken_legs, self.dials = 0, False  # another path has its own legs

    def begin(self, leg: PoolLeg, message: Open | None, on_answer: Callable[["Answer"], None]) -> None:
        """Ask for the session on `leg`, without waiting.

        Args:
            message: what to say there; None where it was said already.
            on_answer: called once, perhaps from in here, with OPENED, the leg then being the callee's, or with why it
                will not come: then the leg has been seen to.
        """
        self._leg = leg
        self._on_answer = on_answer
        leg.on_readable = self._hear
        try:
            _ = leg.address  # the kernel forgets it with a reset, and that may come right behind OPENED
            if message is not None:
                leg.say(message, may_wait=True)  # the client may have spoken already: then both are one packet
            self._point_pump(leg)
        except (StreamFailed, ProtocolError) as error:
            self._broken(leg, error)
        else:
            self._room.readiness.defer(self._listen)
            if leg.readable:  # what came since it was said makes no edge any more
                self._room.readiness.defer(self._hear)

    def give_up(self, number: int) -> None:
        """Cut the leg that is tried off, because of errno `number`; its answer counts no more."""
        leg = self._leg
        if leg is not None:
            self._hold()
            if leg.owed:  # nobody reads there, nor would RESET be
                leg.close()
            else:
                self._resets.cut(leg, number)

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
        self._inbound.on_readable = self._stirs
        self._stirs()  # a reset may have come together with the end

    def leg_failed(self, pump: Pump, leg: Stream, number: int) -> None:
        """Give up for a client that left; a leg that fails is seen by who waits for its answer."""
        if leg is pump.source:
            self._on_gone(number)
        else:
            leg.prompt()

    # How.

    def _join(self, ahead: "OpenAhead | None", until_s: float) -> tuple[PoolLeg, Opened] | None:
        leg = None if ahead is None else ahead.take(limit_s=until_s - monotonic_s())
        if leg is None:
            return None
        try:
            return leg, self._ask(leg, None, until_s)
        except LegBroke:
            self._on_stale()
            return None

    def _open(self, peer: str, message: Open, until_s: float) -> tuple[PoolLeg, Opened]:
        while not self.dials and (leg := self._legs.take(peer)) is not None:
            try:
                return leg, self._ask(leg, message, until_s)
            except LegBroke:
                self._on_stale()
        for is_last in (False, True):
            try:
                leg = self._legs.dial(peer, limit_s=max(0.0, until_s - monotonic_s()))
                return leg, self._ask(leg, message, until_s)
            except LegError as error:
                if is_last or error.side is not Side.OUTBOUND or error.errno not in _CUT_OFF:
                    raise
                self._on_stale()
        raise AssertionError("the last attempt returns or raises")

    def _ask(self, leg: PoolLeg, message: Open | None, until_s: float) -> Opened:
        waiter = _Waiter()
        timeout = gevent.Timeout.start_new(max(0.0, until_s - monotonic_s()))
        try:
            self.begin(leg, message, waiter.take)
            answer = waiter.wait()
        except gevent.Timeout as fired:
            self.give_up(errno.ETIMEDOUT)
            if fired is not timeout:
                raise
            target = f"gateway {leg.peer}"
            raise LegError(Side.OUTBOUND, Phase.CONNECT, errno.ETIMEDOUT, target, retryable=True) from None
        except BaseException as error:  # the client left, or the session is killed: thrown in from outside
            self.give_up(error.errno if isinstance(error, LegError) else errno.ECONNABORTED)
            raise
        finally:
            timeout.close()
        if isinstance(answer, LegError):
            try:
                raise answer
            finally:
                del answer  # its traceback and this frame would hold each other
        return answer

    def _point_pump(self, leg: PoolLeg) -> None:
        if self.forward is None:
            pump = pump_between(self._inbound, leg, owner=self, room=self._room)
            assert isinstance(pump, IntoLeg)
            self.forward = pump
            pump.keep(self.words)
        else:
            self.forward.redirect(leg)

    def _listen(self) -> None:
        """Pass on what the client has said already, and from now on whatever it says; in the hub."""
        pump, leg = self.forward, self._leg
        if pump is None or leg is None:
            return
        said_before = pump.moved_bytes
        if not pump.ended and self._inbound.fd >= 0:
            self._inbound.on_readable = pump.wake
            if pump.has_input():
                pump.wake()
        if pump.moved_bytes == said_before:
            leg.push()  # OPEN has nothing to wait for

    def _hear(self) -> None:
        """Look whether the answer has come; in the hub."""
        leg, forward = self._leg, self.forward
        if leg is None or forward is None:
            return
        try:
            answer = leg.hear_answer()
        except (StreamFailed, ProtocolError) as error:
            self._broken(leg, error)
            return
        if isinstance(answer, Opened):
            leg.on_readable = None
            forward.confirm()
            self._on_answer(answer)
        elif answer is not None:
            self._refused(leg, answer)

    def _stirs(self) -> None:
        """Notice that the client has left, while no pump listens to it: it has ended, or waits for another leg."""
        inbound, forward = self._inbound, self.forward
        if inbound.fd < 0 or forward is None:
            return
        if forward.ended:
            number = inbound.late_error()
        else:
            number = sockopts.pending_error(inbound.socket) if inbound.unsure else 0
        if number:
            self._on_gone(number)

    def _refused(self, leg: PoolLeg, refused: Refused) -> None:
        """End our direction of a session that was refused: then both are over, and the leg can be used again."""
        self._hold()
        leg.finish()
        self._on_answer(OpenRefused(refused, f"gateway {leg.peer}"))

    def _broken(self, leg: PoolLeg, error: StreamFailed | ProtocolError) -> None:
        self._hold()
        self._broken_legs += 1
        self.dials = self._broken_legs >= _POOLED_TRIES
        leg.close()
        number = error.errno or errno.EPROTO
        self._on_answer(LegBroke(Side.OUTBOUND, Phase.CONNECT, number, f"gateway {leg.peer}", retryable=True))

    def _hold(self) -> None:
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.on_readable = None
        if self.forward is not None:
            self.forward.is_held = True
            self._inbound.on_readable = self._stirs


class _Waiter:
    """A greenlet that waits for one answer, which may be there before it waits."""

    __slots__ = ("_answer", "_greenlet")

    def __init__(self) -> None:
        self._answer: Answer | None = None
        self._greenlet: greenlet | None = None

    def take(self, answer: Answer) -> None:
        self._answer = answer
        if self._greenlet is not None:
            self._greenlet.switch()

    def wait(self) -> Answer:
        self._greenlet = getcurrent()
        try:
            while self._answer is None:
                gevent.get_hub().switch()
        finally:
            self._greenlet = None
        answer, self._answer = self._answer, None
        return answer


def _nobody_waits(_answer: Answer) -> None:
    return None

"""What is begun for a client before it can be accepted: the outbound leg of its session, which then joins it.

A head start never asks twice. What comes to nothing before the client is there, its session begins anew. What comes
on the leg meanwhile stays unread, in the kernel, until the session is there to hear it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from gevent.event import Event

from pools.frame_bodies import Open
from pools.leg import PoolLeg
from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, ProtocolError
from pools.net.pump import PumpRoom
from pools.net.resolver import Address
from pools.net.stream import Stream, StreamFailed
from workers.egress import Egress
from workers.parting import Partings
from workers.routing import Path

if TYPE_CHECKING:
    from pools.broker_client import BrokerClient

_DIALS_MAX: Final = 32  # at once: who finds no leg in the pool has most of the head start behind it anyway


class OpenAhead:
    """A session that was asked for on a leg to another gateway, or will be as soon as one is dialled.

    Attributes:
        path: the gateways it crosses.
        message: what is said on the leg.
        began_s: when the SYN came, on the monotonic clock.
        answered_s: when something came on the leg; 0 before.
        is_of_use: it has a leg, or may get one.
    """

    __slots__ = ("_dialled", "_leg", "_partings", "answered_s", "began_s", "is_of_use", "message", "path")

    def __init__(self, path: Path, message: Open, *, partings: Partings, began_s: float) -> None:
        self.path = path
        self.message = message
        self.began_s = began_s
        self.answered_s = 0.0
        self.is_of_use = True
        self._partings = partings
        self._leg: PoolLeg | None = None
        self._dialled: Event | None = None

    def __repr__(self) -> str:
        state = "dialling" if self._dialled else repr(self._leg)
        return f"<OpenAhead {','.join(self.path)} {state}>"

    @property
    def has_leg(self) -> bool:
        """Whether `take` gives a leg at once."""
        return self._leg is not None

    def begin(self, leg: PoolLeg) -> bool:
        """Ask for the session on `leg`, which is owned here from now on; tell whether that could be said."""
        try:
            _ = leg.address  # the kernel forgets it with a reset
            leg.say(self.message)
        except (StreamFailed, ProtocolError):
            self.is_of_use = False
            leg.close()
            return False
        leg.on_readable = self._stirs
        self._leg = leg
        return True

    def dial(self, make_leg: Callable[[], PoolLeg]) -> None:
        """Make a leg and ask for the session there; in a greenlet that parks meanwhile."""
        self._dialled = Event()
        try:
            leg = make_leg()
        except LegError:
            self.is_of_use = False
        else:
            self._go_on(leg)
        finally:
            self._dialled.set()
            self._dialled = None

    def take(self, *, limit_s: float = 0.0) -> PoolLeg | None:
        """Give the leg, waiting up to `limit_s` in a greenlet while it is dialled; None where there will be none.

        Returns:
            The caller's: OPEN was said on it, and nothing was read from it since.
        """
        if self._dialled is not None and limit_s > 0:
            self._dialled.wait(limit_s)
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.on_readable = None
        else:
            self.is_of_use = False  # should the dial still go on, nobody wants its leg
        return leg

    def cancel(self) -> None:
        """Nobody comes: end what was begun, as far as it was not taken."""
        self.is_of_use = False
        leg = self.take()
        if leg is not None:
            self._partings.part(leg, now_s=monotonic_s())

    def _go_on(self, leg: PoolLeg) -> None:
        if self.is_of_use:
            self.begin(leg)
        else:
            leg.finish()  # into the pool, unused

    def _stirs(self) -> None:
        self.answered_s = self.answered_s or monotonic_s()


class DialAhead:
    """A connection to the destination itself that is being made.

    Attributes:
        path: (): no gateway is crossed.
        address: where it leads.
        began_s: when the SYN came, on the monotonic clock.
        answered_s: when the connection was made, or refused; 0 before.
        is_of_use: as in `OpenAhead`.
    """

    __slots__ = ("_stream", "address", "answered_s", "began_s")

    path: Path = ()

    def __init__(self, stream: Stream, address: Address, *, began_s: float) -> None:
        self.address = address
        self.began_s = began_s
        self.answered_s = 0.0
        self._stream: Stream | None = stream
        stream.on_writable = self._answered

    def __repr__(self) -> str:
        return f"<DialAhead {self._stream!r} {'answered' if self.answered_s else 'connecting'}>"

    @property
    def is_of_use(self) -> bool:
        """Whether it can be taken: a refusal, too, is of use."""
        return self._stream is not None

    def take(self) -> Stream | None:
        """Give the connection, which is the caller's: to be finished at once where it is answered, else when writable.

        None where it was taken before.
        """
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.on_writable = None
        return stream

    def connected(self, finish: Callable[[Stream], None]) -> Stream | None:
        """Give the connection once it is made, parking this greenlet; None where it was taken before.

        Args:
            finish: raises LegError if it is not connected after all; so does this.
        """
        is_answered, stream = self.answered_s > 0, self.take()
        if stream is None:
            return None
        try:
            if not is_answered:
                stream.wait_writable()
            finish(stream)
        except BaseException:  # a timeout thrown into this greenlet, too, must leave no socket behind
            stream.close()
            raise
        return stream

    def cancel(self) -> None:
        """Nobody comes: reset it, if it was not taken."""
        stream = self.take()
        if stream is not None:
            stream.close()

    def _answered(self) -> None:
        self.answered_s = monotonic_s()
        if self._stream is not None:
            self._stream.on_writable = None


HeadStart: TypeAlias = OpenAhead | DialAhead


def through(ahead: HeadStart | None, path: Path) -> OpenAhead | None:
    """Give `ahead` if it leads through the gateways of `path`."""
    return ahead if isinstance(ahead, OpenAhead) and ahead.path == path else None


def from_here(ahead: HeadStart | None) -> DialAhead | None:
    """Give `ahead` if it leads to the destination itself."""
    return ahead if isinstance(ahead, DialAhead) else None


class HeadStarts:
    """Begins them, for one worker.

    Args:
        egress: the way out from here.
        legs: to other gateways; None where there are none.
        partings: where cancelled ones end.
        connect_s: how long a dial for one may take.

    Attributes:
        dialling: legs that are being dialled.
    """

    def __init__(
        self, *, egress: Egress, legs: "BrokerClient | None", room: PumpRoom, partings: Partings, connect_s: float
    ) -> None:
        self._egress = egress
        self._legs = legs
        self._room = room
        self._partings = partings
        self._connect_s = connect_s
        self.dialling = 0

    def through(self, path: Path, message: Open, *, now_s: float) -> OpenAhead | None:
        """Ask for a session by `path`, in the hub; None where that cannot be begun now."""
        legs = self._legs
        if legs is None or not legs.state(path[0]).is_up:
            return None
        started = OpenAhead(path, message, partings=self._partings, began_s=now_s)
        leg = legs.take(path[0])
        if leg is not None:
            return started if started.begin(leg) else None
        if self.dialling >= _DIALS_MAX:
            return None
        self._room.greenlets.run(self._dial, started, legs)
        return started if started.is_of_use else None

    def may_help(self, destination: Endpoint) -> bool:
        """Tell whether connecting to `destination` would take time: nothing is kept ready."""
        return not self._egress.is_ready(destination, for_peer=False)

    def from_here(self, destination: Endpoint, *, now_s: float) -> DialAhead | None:
        """Begin to connect to `destination`, in the hub; None where its one address is not known, or not to be had."""
        address = self._egress.foreseen(destination)
        if address is None:
            return None
        try:
            return DialAhead(self._egress.begin(destination, address), address, began_s=now_s)
        except LegError:
            return None

    def _dial(self, started: OpenAhead, legs: "BrokerClient") -> None:
        self.dialling += 1
        try:
            started.dial(lambda: legs.dial(started.path[0], limit_s=self._connect_s))
        finally:
            self.dialling -= 1

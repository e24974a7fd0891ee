"""One client's connection and everything that carries it: from accept to the end, told in the order it happens.

A session lives in three states. While it is set up, a greenlet runs `workers.setting_up` from top to bottom, unless
there is nothing to wait for but one connection. Afterwards the relay carries it and there is no greenlet. It ends once,
in `end` or with its relay, whatever the reason.
"""

import errno
from typing import TYPE_CHECKING, Final

from pools.frame_bodies import Open, Opened
from pools.leg import PoolLeg
from pools.net import sockopts
from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, Phase, Side
from pools.net.pump import Pump, PumpRoom
from pools.net.resets import Resets
from pools.net.resolver import Address, SocketAddress
from pools.net.scoreboard import Cell
from pools.net.stream import Stream, StreamClosed
from workers import short_way
from workers.access_log import EndedBy, ended_by
from workers.egress import Egress
from workers.greeting import Greeting
from workers.head_start import HeadStart, OpenAhead
from workers.peer_greeting import PeerGreeting, Refusal
from workers.relay import Relay
from workers.routing import Path
from workers.setting_up import SettingUp
from workers.settings import Listen

if TYPE_CHECKING:
    from pools.broker_client import BrokerClient
    from workers.sessions import Sessions

_NOTHING_YET: Final = (0, 0)
_TIMEOUTS: Final = frozenset({EndedBy.INBOUND_TIMEOUT, EndedBy.OUTBOUND_TIMEOUT})


class Session:
    """See the module. Owns both legs until the relay does.

    Args:
        origin: what another gateway asked for, on whose leg it comes; None for a client's own.

    Attributes:
        listen: its listener.
        listen_index: the listener's place in the configuration.
        number: counts this worker's sessions from 1.
        client: the inbound leg's other end, as accept(2) gave it; where a gateway asks, the client that it names.
        accepted_s: when it was accepted; all times are seconds on the monotonic clock, 0 when not reached.
        began_s: as before, or when `ahead` was begun.
        requested_s: the destination was known.
        resolved_s: its addresses were known.
        connected_s: the outbound leg was connected, or a gateway further on had said that its own was.
        phase: how far it has come.
        destination: where the client wants to go.
        connected: the outbound leg's other end; None until connected.
        proxied: who the client is by its PROXY protocol header.
        via: gateways on the path that it took, or tried last.
        trace_id: the same at all gateways; empty where there is no other.
        opened: what the last gateway of the path said; None until then, and without one.
        ahead: what was begun before it was accepted, until it is used; None where nothing was.
        failed: why there is no relay, while the session is ended for it.
        inbound: its leg.
        outbound: its leg; None until it is dialled.
        relay: None until both legs are connected.
        watched: what `workers.watch` saw at its last look; negative before the first.
        active_s: when a look last found that something had happened.
    """

    __slots__ = (
        "_greeting",
        "_sessions",
        "_setting_up",
        "_told",
        "_verdict",
        "accepted_s",
        "active_s",
        "ahead",
        "began_s",
        "client",
        "connected",
        "connected_s",
        "destination",
        "failed",
        "inbound",
        "listen",
        "listen_index",
        "number",
        "opened",
        "origin",
        "outbound",
        "phase",
        "proxied",
        "relay",
        "requested_s",
        "resolved_s",
        "trace_id",
        "via",
        "watched",
    )

    def __init__(
        self,
        sessions: "Sessions",
        inbound: Stream,
        *,
        client: SocketAddress,
        listen_index: int,
        number: int,
        origin: Open | None = None,
    ) -> None:
        self._sessions = sessions
        self._told = _NOTHING_YET
        self._verdict: EndedBy | None = None
        self._setting_up: SettingUp | None = None
        self._greeting: Greeting | PeerGreeting | None = None
        self.inbound = inbound
        self.client = client
        self.listen: Listen = sessions.listens[listen_index]
        self.listen_index = listen_index
        self.number = number
        self.origin = origin
        self.began_s = self.accepted_s = self.active_s = monotonic_s()
        self.requested_s = self.resolved_s = self.connected_s = 0.0
        self.phase = Phase.REQUEST
        self.destination: Endpoint | None = None if origin is None else origin.destination
        self.connected: SocketAddress | None = None
        self.proxied: Endpoint | None = None
        self.via: Path = ()
        self.trace_id = origin.trace_id if origin is not None else b""
        self.opened: Opened | None = None
        self.ahead: HeadStart | None = None
        self.failed: LegError | None = None
        self.outbound: Stream | None = None
        self.relay: Relay | None = None
        self.watched = -1

    def join(self, ahead: HeadStart) -> None:
        """Go on with what was begun at its client's SYN, and is owned from here on; before `start`."""
        self.ahead, self.began_s = ahead, ahead.began_s
        self.requested_s = self.resolved_s = ahead.began_s
        if isinstance(ahead, OpenAhead):
            self.trace_id = ahead.message.trace_id

    @property
    def lives(self) -> bool:
        """Whether it has not ended yet."""
        return self._verdict is None and self.inbound.fd >= 0  # a leg may outlive it, until its reset can go out

    @property
    def deadline_s(self) -> float:
        """When the phase that it is in must be over; for a session that is being set up."""
        timeouts = self._sessions.timeouts
        if self.phase is Phase.REQUEST:
            return self.accepted_s + timeouts.handshake
        return max(self.requested_s, self.accepted_s) + timeouts.connect

    # What setting up asks for.

    @property
    def greeting(self) -> Greeting | PeerGreeting:
        """What is said to who asked for it."""
        if self._greeting is None:
            self._greeting = self._make_greeting()
        return self._greeting

    @property
    def egress(self) -> Egress:
        """The way out."""
        return self._sessions.egress

    @property
    def legs(self) -> "BrokerClient | None":
        """Legs to other gateways; None where there are none."""
        return self._sessions.legs

    @property
    def room(self) -> PumpRoom:
        """What all pumps share."""
        return self._sessions.room

    @property
    def resets(self) -> Resets:
        """Legs on their way out."""
        return self._sessions.resets

    def may_dial(self, address: Address) -> bool:
        """Tell whether who asked for this session may have it dial `address` from here."""
        if self.origin is None:
            return True
        asked = self.origin.destination
        return self._sessions.rules.allows(asked.host, address.sockaddr[0], asked.port)

    @property
    def full(self) -> int:
        """The errno of why another gateway may have no session here; 0 where it may."""
        return self._sessions.full

    def knows(self, gateway: str) -> bool:
        """Tell whether this gateway holds legs to `gateway`."""
        return gateway in self._sessions.peers

    def paths(self) -> tuple[Path, ...]:
        """Give the paths to try, in order."""
        if self.origin is not None:
            return (self.origin.via,)
        return self._sessions.routes.paths(self.listen_index)

    def count(self, cell: Cell) -> None:
        """Count something that happened on the way."""
        self._sessions.count(cell)

    def start(self) -> None:
        """Begin to set up, in the hub."""
        if not short_way.take(self):
            self._setting_up = SettingUp(self)
            self._setting_up.start()

    def untold_bytes(self, relay: Relay) -> tuple[int, int]:
        """Give what moved forward and backward since this was last asked, for totals that grow while it lives."""
        forward, backward = relay.forward.moved_bytes, relay.backward.moved_bytes
        before, self._told = self._told, (forward, backward)
        return forward - before[0], backward - before[1]

    def moved_on(self, relay: Relay) -> bool:
        """Tell whether something has happened since this was last asked: bytes either way, or one side's end."""
        before, self.watched = self.watched, 2 * relay.moved_bytes + (relay.phase is Phase.LAST)
        return self.watched != before

    def time_out(self) -> None:
        """End a phase of the set-up whose deadline is over; in the hub."""
        if not self.lives:
            return
        side = Side.INBOUND if self.phase is Phase.REQUEST else Side.OUTBOUND
        self.interrupt(LegError(side, self.phase, errno.ETIMEDOUT, str(self.destination or "the client's request")))

    def kill(self, who: EndedBy) -> None:
        """Reset both legs at once; in the hub."""
        self._verdict = who
        number = errno.ETIMEDOUT if who in _TIMEOUTS else errno.ECONNABORTED
        if self.relay is not None:
            self.relay.abort(number)
        else:
            self.interrupt(StreamClosed())
            self.end(who)

    def interrupt(self, error: LegError | StreamClosed) -> None:
        """Break the set-up off; in the hub."""
        if self._setting_up is not None:
            self._setting_up.interrupt(error)
        elif isinstance(error, LegError):
            self.refuse(error)

    def inbound_stirs(self) -> None:
        """Give up dialling for a client that has gone; one that has only half-closed still waits for its answer."""
        try:
            self.check_inbound()
        except LegError as error:
            self.interrupt(error)

    def check_inbound(self) -> None:
        """Raise LegError if the inbound leg is broken."""
        if self.inbound.unsure and (number := sockopts.pending_error(self.inbound.socket)):
            raise LegError(Side.INBOUND, self.phase, number, "the client left while its leg was dialled")

    def both_connected(self, address: SocketAddress, *, at_s: float = 0.0) -> None:
        """Note that the outbound leg leads to `address`: since now, unless `at_s` says since when."""
        self.inbound.on_readable, self.connected = None, address
        self.connected_s = at_s or monotonic_s()
        self.phase = Phase.DATA

    def make_relay(self, forward: Pump | None) -> None:
        """Give both legs to a relay, with the pump that is at work already, if one is."""
        sessions = self._sessions
        assert self.outbound is not None  # it is what was just connected
        sessions.relayed += 1
        self._is_set_up()
        self.relay = Relay(
            self.inbound,
            self.outbound,
            room=sessions.room,
            resets=sessions.resets,
            on_end=self._relay_ended,
            forward=forward,
        )

    def start_relay(self) -> None:
        """Let the relay begin; in the hub."""
        if self.relay is not None:
            self.relay.start()

    def refuse(self, error: LegError) -> None:
        """End a session because of `error`, with words where who asked for it waits for some."""
        self.failed = error
        self.inbound.on_readable = None
        greeting = self._greeting if self.origin is None else self.greeting
        told = greeting is not None and greeting.refuse(error)
        is_ours = isinstance(error, Refusal)
        if is_ours:
            self.count(Cell.OPENS_REFUSED)
        self.end(EndedBy.REFUSED if is_ours else ended_by(error.side, error.errno), error.errno, told=told)
        self.failed = None  # its traceback leads back to this session: only the collector could free them

    def end(self, who: EndedBy, number: int = 0, *, told: bool = False) -> None:
        """End a session whose legs no relay carries.

        Args:
            number: the errno that ended it, 0 for none.
            told: the inbound leg's other end has been told in words, and the leg seen to; else a reset tells.
        """
        self._verdict = who
        self._sessions.ended(self, who, number)
        self._is_set_up()
        if not told:
            self.inbound.on_readable = None
            self._sessions.resets.cut(self.inbound, number)
        if self.outbound is not None:
            self.outbound.on_writable = None
            self._sessions.resets.cut(self.outbound, number)

    def _make_greeting(self) -> Greeting | PeerGreeting:
        sessions = self._sessions
        if self.origin is None:
            return Greeting(self.inbound, self.listen)
        assert isinstance(self.inbound, PoolLeg)  # where an OPEN came
        return PeerGreeting(
            self.inbound,
            self.origin,
            gateway=sessions.gateway,
            rules=sessions.rules,
            full=self.full,
            began_s=self.began_s,
        )

    def _is_set_up(self) -> None:
        setting_up, self._setting_up = self._setting_up, None
        if setting_up is not None:
            setting_up.let_go()

    def _relay_ended(self) -> None:
        relay = self.relay
        assert relay is not None  # it is what calls
        if self._verdict is None:
            self._verdict = EndedBy.NORMAL if relay.broken is None else ended_by(relay.broken, relay.errno)
        self.phase = relay.phase
        self._sessions.ended(self, self._verdict, relay.errno)
        self.relay = None

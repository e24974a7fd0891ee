"""One client's connection and everything that carries it: from accept to the end, told in the order it happens.

A session lives in three states. While it is set up, a greenlet runs `set_up` from top to bottom, unless there is
nothing to wait for but one connection. Afterwards the relay carries it and there is no greenlet. It ends once, in
`_end` or with its relay, whatever the reason.
"""

import errno
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from greenlet import getcurrent, greenlet

from pools.net import sockopts
from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, Phase, ProtocolError, Side
from pools.net.resolver import Address, SocketAddress
from pools.net.stream import Stream, StreamClosed, StreamFailed
from workers.access_log import EndedBy, ended_by
from workers.greeting import Greeting, endpoint_of
from workers.ingress.conversation import Request
from workers.relay import Relay
from workers.settings import Listen, ProxyHeader

if TYPE_CHECKING:
    from workers.sessions import Sessions

_log = logging.getLogger(__name__)

_NOTHING_YET: Final = (0, 0)


class Session:
    """See the module. Owns both legs until the relay does.

    Attributes:
        listen: its listener.
        listen_index: the listener's place in the configuration.
        number: counts this worker's sessions from 1.
        client: the inbound leg's other end, as accept(2) gave it.
        began_s: when it was accepted; this and the other times are seconds on the monotonic clock, 0 when not reached.
        requested_s: the destination was known.
        resolved_s: its addresses were known.
        connected_s: the outbound leg was connected.
        phase: how far it has come.
        destination: where the client wants to go.
        connected: the outbound leg's other end; None until connected.
        proxied: who the client is by its PROXY protocol header.
        inbound: its leg.
        outbound: its leg; None until it is dialled.
        relay: None until both legs are connected.
        watched: what `workers.watch` saw at its last look; negative before the first.
        active_s: when a look last found that something had happened.
    """

    __slots__ = (
        "_greenlet",
        "_sessions",
        "_told",
        "_verdict",
        "active_s",
        "began_s",
        "client",
        "connected",
        "connected_s",
        "destination",
        "inbound",
        "listen",
        "listen_index",
        "number",
        "outbound",
        "phase",
        "proxied",
        "relay",
        "requested_s",
        "resolved_s",
        "watched",
    )

    def __init__(
        self, sessions: "Sessions", inbound: Stream, *, client: SocketAddress, listen_index: int, number: int
    ) -> None:
        self._sessions = sessions
        self._told = _NOTHING_YET
        self._verdict: EndedBy | None = None
        self._greenlet: greenlet | None = None
        self.inbound = inbound
        self.client = client
        self.listen: Listen = sessions.listens[listen_index]
        self.listen_index = listen_index
        self.number = number
        self.began_s = self.active_s = monotonic_s()
        self.requested_s = self.resolved_s = self.connected_s = 0.0
        self.phase = Phase.REQUEST
        self.destination: Endpoint | None = None
        self.connected: SocketAddress | None = None
        self.proxied: Endpoint | None = None
        self.outbound: Stream | None = None
        self.relay: Relay | None = None
        self.watched = -1

    @property
    def lives(self) -> bool:
        """Whether it has not ended yet."""
        return self._verdict is None and self.inbound.fd >= 0  # a leg may outlive it, until its reset can go out

    @property
    def deadline_s(self) -> float:
        """When the phase that it is in must be over; for a session that is being set up."""
        timeouts = self._sessions.timeouts
        if self.phase is Phase.REQUEST:
            return self.began_s + timeouts.handshake
        return self.requested_s + timeouts.connect

    def start(self) -> None:
        """Begin to set up, in the hub.

        Where nothing has to be heard from the client or the resolver, there is nothing to wait for but the connection,
        and the hub can do without a greenlet: 9 % of what a short session costs.
        """
        listen, egress = self.listen, self._sessions.egress
        if listen.to is not None and not listen.accept_proxy and listen.send_proxy is ProxyHeader.OFF:
            address = egress.only_address(listen.to)
            if address is not None:
                self._dial_at_once(listen.to, address)
                return
        self._sessions.room.greenlets.run(self.set_up)

    def set_up(self) -> None:
        """Learn the destination, connect to it, and hand both legs to a relay; in a greenlet."""
        self._greenlet = getcurrent()
        greeting = Greeting(self.inbound, self.listen)
        try:
            request = self._hear(greeting)
            self._connect(request)
            self._introduce(greeting, request)
        except LegError as error:
            self._end(ended_by(error.side, error.errno), error.errno, reply=greeting.refusal(error))
        except ProtocolError as error:
            self._end(EndedBy.REFUSED, error.errno, reply=error.reply)
        except StreamFailed as failure:
            self._end(EndedBy.INBOUND, failure.errno)
        except StreamClosed:  # ended from outside
            pass
        except Exception:  # noqa: BLE001  # the top of a session
            _log.exception("session from %s: an error nobody expected", endpoint_of(self.client))
            self._end(EndedBy.INTERNAL)
        finally:
            self._greenlet = None

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
        side = Side.INBOUND if self.phase is Phase.REQUEST else Side.OUTBOUND
        self._interrupt(LegError(side, self.phase, errno.ETIMEDOUT, str(self.destination or "the client's request")))

    def kill(self, who: EndedBy) -> None:
        """Reset both legs at once; in the hub."""
        self._verdict = who
        if self.relay is not None:
            self.relay.abort()
        else:
            self._interrupt(StreamClosed())
            self._end(who)

    def _dial_at_once(self, destination: Endpoint, address: Address) -> None:
        self.destination = destination
        self.requested_s = self.resolved_s = self.began_s
        self.phase = Phase.CONNECT
        self.inbound.on_readable = self._inbound_stirs
        try:
            self.outbound = self._sessions.egress.begin(destination, address)
        except LegError as error:
            self._refused(error)
            return
        self.outbound.on_writable = partial(self._dialled, destination, self.outbound, address)

    def _dialled(self, destination: Endpoint, outbound: Stream, address: Address) -> None:
        outbound.on_writable = None
        try:
            self._sessions.egress.finish(destination, outbound)
        except LegError as error:
            self._refused(error)
            return
        self._both_connected(address.sockaddr)
        self._make_relay(outbound).start()

    def _both_connected(self, address: SocketAddress) -> None:
        self.inbound.on_readable = None
        self.connected = address
        self.connected_s = monotonic_s()
        self.phase = Phase.DATA

    def _hear(self, greeting: Greeting) -> Request:
        try:
            return greeting.hear()
        finally:
            self.proxied = greeting.proxied  # for the log, even where the rest made no sense

    def _connect(self, request: Request) -> None:
        egress = self._sessions.egress
        self.destination = request.destination
        self.requested_s = monotonic_s()
        self.phase = Phase.RESOLVE
        addresses = egress.resolve(request.destination)
        self.resolved_s = monotonic_s()
        self.phase = Phase.CONNECT
        self._check_inbound()  # it may have left while the name was looked up
        self.inbound.on_readable = self._inbound_stirs
        self.outbound, address = egress.connect(request.destination, addresses, deadline_s=self.deadline_s)
        self._both_connected(address)

    def _introduce(self, greeting: Greeting, request: Request) -> None:
        assert self.outbound is not None  # it is what was just connected
        greeting.introduce(self.outbound, request, client=self.client)
        relay = self._make_relay(self.outbound)
        relay.forward.moved_bytes = len(request.early)  # what came together with the request has gone ahead
        self._sessions.room.copied_bytes += len(request.early)
        self._sessions.room.readiness.defer(relay.start)

    def _inbound_stirs(self) -> None:
        """Give up dialling for a client that has gone; one that has only half-closed still waits for its answer."""
        try:
            self._check_inbound()
        except LegError as error:
            self._interrupt(error)

    def _check_inbound(self) -> None:
        if self.inbound.unsure and (number := sockopts.pending_error(self.inbound.socket)):
            raise LegError(Side.INBOUND, self.phase, number, "the client left while its leg was dialled")

    def _make_relay(self, outbound: Stream) -> Relay:
        sessions = self._sessions
        sessions.relayed += 1
        self.relay = Relay(self.inbound, outbound, room=sessions.room, resets=sessions.resets, on_end=self._relay_ended)
        return self.relay

    def _interrupt(self, error: LegError | StreamClosed) -> None:
        """Break the set-up off; in the hub, where the greenlet that may be busy with it is parked."""
        if self._greenlet is not None:
            self._greenlet.throw(error)
        elif isinstance(error, LegError):
            self._refused(error)

    def _refused(self, error: LegError) -> None:
        """End a session without a greeting: a reset tells its client."""
        self._end(ended_by(error.side, error.errno), error.errno)

    def _relay_ended(self) -> None:
        relay = self.relay
        assert relay is not None  # it is what calls
        if self._verdict is None:
            self._verdict = EndedBy.NORMAL if relay.broken is None else ended_by(relay.broken, relay.errno)
        self.phase = relay.phase
        self._sessions.ended(self, self._verdict, relay.errno)
        self.relay = None

    def _end(self, who: EndedBy, number: int = 0, *, reply: bytes = b"") -> None:
        """End a session whose legs no relay carries: in order after a last word, else with a reset."""
        self._sessions.ended(self, who, number)
        self.inbound.on_readable = None
        if reply:
            self.inbound.close_after(reply)
        self.inbound.close()
        if self.outbound is not None:
            self.outbound.on_writable = None
            self.outbound.close()

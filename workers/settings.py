"""What a worker is told, complete and frozen. `gateway.config.configuration` makes these; nothing here reads a file.

Times are seconds, sizes bytes, unless the name says otherwise. Zero means "no limit" where a limit is meant.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from pools.broker_post import BrokerSettings
from pools.egress_rules import EgressRules
from pools.net.endpoint import Endpoint
from pools.net.keepalive import Keepalive
from pools.net.transport import Transport
from pools.path_choice import Choose
from pools.peer import Peer
from workers.syn_filter import Target


class Mode(StrEnum):
    """How a listener learns where a client wants to go.

    Attributes:
        REDIRECT: the firewall changed a connection's destination to the listener's, and remembers what it was.
        TPROXY: the firewall gave a connection to the listener as it was; its local address is the destination.
        OVERLAY: other gateways come in here and say it in frames. No operator writes it: [overlay] makes the listener.
    """

    FORWARD = "forward"
    REDIRECT = "redirect"
    TPROXY = "tproxy"
    SOCKS5 = "socks5"
    CONNECT = "connect"
    MIXED = "mixed"
    OVERLAY = "overlay"


class ProxyHeader(StrEnum):
    """Which PROXY protocol header the destination gets."""

    OFF = "off"
    V1 = "v1"
    V2 = "v2"


class LogFormat(StrEnum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Listen:
    """One listener.

    Attributes:
        name: its name in logs and metrics, unique.
        bind: address and port; the host is an address.
        to: the destination, for Mode.FORWARD only.
        dual_stack: an IPv6 listener that takes IPv4 clients too (ipv6(7), IPV6_V6ONLY off).
        paths: gateways to cross, in order, one tuple for each path that may be taken; () dials from here.
        choose: which of them a session takes.
        early_syn: begin at the client's SYN, where it can be captured.
        capture: for Mode.REDIRECT and Mode.TPROXY, to begin early: what the firewall leads here.
        users: name → password for SOCKS5 (RFC 1929) and HTTP Basic; empty means no authentication.
        preserve_source: legs that are dialled from here for its sessions come from the client's address.
        congestion: congestion control of inbound legs; empty leaves the system's.
        backlog: connections that the kernel keeps before accept, per worker.
        transport: what it accepts. MPTCP takes TCP, too, and which worker a connection reaches is then the kernel's
            choice.
        window_bytes: what the buffers of inbound legs shall have room for from the first; 0 leaves it to the system.
        preconnect: connections to `to` that are kept ready, over all workers.
        number: its place in rows of the scoreboard, from 0; the same over reloads.
    """

    name: str
    bind: Endpoint
    mode: Mode
    to: Endpoint | None = None
    dual_stack: bool = False
    accept_proxy: bool = False
    send_proxy: ProxyHeader = ProxyHeader.OFF
    paths: tuple[tuple[str, ...], ...] = ((),)
    choose: Choose = Choose.FIRST
    early_syn: bool = False
    capture: tuple[Target, ...] = ()
    users: dict[str, str] = field(default_factory=dict, repr=False)
    preserve_source: bool = False
    congestion: str = ""
    backlog: int = 4096
    transport: Transport = Transport.TCP
    window_bytes: int = 0
    preconnect: int = 0
    number: int = 0

    @property
    def captures(self) -> bool:
        """Whether the firewall leads connections here that were made to others."""
        return self.mode is Mode.REDIRECT or self.mode is Mode.TPROXY


@dataclass(frozen=True, slots=True)
class Preconnected:
    """A destination that connections are kept ready to, for sessions of other gateways.

    Attributes:
        to: one that they may open.
        connections: how many, over all workers.
    """

    to: Endpoint
    connections: int


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; 0 switches idle and half_closed off, and the limit of retire.

    Attributes:
        handshake: for all a client must say before it is dialled for (PROXY header, SOCKS5, CONNECT).
        connect: from the first SYN to a connected outbound leg, all addresses and the resolver together.
        idle: a session in which no byte moves either way.
        half_closed: a session of which one side has finished and in which no byte moves.
        early_syn: how long a session that was begun at a SYN waits to be accepted.
        drain: how long a drain lets sessions go on.
        retire: how long sessions of before an upgrade may go on; 0 for as long as they like.
        worker_heartbeat: how old a worker's heartbeat may grow before it is replaced.
    """

    handshake: float = 10.0
    connect: float = 5.0
    idle: float = 3600.0
    half_closed: float = 60.0
    early_syn: float = 3.0
    drain: float = 30.0
    retire: float = 3600.0
    worker_heartbeat: float = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what clients may use of this gateway.

    Attributes:
        sessions: over all workers; each worker holds its equal share.
        sessions_per_source: live sessions of one client address (one /64 for IPv6); 0 means no limit.
        early_syn_pending: sessions begun at a SYN and not yet accepted, per worker; 0 begins none.
        early_syn_per_source: of those, the ones of one client address, as above; 0 means no limit.
        early_syn_rate: SYNs a second that a worker heeds, so many at once too; 0 means no limit.
    """

    sessions: int = 20_000
    sessions_per_source: int = 0
    early_syn_pending: int = 1024
    early_syn_per_source: int = 64
    early_syn_rate: int = 1000


@dataclass(frozen=True, slots=True)
class Outbound:
    """How outbound legs are made.

    Attributes:
        congestion: congestion control of outbound legs; empty leaves the system's.
        resolve_every: seconds after which a name is asked for again.
    """

    congestion: str = ""
    resolve_every: float = 30.0


@dataclass(frozen=True, slots=True)
class Relay:
    """How bytes are moved.

    Attributes:
        splice: move large transfers by splice(2); off copies everything, for comparison and for kernels that cannot.
    """

    splice: bool = True


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Where the line per session goes.

    Attributes:
        enabled: off costs nothing per session.
        format: text or JSON.
    """

    enabled: bool = True
    format: LogFormat = LogFormat.TEXT


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """All that one worker needs to know, the same for every worker.

    Attributes:
        listens: in the operator's order; the overlay's is last, if there is one.
        gateway: this gateway's name; empty where it has no peers.
        peers: the gateways that it may hold legs to.
        key_file: where the overlay's keys are; empty without peers and overlay.
        egress: what peers may open from here.
        preconnect: connections that are kept ready for their sessions.
    """

    listens: tuple[Listen, ...]
    workers: int
    shard_seed: int
    gateway: str = ""
    peers: tuple[Peer, ...] = ()
    key_file: str = ""
    egress: EgressRules = field(default_factory=EgressRules)
    preconnect: tuple[Preconnected, ...] = ()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    keepalive: Keepalive = field(default_factory=Keepalive)
    outbound: Outbound = Outbound()
    relay: Relay = Relay()
    access_log: AccessLog = AccessLog()

    def for_broker(self) -> BrokerSettings:
        """Give what of it concerns the broker."""
        return BrokerSettings(
            gateway=self.gateway,
            peers=self.peers,
            workers=self.workers,
            key_file=self.key_file,
            connect_s=self.timeouts.connect,
            resolve_every_s=self.outbound.resolve_every,
        )

"""The tables and keys of a configuration file: names, types, ranges and defaults of each key by itself.

What keys mean to one another is in `rules`. Every key may be absent here, even one that a gateway cannot do
without: that it is missing is a rule, too. So a file with one wrong key still tells of its other faults.
"""

from ipaddress import IPv6Address, ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

from gateway.reasons import Thresholds
from pools.body_values import is_name
from pools.egress_rules import EgressRule
from pools.frame_bodies import PADDING_LIMIT
from pools.net.endpoint import Endpoint, is_address
from pools.net.fd_passing import DESCRIPTOR_LIMIT
from pools.net.keepalive import Keepalive
from pools.net.transport import Transport
from pools.path_choice import Choose
from pools.peer import Peer
from workers.settings import Limits, Listen, LogFormat, Mode, Outbound, ProxyHeader, Relay, Timeouts
from workers.syn_filter import Target

MAX_WORKERS = 1024
PRECONNECT_LIMIT = 1000  # they bring as many descriptors, here and at the destination
ADMIN_DEFAULT = Endpoint("127.0.0.1", 9900)
_YEAR_S = 365 * 24 * 3600

# The defaults are said once, in `workers.settings`, `pools.peer` and `gateway.reasons`.
_LISTEN = Listen(name="", bind=ADMIN_DEFAULT, mode=Mode.MIXED)
_PEER = Peer(name="", address=ADMIN_DEFAULT)
_TIMEOUTS, _LIMITS, _KEEPALIVE, _OUTBOUND, _RELAY = Timeouts(), Limits(), Keepalive(), Outbound(), Relay()
_HEALTH = Thresholds()


def _broken(rule: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{rule}", {"rule": rule})


def _name(text: str) -> str:
    if not is_name(text):
        raise _broken("must be 1 to 64 letters, digits, '_', '.' or '-', the first a letter or a digit")
    return text


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise _broken("must be a path")
    return text


def _destination(value: object) -> Endpoint:
    """Read an endpoint that can be connected to: its port is not 0."""
    if not isinstance(value, str):
        raise _broken("must be a string, HOST:PORT")
    try:
        endpoint = Endpoint.parse(value)
    except ValueError as error:
        raise _broken(str(error)) from error
    if endpoint.port == 0:
        raise _broken("must end in a port from 1 to 65535")
    return endpoint


def _bind(value: object) -> Endpoint:
    """Read an endpoint that can be bound: an address, so that nothing hangs on a resolver."""
    endpoint = _destination(value)
    if not is_address(endpoint.host):
        raise _broken("must be an address and a port, as in 0.0.0.0:443 or [::]:443; a name will not do")
    if isinstance(address := ip_address(endpoint.host), IPv6Address) and address.ipv4_mapped:
        raise _broken("must be an IPv4 address written as one, without ::ffff:")
    return endpoint


def _admin(value: object) -> Endpoint | None:
    return None if value in ("", "off") else _bind(value)


def _allowed(value: object) -> EgressRule:
    if not isinstance(value, str):
        raise _broken("must be a string, HOST:PORT")
    try:
        return EgressRule.parse(value)
    except ValueError as error:
        raise _broken(str(error)) from error


def _captured(value: object) -> Target:
    """Read a destination that the firewall leads here: an address or a network, and a port or all."""
    rule = _allowed(value)
    if rule.network is None or len(rule.ports) not in (1, 65535):
        raise _broken("must be an address or a network and a port or *, as in 0.0.0.0/0:443 or [2001:db8::/32]:*")
    return Target(rule.network, rule.ports[0] if len(rule.ports) == 1 else None)


def _workers(value: object) -> int | None:
    if value == "auto":
        return None
    if type(value) is not int or not 1 <= value <= MAX_WORKERS:  # a bool is an int to isinstance
        raise _broken(f'must be "auto" or a whole number from 1 to {MAX_WORKERS}')
    return value


Name = Annotated[str, AfterValidator(_name)]
File = Annotated[str, AfterValidator(_path)]
Destination = Annotated[Endpoint, PlainValidator(_destination)]
Bind = Annotated[Endpoint, PlainValidator(_bind)]
Captured = Annotated[Target, PlainValidator(_captured)]
Allowed = Annotated[EgressRule, PlainValidator(_allowed)]
Seconds = Annotated[float, Field(gt=0, le=_YEAR_S, allow_inf_nan=False)]
SecondsOrOff = Annotated[float, Field(ge=0, le=_YEAR_S, allow_inf_nan=False)]
Part = Annotated[float, Field(gt=0, le=1)]
PartOrOff = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=10_000_000)]
Some = Annotated[int, Field(ge=1, le=10_000_000)]


class Table(BaseModel):
    """A table of the file: unknown keys and values of another type are problems."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class GatewayTable(Table):
    """[gateway]: the process as a whole."""

    name: Name = "midmile"
    workers: Annotated[int | None, PlainValidator(_workers)] = None
    runtime_dir: File | None = None
    log_format: Annotated[LogFormat, Field(strict=False)] = LogFormat.TEXT
    access_log: Literal["on", "off"] = "on"


class ListenTable(Table):
    """[[listen]]: one listener."""

    name: Name | None = None
    bind: Bind | None = None
    mode: Literal["forward", "redirect", "tproxy", "socks5", "connect", "mixed"] | None = None
    to: Destination | None = None
    via: list[Name] = []
    paths: list[list[Name]] | None = None
    choose: Annotated[Choose, Field(strict=False)] = _LISTEN.choose
    early_syn: bool = _LISTEN.early_syn
    capture: list[Captured] = []
    accept_proxy: bool = _LISTEN.accept_proxy
    send_proxy: Annotated[ProxyHeader, Field(strict=False)] = _LISTEN.send_proxy
    dual_stack: bool = _LISTEN.dual_stack
    users_file: File | None = None
    preserve_source: bool = _LISTEN.preserve_source
    congestion: str = _LISTEN.congestion
    backlog: Annotated[int, Field(ge=1, le=65535)] = _LISTEN.backlog
    preconnect: Annotated[int, Field(ge=0, le=PRECONNECT_LIMIT)] = _LISTEN.preconnect


class OverlayTable(Table):
    """[overlay]: where other gateways come in."""

    bind: Bind | None = None
    key_file: File | None = None
    transport: Annotated[Transport, Field(strict=False)] = Transport.TCP


class PeerTable(Table):
    """[[peer]]: another gateway."""

    name: Name | None = None
    address: Destination | None = None
    transport: Annotated[Transport, Field(strict=False)] = _PEER.transport
    congestion: str = _PEER.congestion
    initial_window: Annotated[int, Field(ge=1, le=65535)] | None = None
    warm: Annotated[int, Field(ge=0, le=PADDING_LIMIT)] = _PEER.warm
    pool_min: Count = _PEER.pool_min
    pool_max: Some = _PEER.pool_max
    magazine: Annotated[int, Field(ge=1, le=DESCRIPTOR_LIMIT)] = _PEER.magazine
    max_age: Annotated[float, Field(ge=10, le=_YEAR_S, allow_inf_nan=False)] = _PEER.max_age


class PreconnectTable(Table):
    """[[egress.preconnect]]: a destination that connections are kept ready to."""

    to: Destination | None = None
    connections: Annotated[int, Field(ge=1, le=PRECONNECT_LIMIT)] | None = None


class EgressTable(Table):
    """[egress]: what peers may open from here."""

    allow: list[Allowed] = []
    preserve_source: bool = False
    preconnect: list[PreconnectTable] = []


class TimeoutsTable(Table):
    """[timeouts]: seconds."""

    handshake: Seconds = _TIMEOUTS.handshake
    connect: Seconds = _TIMEOUTS.connect
    idle: SecondsOrOff = _TIMEOUTS.idle
    half_closed: SecondsOrOff = _TIMEOUTS.half_closed
    early_syn: Seconds = _TIMEOUTS.early_syn
    drain: Seconds = _TIMEOUTS.drain
    retire: SecondsOrOff = _TIMEOUTS.retire
    # A worker beats four times a second; less than a second would take a busy one for a hung one.
    worker_heartbeat: Annotated[float, Field(ge=1, le=_YEAR_S, allow_inf_nan=False)] = _TIMEOUTS.worker_heartbeat


class LimitsTable(Table):
    """[limits]: what clients may use of this gateway."""

    sessions: Some = _LIMITS.sessions
    sessions_per_source: Count = _LIMITS.sessions_per_source
    early_syn_pending: Count = _LIMITS.early_syn_pending
    early_syn_per_source: Count = _LIMITS.early_syn_per_source
    early_syn_rate: Count = _LIMITS.early_syn_rate


class KeepaliveTable(Table):
    """[keepalive]: seconds. The bounds are the kernel's, MAX_TCP_KEEPIDLE and its like in include/net/tcp.h."""

    idle: Annotated[int, Field(ge=1, le=32767)] = _KEEPALIVE.idle
    interval: Annotated[int, Field(ge=1, le=32767)] = _KEEPALIVE.interval
    probes: Annotated[int, Field(ge=1, le=127)] = _KEEPALIVE.probes
    user_timeout: Annotated[int, Field(ge=1, le=2_147_483)] = _KEEPALIVE.user_timeout  # an int of milliseconds


class OutboundTable(Table):
    """[outbound]: how destinations are reached."""

    congestion: str = _OUTBOUND.congestion
    resolve_every: Annotated[float, Field(ge=1, le=_YEAR_S, allow_inf_nan=False)] = _OUTBOUND.resolve_every


class RelayTable(Table):
    """[relay]: how bytes are moved."""

    splice: bool = _RELAY.splice


class AdminTable(Table):
    """[admin]: what is told over HTTP."""

    http: Annotated[Endpoint | None, PlainValidator(_admin)] = ADMIN_DEFAULT
    ready_when_filled: bool = False


class HealthTable(Table):
    """[health]: from where on the gateway calls itself degraded."""

    loop_lag: Annotated[float, Field(ge=0.001, le=60, allow_inf_nan=False)] = _HEALTH.loop_lag
    replaced: SecondsOrOff = _HEALTH.replaced
    sessions: Part = _HEALTH.sessions
    descriptors: Part = _HEALTH.descriptors
    memory: Part = _HEALTH.memory
    memory_limit: Annotated[int, Field(ge=0, le=2**50)] = _HEALTH.memory_limit
    hit_rate: PartOrOff = _HEALTH.hit_rate
    pool_short: SecondsOrOff = _HEALTH.pool_short


class Document(Table):
    """A whole file."""

    gateway: GatewayTable = GatewayTable()
    listen: list[ListenTable] = []
    overlay: OverlayTable | None = None
    peer: list[PeerTable] = []
    egress: EgressTable = EgressTable()
    timeouts: TimeoutsTable = TimeoutsTable()
    limits: LimitsTable = LimitsTable()
    keepalive: KeepaliveTable = KeepaliveTable()
    outbound: OutboundTable = OutboundTable()
    relay: RelayTable = RelayTable()
    admin: AdminTable = AdminTable()
    health: HealthTable = HealthTable()

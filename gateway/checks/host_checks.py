"""The rules that a host is held against, each a function of facts alone. Reading the facts is gateway.checks.host's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.checks.findings import Finding, Level, finding
from gateway.checks.host import Capability, Host
from gateway.checks.window_checks import initial_window
from pools.net.endpoint import Endpoint
from pools.net.pipes import SIZE_BYTES
from workers.capacity import RESERVED_DESCRIPTORS, descriptors_for, sessions_within, share_of

_KERNEL_MIN: Final = (4, 19)  # the oldest long-term kernel with all that is used here: Debian 10's
_PYTHON_MIN: Final = (3, 11)
_WORKER_PIPES: Final = 32  # full-sized ones at work at a time; more shrink and cost more processor time
_BUFFER_BYTES: Final = 16 * 1024 * 1024
_FAR_RTT_S: Final = 0.2  # San Francisco to Bangalore, give or take
_FIN_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class Demand:
    """What a configuration asks of a host.

    Attributes:
        sessions: over all workers.
        backlog: the largest of all listeners.
        congestions: congestion controls by name, for any leg.
        binds: addresses to listen on, by who wants them.
        pool_legs: to all peers together, at most; 0 without peers.
        mptcp: legs are to be MPTCP connections, to some peer or from some.
        early_syn: some listener begins sessions at their client's SYN.
        foreign: sockets shall have addresses that are not this host's.
        windows: peers by name with the segments that legs to them shall begin with.
    """

    workers: int
    sessions: int
    backlog: int
    congestions: frozenset[str]
    binds: tuple[tuple[str, Endpoint], ...]
    pool_legs: int = 0
    mptcp: bool = False
    early_syn: bool = False
    foreign: bool = False
    windows: tuple[tuple[str, int], ...] = ()


def check_host(host: Host, demand: Demand) -> Iterator[Finding]:
    """Hold the host against every rule, in the order an operator would ask."""
    yield kernel(host)
    yield python(host)
    yield cores(host, demand)
    yield descriptors(host, demand)
    yield low_ports(host, demand)
    yield capture_rights(host, demand)
    yield from queues(host, demand)
    yield slow_start(host, demand)
    yield from pool_legs(host, demand)
    yield from buffers(host)
    yield from (initial_window(host, *window) for window in demand.windows)
    yield ephemeral_ports(host, demand)
    yield fin_timeout(host)
    yield pipe_memory(host, demand)
    yield migration(host)
    yield from (congestion(host, name) for name in sorted(demand.congestions))


def kernel(host: Host) -> Finding:
    """Judge the kernel's age."""
    advice = f"run Linux {_dotted(_KERNEL_MIN)} or later"
    return finding("kernel", _dotted(host.kernel), wrong=host.kernel < _KERNEL_MIN, advice=advice, level=Level.FAIL)


def python(host: Host) -> Finding:
    """Judge Python's age."""
    advice = f"run Python {_dotted(_PYTHON_MIN)} or later"
    return finding("python", _dotted(host.python), wrong=host.python < _PYTHON_MIN, advice=advice, level=Level.FAIL)


def cores(host: Host, demand: Demand) -> Finding:
    """Judge whether every worker has a core of its own."""
    found = f"{demand.workers} workers on {len(host.cores)} usable cores ({', '.join(map(str, host.cores))})"
    advice = 'set workers = "auto" in [gateway]: workers that share a core delay each other'
    return finding("cores", found, wrong=demand.workers > len(host.cores), advice=advice)


def descriptors(host: Host, demand: Demand) -> Finding:
    """Judge the limit on open descriptors against limits.sessions."""
    share = share_of(demand.sessions, workers=demand.workers)
    need = descriptors_for(share)
    room = sessions_within(int(min(host.descriptors_hard, need)))
    found = f"hard limit {host.descriptors_hard:.0f}; a worker needs {need} for {share} sessions"
    advice = (
        f"LimitNOFILE={need} in the systemd unit, or ulimit -Hn {need} as root before the start; "
        f"until then accepting pauses at about {room * demand.workers} sessions"
    )
    return finding("descriptors", found, wrong=host.descriptors_hard < need, advice=advice)


def low_ports(host: Host, demand: Demand) -> Finding:
    """Judge the right to listen on ports below net.ipv4.ip_unprivileged_port_start."""
    first = (host.numbers("net.ipv4.ip_unprivileged_port_start") or (1024,))[0]
    low = sorted({bind.port for _, bind in demand.binds if 0 < bind.port < first})
    held = host.may(Capability.NET_BIND_SERVICE)
    found = f"ports below {first}: {', '.join(map(str, low)) or 'none'}; CAP_NET_BIND_SERVICE {_held(held)}"
    advice = "AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit"
    return finding("low ports", found, wrong=bool(low) and not held, advice=advice, level=Level.FAIL)


def capture_rights(host: Host, demand: Demand) -> Finding:
    """Say which rights are held that no listener here needs, so that nobody grants them for nothing."""
    rights = [Capability.NET_RAW, Capability.NET_ADMIN, Capability.SYS_RESOURCE]
    if demand.windows:
        rights.remove(Capability.NET_ADMIN)
    if demand.early_syn or demand.foreign:
        rights.remove(Capability.NET_RAW)
    found = "; ".join(f"CAP_{right.name} {_held(host.may(right))}" for right in rights)
    return Finding("other rights", Level.OK, f"{found}; none is needed")


def queues(host: Host, demand: Demand) -> Iterator[Finding]:
    """Judge the kernel's bounds on connections that wait for accept."""
    why = {"net.core.somaxconn": "caps it", "net.ipv4.tcp_max_syn_backlog": "caps those still in their handshake"}
    for name, effect in why.items():
        for limit in host.numbers(name):
            found = f"{limit}; the largest backlog is {demand.backlog}"
            advice = f"sysctl -w {name}={demand.backlog}: it {effect}, and a burst beyond it is dropped"
            yield finding(name, found, wrong=limit < demand.backlog, advice=advice)


def slow_start(host: Host, demand: Demand) -> Finding:
    """Judge whether an idle connection keeps its window (RFC 5681, section 4.1). It holds for IPv6, too."""
    name = "net.ipv4.tcp_slow_start_after_idle"
    idle = (
        "a session that pauses and each idle leg to a peer fall" if demand.pool_legs else "a session that pauses falls"
    )
    advice = f"sysctl -w {name}=0, on every gateway: {idle} back to the first window"
    return finding(name, _shown(host, name), wrong=host.numbers(name) == (1,), advice=advice)


def pool_legs(host: Host, demand: Demand) -> Iterator[Finding]:
    """Judge whether the broker may hold all legs that the pools may have; while workers are quiet it does."""
    if demand.pool_legs:
        need = demand.pool_legs + RESERVED_DESCRIPTORS
        found = f"hard limit {host.descriptors_hard:.0f}; the broker needs {need} for {demand.pool_legs} legs"
        advice = f"LimitNOFILE={need} in the systemd unit, or a lower pool_max for some peers"
        yield finding("pool legs", found, wrong=host.descriptors_hard < need, advice=advice)


def buffers(host: Host) -> Iterator[Finding]:
    """Judge how far the kernel may grow a connection's buffers: they bound its rate on a long path."""
    for name in ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"):
        least, usual, most = host.numbers(name) or (0, 0, _BUFFER_BYTES)
        found = f"up to {most} bytes: {most * 8 / _FAR_RTT_S / 1e6:.0f} Mbit/s a session at {_FAR_RTT_S * 1e3:.0f} ms"
        advice = f"sysctl -w {name}='{least} {usual} {_BUFFER_BYTES}'"
        yield finding(name, found, wrong=most < _BUFFER_BYTES, advice=advice)


def ephemeral_ports(host: Host, demand: Demand) -> Finding:
    """Judge how many sessions can lead to one destination: each takes a port of ours."""
    name = "net.ipv4.ip_local_port_range"
    first, last = host.numbers(name) or (32768, 60999)
    found = f"{last - first + 1} ports: as many sessions to one destination, of {demand.sessions} allowed"
    advice = f"sysctl -w {name}='10240 65535', and keep listeners below 10240"
    return finding(name, found, wrong=last - first + 1 < demand.sessions, advice=advice)


def fin_timeout(host: Host) -> Finding:
    """Judge how long the kernel waits for the last FIN of a connection that we closed."""
    name = "net.ipv4.tcp_fin_timeout"
    advice = f"sysctl -w {name}={_FIN_TIMEOUT_S}: connections already closed hold their memory and port"
    wrong = any(seconds > _FIN_TIMEOUT_S for seconds in host.numbers(name))
    return finding(name, f"{_shown(host, name)} s", wrong=wrong, advice=advice)


def pipe_memory(host: Host, demand: Demand) -> Finding:
    """Judge how many pipes of full size a user may have (pipe(7)); two rights lift the bound."""
    name = "fs.pipe-user-pages-soft"
    pages = (host.numbers(name) or (0,))[0]
    pipes, need = pages * host.page_bytes // SIZE_BYTES, demand.workers * _WORKER_PIPES
    bounded = pages > 0 and not (host.may(Capability.SYS_RESOURCE) or host.may(Capability.SYS_ADMIN))
    found = f"{pipes} pipes of {SIZE_BYTES} bytes" if bounded else "no bound for this user"
    advice = f"sysctl -w {name}={need * SIZE_BYTES // host.page_bytes}: smaller pipes cost processor time"
    return finding(name, found, wrong=bounded and pipes < need, advice=advice)


def migration(host: Host) -> Finding:
    """Say what becomes of connections in the queue of a socket that closes; nothing is wrong either way."""
    name = "net.ipv4.tcp_migrate_req"
    return Finding(name, Level.OK, f"{_shown(host, name)}; the supervisor keeps every queue open while workers change")


def congestion(host: Host, name: str) -> Finding:
    """Judge whether a congestion control that the configuration names can be had."""
    offered = host.sysctls.get("net.ipv4.tcp_available_congestion_control", "").split()
    allowed = host.sysctls.get("net.ipv4.tcp_allowed_congestion_control", "").split()
    check, found = f"congestion {name}", f"offered: {' '.join(offered)}; allowed: {' '.join(allowed)}"
    if name not in offered:
        return Finding(check, Level.FAIL, found, f"modprobe tcp_{name}, or choose one that is offered")
    advice = f"sysctl -w net.ipv4.tcp_allowed_congestion_control='{' '.join([*allowed, name])}'"
    wrong = name not in allowed and not host.may(Capability.NET_ADMIN)
    return finding(check, found, wrong=wrong, advice=advice, level=Level.FAIL)


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))


def _held(held: bool) -> str:
    return "held" if held else "not held"


def _shown(host: Host, name: str) -> str:
    return host.sysctls.get(name, "not shown by this kernel")

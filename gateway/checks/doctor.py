"""Whether this host fits this configuration, and what to do where it does not.

Rules are in `host_checks`, facts in `host`. Here is what has to be tried to be known: the kernel's
services, the runtime directory, the addresses.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from gateway.checks.findings import Finding, Level
from gateway.checks.host import Host
from gateway.checks.host_checks import Demand, check_host
from gateway.checks.transparent_checks import check_transparent, takes_foreign_addresses
from gateway.config.settings import GatewaySettings
from pools.key_file import read_keys
from pools.net import trials
from pools.net.endpoint import Endpoint
from pools.net.listening import ListenError, refuse_if_taken
from pools.net.transport import Transport
from workers.settings import Listen
from workers.shard import ShardHash

Trial = tuple[str, Callable[[], None], Level, str]

_COPIES: Final = "nothing breaks: bytes are copied, at about twice the processor time; allow splice in the container"
_SMALL_PIPES: Final = "nothing breaks: pipes stay small; raise fs.pipe-user-pages-soft, or grant CAP_SYS_RESOURCE"
_NO_CAPTURE: Final = (
    "AmbientCapabilities=CAP_NET_RAW in the systemd unit; until then sessions begin when they are accepted"
)
_NO_MPTCP: Final = "nothing breaks: legs are TCP connections; run Linux 5.6 or later, and sysctl -w net.mptcp.enabled=1"
_NO_SHARDS: Final = "connections cannot be dealt out to workers: run Linux 4.5 or later, outside a syscall filter"


def examine(settings: GatewaySettings, *, supervisor_pid: int = 0) -> list[Finding]:
    """Examine this host for this configuration. Takes well under a second and leaves nothing behind.

    Args:
        settings: what the gateway is to do.
        supervisor_pid: of a gateway that runs already, whose addresses are then its own; 0 for none.
    """
    host = Host.read()
    demand = demand_of(settings, cores=len(host.cores))
    ours = ports_of(supervisor_pid) if supervisor_pid else frozenset()
    return [
        *check_host(host, demand),
        *check_transparent(host, settings.listens),
        *(try_out(*trial) for trial in _trials(demand)),
        runtime_dir(settings.runtime_dir),
        *([key_file(Path(settings.key_file))] if settings.key_file else []),
        *_addresses(settings, ours),
    ]


def demand_of(settings: GatewaySettings, *, cores: int) -> Demand:
    """Say what the configuration asks of a host with so many usable cores."""
    congestions = {settings.outbound.congestion, *(listen.congestion for listen in settings.listens)}
    congestions |= {peer.congestion for peer in settings.peers}
    transports = {*(peer.transport for peer in settings.peers), *(listen.transport for listen in settings.listens)}
    binds = [(listen.name, listen.bind) for listen in settings.listens]
    if settings.admin:
        binds.append(("admin", settings.admin))
    return Demand(
        workers=settings.workers or cores,
        sessions=settings.limits.sessions,
        backlog=max((listen.backlog for listen in settings.listens), default=0),
        congestions=frozenset(congestions - {""}),
        binds=tuple(binds),
        pool_legs=sum(peer.pool_max for peer in settings.peers),
        mptcp=Transport.MPTCP in transports,
        foreign=any(map(takes_foreign_addresses, settings.listens)),
        early_syn=any(listen.early_syn for listen in settings.listens),
        windows=tuple((peer.name, peer.initial_window) for peer in settings.peers if peer.initial_window),
    )


def try_out(check: str, trial: Callable[[], None], level: Level, advice: str) -> Finding:
    """Run a trial; a refusal is a finding of `level` with `advice`."""
    try:
        trial()
    except trials.TrialError as error:
        return Finding(check, level, str(error), advice)
    return Finding(check, Level.OK, "works")


def runtime_dir(path: Path) -> Finding:
    """Judge whether the runtime directory can be used, or made."""
    place = next(directory for directory in (path, *path.parents) if directory.exists())
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return Finding("runtime directory", Level.OK, str(path))
    advice = f"RuntimeDirectory={path.name} in the systemd unit, or set runtime_dir in [gateway]"
    return Finding("runtime directory", Level.FAIL, f"{path}: {place} is no directory this user may write to", advice)


def key_file(path: Path) -> Finding:
    """Judge whether the overlay's keys can be read, and by nobody else."""
    keys, problems = read_keys(path, key="overlay.key_file", uid=os.geteuid())
    if problems:
        advice = f"chmod 600 {path}, owned by the gateway's user; `gateway keygen` writes one for all gateways"
        return Finding("overlay key", Level.FAIL, "; ".join(map(str, problems)), advice)
    accepts = ", ".join(each.id.hex() for each in keys)
    return Finding("overlay key", Level.OK, f"{path}: proves with {keys[0].id.hex()}, accepts {accepts}")


def address(name: str, bind: Endpoint, *, dual_stack: bool, ours: frozenset[int]) -> Finding:
    """Try to bind where a listener will, and say whether it can.

    Args:
        name: whose address it is.
        ours: ports of a gateway that runs already.
    """
    check = f"address of {name}"
    try:
        refuse_if_taken(bind, dual_stack=dual_stack)
    except ListenError as error:
        if bind.port in ours:
            return Finding(check, Level.OK, f"{bind} is held by the running gateway")
        return Finding(check, Level.FAIL, f"{bind}: {error}", f"free it, or change the bind of {name}")
    return Finding(check, Level.OK, f"{bind} is free")


def ports_of(pid: int) -> frozenset[int]:
    """Give the TCP ports that a process listens on; none where it is gone or not ours to look at."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        connections = psutil.Process(pid).net_connections("tcp")
        return frozenset(each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN)
    return frozenset()


def _trials(demand: Demand) -> Iterator[Trial]:
    program = ShardHash(0, demand.workers).program()
    yield "splice", trials.splice, Level.WARN, _COPIES
    yield "pipe size", trials.pipe_size, Level.WARN, _SMALL_PIPES
    yield "reuseport program", partial(trials.reuseport_program, program), Level.FAIL, _NO_SHARDS
    if demand.mptcp:
        yield "mptcp", trials.mptcp, Level.WARN, _NO_MPTCP
    if demand.early_syn:
        yield "packet capture", partial(trials.packet_capture, program), Level.WARN, _NO_CAPTURE


def _addresses(settings: GatewaySettings, ours: frozenset[int]) -> Iterator[Finding]:
    def tried(listen: Listen) -> Finding:
        return address(listen.name, listen.bind, dual_stack=listen.dual_stack, ours=ours)

    yield from map(tried, settings.listens)
    if settings.admin:
        yield address("admin", settings.admin, dual_stack=False, ours=ours)

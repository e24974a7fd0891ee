"""How a gateway introduces itself: to operators who ask for its status, and in the line that says that it is ready."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway import release
from gateway.arrangement import Arrangement
from gateway.reasons import Thresholds
from gateway.sockets.holdings import Holdings
from gateway.sockets.inherited import bound_address
from pools.net.transport import Transport, mptcp_lack
from workers.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class ListenerFact:
    """One listener as it was opened.

    Attributes:
        address: with the port that the kernel chose.
        to: empty unless it forwards.
        number: its place in rows of the scoreboard.
    """

    name: str
    mode: str
    address: str
    to: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class PeerFact:
    """One peer as it is configured; the limits are those of its pool of legs.

    Attributes:
        number: whose row on the scoreboard is its own.
        initial_window: segments; 0 where nothing is configured.
    """

    name: str
    address: str
    pool_min: int
    pool_max: int
    initial_window: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class EarlySynFact:
    """Whether sessions begin at their client's SYN; `lack` says why not where a listener wants it, else it is empty."""

    on: bool
    lack: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change but with the configuration.

    Attributes:
        name: the gateway's.
        config: path of its file; empty for none.
        peers: in the configuration's order, as on the scoreboard.
        admin: address of the admin listener; empty for none.
        started_s: monotonic clock.
        health: from where on it is degraded.
        version: of the code that runs, whatever is installed by now.
    """

    name: str
    config: str
    listeners: tuple[ListenerFact, ...]
    peers: tuple[PeerFact, ...]
    admin: str
    early_syn: EarlySynFact
    started_s: float
    health: Thresholds = field(default_factory=Thresholds)
    version: str = ""


def facts_of(now: Arrangement, holdings: Holdings, *, config: str, started_s: float) -> Facts:
    """Give what a gateway is by its configuration.

    Args:
        config: path of its file; empty for none.
        started_s: monotonic clock.
    """
    listeners = tuple(
        ListenerFact(listen.name, listen.mode.value, bound_address(group[0]), str(listen.to or ""), listen.number)
        for listen, group in zip(now.told.listens, holdings.groups, strict=True)
    )
    peers = tuple(
        PeerFact(each.name, str(each.address), each.pool_min, each.pool_max, each.initial_window, each.number)
        for each in now.told.peers
    )
    return Facts(
        name=now.settings.name,
        config=config,
        listeners=listeners,
        peers=peers,
        admin="" if holdings.admin is None else bound_address(holdings.admin),
        early_syn=EarlySynFact(bool(holdings.captures), holdings.capture_lack),
        started_s=started_s,
        health=now.settings.health,
        version=release.version(),
    )


def ready_line(facts: Facts, cores: Sequence[int]) -> str:
    """Say in one line what is there; `cores` are the workers'."""
    places = sorted(set(cores))
    return (
        f"ready: listening on {', '.join(map(_spoken, facts.listeners))}; "
        f"{len(cores)} worker{_plural(cores)} on core{_plural(places)} {', '.join(map(str, places))}; "
        f"admin {f'http://{facts.admin}' if facts.admin else 'off'}; pid {os.getpid()}"
    )


def transport_lack(told: WorkerSettings) -> str:
    """Say what is done where MPTCP is wanted and cannot be had; empty where all is well."""
    wanted = [peer.name for peer in told.peers if peer.transport is Transport.MPTCP]
    wanted += [listen.name for listen in told.listens if listen.transport is Transport.MPTCP]
    lack = mptcp_lack() if wanted else ""
    return f"no MPTCP for {', '.join(wanted)}, TCP instead: {lack}" if lack else ""


def _spoken(listener: ListenerFact) -> str:
    to = f" to {listener.to}" if listener.to else ""
    return f"{listener.address} ({listener.name}, {listener.mode}{to})"


def _plural(items: Sequence[object]) -> str:
    return "" if len(items) == 1 else "s"

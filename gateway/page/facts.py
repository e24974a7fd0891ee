"""What the page shows of the configuration: names and addresses, and never a password or a key."""

from dataclasses import dataclass
from typing import Final

from gateway import release
from pools.peer import Peer
from workers.settings import Listen, WorkerSettings


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """One listener.

    Attributes:
        number: its place on the scoreboard.
        bind: as configured.
        to: the destination; empty unless it forwards.
        via: for each path the gateways to cross, in order; () is from here.
    """

    number: int
    name: str
    mode: str
    bind: str
    to: str = ""
    via: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """One peer, with the bounds of its pool of legs; `number` is its place on the scoreboard."""

    number: int
    name: str
    address: str
    pool_min: int
    pool_max: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change while the admin child lives.

    Attributes:
        name: the gateway's.
        listeners: in the configuration's order.
        peers: likewise.
    """

    name: str = ""
    version: str = ""
    listeners: tuple[ListenerFacts, ...] = ()
    peers: tuple[PeerFacts, ...] = ()


UNTOLD: Final = Facts()
"""Of a gateway that told nothing."""


def facts_of(settings: WorkerSettings) -> Facts:
    """Pick what the page shows from what the workers are told."""
    return Facts(
        name=settings.gateway,
        version=release.version(),
        listeners=tuple(_listener(listen) for listen in settings.listens),
        peers=tuple(_peer(peer) for peer in settings.peers),
    )


def _listener(listen: Listen) -> ListenerFacts:
    to = "" if listen.to is None else str(listen.to)
    return ListenerFacts(listen.number, listen.name, listen.mode.value, str(listen.bind), to, listen.paths)


def _peer(peer: Peer) -> PeerFacts:
    return PeerFacts(peer.number, peer.name, str(peer.address), peer.pool_min, peer.pool_max)

"""What one configuration makes of a gateway: who is told what, and which worker has which place. Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway import topology
from gateway.config.settings import GatewaySettings
from gateway.numbering import Numbering
from pools.net.errors import StartError
from pools.net.scoreboard import Layout
from pools.peer import Peer
from workers.settings import WorkerSettings

_ROOM: Final = 64
"""For how many workers, listeners and peers there is room at least; beyond that, for twice as many as at the start."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A gateway as it is to be, complete.

    Attributes:
        told: what every worker is told, listeners and peers with their numbers.
        listeners: the numbers of all that there ever were.
        peers: likewise.
        places: the workers' rows, in slot order.
        cores: the workers', in the same order.
        edition: which one of this gateway it is, from 0; peers whose settings are new in it have this edition.
    """

    settings: GatewaySettings
    told: WorkerSettings
    listeners: Numbering
    peers: Numbering
    places: tuple[int, ...]
    cores: tuple[int, ...]
    edition: int = 0


def room_for(settings: GatewaySettings, *, workers: int) -> Layout:
    """Give how much room a gateway's scoreboard has that begins so."""
    return Layout(*(max(_ROOM, 2 * count) for count in (workers, len(settings.listens), len(settings.peers))))


def first(settings: GatewaySettings, *, cores: Sequence[int], shard_seed: int) -> Arrangement:
    """Arrange a gateway that starts.

    Args:
        cores: that workers may use.
        shard_seed: 0 to 2**32 - 1.
    """
    workers = settings.workers or len(cores)
    room = room_for(settings, workers=workers)
    listeners, peers = Numbering("listeners", room.listeners), Numbering("peers", room.peers)
    return _arrange(settings, listeners, peers, places=range(workers), cores=cores, shard_seed=shard_seed)


def following(
    before: Arrangement, settings: GatewaySettings, *, room: Layout, held: Collection[int], cores: Sequence[int]
) -> Arrangement:
    """Arrange the same gateway by other settings. Workers that stay keep their places, newcomers get free ones.

    Peers whose settings are the same keep their edition.

    Args:
        room: of the scoreboard.
        held: places of workers that retire.
        cores: that workers may use.

    Raises:
        StartError: the scoreboard has no room for all.
    """
    workers = settings.workers or len(cores)
    taken = {*held, *before.places}
    free = [place for place in range(room.workers) if place not in taken]
    places = [*before.places, *free][:workers]
    if len(places) < workers:
        raise StartError(
            f"expected room for {workers} workers beside {len(set(held))} that retire; found {room.workers} places; "
            "`gateway upgrade` makes room"
        )
    seed, edition = before.told.shard_seed, before.edition + 1
    after = _arrange(settings, before.listeners, before.peers, places=places, cores=cores, shard_seed=seed)
    peers = tuple(_in_editions(after.told.peers, before.told.peers, edition))
    return replace(after, told=replace(after.told, peers=peers), edition=edition)


def _arrange(  # all that an arrangement is made of
    settings: GatewaySettings,
    listeners: Numbering,
    peers: Numbering,
    *,
    places: Sequence[int],
    cores: Sequence[int],
    shard_seed: int,
) -> Arrangement:
    listeners = listeners.with_names(listen.name for listen in settings.listens)
    peers = peers.with_names(peer.name for peer in settings.peers)
    told = settings.for_workers(len(places), shard_seed)
    told = replace(
        told,
        listens=tuple(replace(listen, number=listeners[listen.name]) for listen in told.listens),
        peers=tuple(replace(peer, number=peers[peer.name]) for peer in told.peers),
    )
    return Arrangement(settings, told, listeners, peers, tuple(places), topology.assign(len(places), cores))


def _in_editions(peers: Iterable[Peer], before: Iterable[Peer], edition: int) -> Iterator[Peer]:
    known = {peer.name: peer for peer in before}
    for peer in peers:
        former = known.get(peer.name)
        if former is None or replace(peer, edition=former.edition) != former:
            yield replace(peer, edition=edition)
        else:
            yield former

"""A far gateway, a broker in another process that knows it, and this process as one of its workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pools.broker_client import BrokerClient
from pools.core_cache import CoreCache
from pools.handshake import OverlayKey
from pools.key_file import KeyFile
from pools.leg import PoolLeg
from pools.leg_dial import LegDialler
from pools.net.link_board import LinkCell
from tests.floor import Floor
from tests.pools.broker_process import BrokerProcess, a_broker
from tests.pools.far_gateway import KEY, NAME, FarGateway, addresses_only, wait_until, write_key


class World:
    """A far gateway, a broker that knows it, and this process as one of its workers."""

    def __init__(self, folder: Path, floor: Floor, far: FarGateway, broker: BrokerProcess, **peer: object) -> None:
        self.floor, self.far, self.broker = floor, far, broker
        self.folder = folder
        self.downs: list[str] = []
        self.peer = far.peer(**peer)
        self.clients: list[BrokerClient] = []

    def client(self, slot: int = 0) -> BrokerClient:
        """Begin a worker's life, with a channel to the broker."""
        dialler = LegDialler(
            "oregon",
            keys=KeyFile(self.folder / "overlay.key"),
            readiness=self.floor.readiness,
            resolver=addresses_only(),
            origin=len(self.clients),
        )
        client = BrokerClient(
            [self.peer],
            workers=2,
            readiness=self.floor.readiness,
            dialler=dialler,
            on_peer_down=self.downs.append,
        )
        self.clients.append(client)
        client.connect(self.broker.line(slot))
        return client

    def cache(self, client: BrokerClient) -> CoreCache[PoolLeg]:
        """Give a worker's magazines."""
        return client._legs[NAME]._cache

    def lose(self, client: BrokerClient) -> int:
        """End a worker's life as the kernel does, by closing all it has; tell how many legs that were."""
        self.clients.remove(client)
        legs = [*self.cache(client).idle, *self.cache(client).lent]
        assert client._line._channel
        client._line._channel.close()
        client._line._channel = None
        for leg in legs:
            leg.keeper = leg.on_readable = None
            leg.close()
        return len(legs)

    def take(self, client: BrokerClient) -> PoolLeg:
        """Take a leg as soon as there is one."""
        taken: list[PoolLeg] = []

        def find() -> bool:
            leg = client.take(NAME)
            taken.extend([leg] if leg else [])
            return leg is not None

        wait_until(find, "a leg to take")
        return taken[0]

    def shown(self, cell: LinkCell, value: int) -> None:
        """Wait until the board shows a number, reporting as a worker does."""

        def matches() -> bool:
            for client in self.clients:
                client.beat()
            return self.broker.shows(cell) == value

        wait_until(matches, f"{cell.name} {value}; found {self.broker.shows(cell)}")


@contextmanager
def a_world(folder: Path, *, key: OverlayKey | None = KEY, **peer: object) -> Iterator[World]:
    """Start all of it; `key` is in the broker's file, None for no file."""
    key_file = write_key(folder, key) if key else folder / "overlay.key"
    with Floor() as floor, FarGateway(floor.readiness) as far:
        with a_broker(folder, far.peer(**peer), key_file=key_file) as broker:
            world = World(folder, floor, far, broker, **peer)
            yield world
            for client in world.clients:
                client.close()
        far.leave()

"""Workers and a broker that are told of other peers, each at its own time: no leg is lost, lent twice or left open.

All of them live in the test's loop, with real legs to two far gateways; what a supervisor would tell them is drawn.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from pools.broker import Broker
from pools.broker_client import BrokerClient
from pools.broker_post import BrokerPost, BrokerSettings
from pools.key_file import KeyFile
from pools.leg import PoolLeg
from pools.leg_dial import LegDialler
from pools.net.fd_passing import socket_pair
from pools.net.orders import Order, OrderMessage
from pools.net.scoreboard import Layout, Scoreboard
from pools.peer import Peer, PoolKey
from tests.floor import Floor, settle
from tests.pools.far_gateway import LIMIT_S, FarGateway, addresses_only, hold_session, wait_until, write_key

NAMES: Final = ("mumbai", "madrid")
WORKERS: Final = 2
POOL_MIN: Final = 4


class Shop:
    """One gateway without its supervisor.

    Attributes:
        peers: by the last configuration.
        lent: what sessions have, with who lent it.
        cut: legs of each pool that sessions closed.
    """

    def __init__(self, floor: Floor, board: Scoreboard, key_file: Path) -> None:
        self.floor = floor
        self.fars = [FarGateway(floor.readiness, name=name) for name in NAMES]
        self.peers: tuple[Peer, ...] = ()
        self.editions = count()
        self.reload((0, 0))
        self.lent: list[PoolLeg] = []
        self.cut: list[PoolKey] = []
        self._key_file = key_file
        self._ours, self._theirs = socket_pair()
        self.broker = Broker(BrokerPost(self.told, WORKERS, board.links, board.broker, self._theirs))
        self.serials = [count() for _ in range(WORKERS)]
        self.clients = [self._client(slot, None) for slot in range(WORKERS)]
        self.broker.start()
        for slot in range(WORKERS):
            self.join(slot)

    @property
    def told(self) -> BrokerSettings:
        return BrokerSettings("oregon", self.peers, WORKERS, str(self._key_file), 5.0, 60.0)

    def reload(self, wanted: tuple[int | None, int | None]) -> None:
        """Have each far gateway be a peer by one of two settings, or none, in editions as an arrangement has them."""
        edition, known = next(self.editions), {peer.name: peer for peer in self.peers}
        peers = []
        for number, (far, setting) in enumerate(zip(self.fars, wanted, strict=True)):
            if setting is not None:
                peer = far.peer(pool_min=POOL_MIN, pool_max=64 + setting, magazine=1, number=number)
                former = known.get(peer.name)
                is_same = former is not None and replace(former, edition=0) == peer
                peers.append(former if former is not None and is_same else replace(peer, edition=edition))
        self.peers = tuple(peers)

    def worker_follows(self, slot: int) -> None:
        """Do what a worker does with the services before and after."""
        before = self.clients[slot]

        def follow() -> None:
            self.clients[slot] = self._client(slot, before)
            before.retire()

        self.floor.in_hub(follow)

    def broker_follows(self) -> None:
        self.floor.in_hub(lambda: self.broker._live_by(self.told))

    def join(self, slot: int) -> None:
        """Give a worker and the broker a fresh channel."""
        ours, theirs = socket_pair()
        self.floor.in_hub(lambda: self.broker._follow(OrderMessage(Order.CHANNEL, slot=slot), [theirs.detach()]))
        self.floor.in_hub(lambda: self.clients[slot].connect(ours))

    def begin(self, slot: int, name: str) -> None:
        """Begin a session through a peer, where the worker knows it."""
        client = self.clients[slot]
        if name in client._legs:
            leg = client.take(name) or client.dial(name, limit_s=LIMIT_S)
            assert port_of(leg) not in map(port_of, self.lent)
            self.lent.append(leg)

    def end(self, place: int, *, in_order: bool) -> None:
        """End one of the sessions."""
        if self.lent:
            leg = self.lent.pop(place % len(self.lent))
            if in_order:
                hold_session(leg)
            else:
                self.cut.append(pool_of(leg))
                leg.close()

    def rest(self) -> None:
        """Have all follow, end all sessions, and wait until each leg is where it is known."""
        for slot in range(WORKERS):
            self.worker_follows(slot)
        self.broker_follows()
        while self.lent:
            self.end(0, in_order=True)
        wait_until(self.is_at_rest, "every leg that a far gateway has is idle, in a worker or in the depot")

    def is_at_rest(self) -> bool:
        known = {peer.name: self.ports_of(peer) for peer in self.peers}
        for client in self.clients:
            client.beat()
        return all(self._is_at_rest(far, known.get(far.name)) for far in self.fars)

    def _is_at_rest(self, far: FarGateway, known: list[int] | None) -> bool:
        try:
            found = {leg.socket.getpeername()[1] for leg in far.legs}
        except OSError:  # closed at our end, which it has not heard yet
            return False
        if known is None:
            return not found
        assert len(known) == len(set(known))
        return len(known) >= POOL_MIN and set(known) < found and len(found) == len(known) + 1  # the one for probes

    def ports_of(self, peer: Peer) -> list[int]:
        """Give the idle legs to a peer, as broker and workers have them; none before each worker has some."""
        with_workers = [client._legs[peer.name]._cache.idle for client in self.clients]
        if not all(with_workers):
            return []
        legs = [*self.broker._desks[peer.pool].pool.depot, *chain(*with_workers)]
        return [port_of(leg) for leg in legs]

    def close(self) -> None:
        for client in self.clients:
            self.floor.in_hub(client.close)
        self.floor.in_hub(lambda: self.broker._follow(OrderMessage(Order.STOP), []))
        self.broker.wait()
        for far in self.fars:
            far.leave()
        self._ours.close()
        self._theirs.close()

    def _client(self, slot: int, before: BrokerClient | None) -> BrokerClient:
        dialler = LegDialler(
            "oregon",
            keys=KeyFile(self._key_file),
            readiness=self.floor.readiness,
            resolver=addresses_only(),
            origin=slot,
            serials=self.serials[slot],
        )
        return BrokerClient(
            self.peers,
            workers=WORKERS,
            readiness=self.floor.readiness,
            dialler=dialler,
            on_peer_down=lambda _: None,
            before=before,
        )


def port_of(leg: PoolLeg) -> int:
    port: int = leg.socket.getsockname()[1]
    return port


def pool_of(leg: PoolLeg) -> PoolKey:
    """Tell which pool a lent leg belongs to."""
    assert leg.keeper is not None
    key: PoolKey = leg.keeper.key  # type: ignore[attr-defined]  # a PeerLegs
    return key


@contextmanager
def a_shop() -> Iterator[Shop]:
    with TemporaryDirectory() as name, Floor() as floor:
        folder = Path(name)
        layout = Layout(WORKERS, 0, len(NAMES))
        board = Scoreboard.create(folder / "board", layout, supervisor_pid=1, started_ns=1)
        shop = Shop(floor, board, write_key(folder))
        try:
            yield shop
        finally:
            shop.close()
            board.close()


SLOTS = st.integers(0, WORKERS - 1)
SETTING = st.sampled_from([0, 0, 0, 1, None])
STEPS = st.one_of(
    st.tuples(st.just("reload"), st.tuples(SETTING, SETTING).filter(lambda both: both != (None, None))),
    st.tuples(st.just("worker"), SLOTS),
    st.tuples(st.just("broker")),
    st.tuples(st.just("join"), SLOTS),
    st.tuples(st.just("begin"), SLOTS, st.sampled_from(NAMES)),
    st.tuples(st.just("end"), st.integers(0, 20), st.sampled_from([True, True, True, False])),
    st.tuples(st.just("turn"), st.integers(1, 10)),
)


def do(shop: Shop, step: tuple[Any, ...]) -> None:
    match step:
        case ("reload", wanted):
            shop.reload(wanted)
        case ("worker", int(slot)):
            shop.worker_follows(slot)
        case ("broker",):
            shop.broker_follows()
        case ("join", int(slot)):
            shop.join(slot)
        case ("begin", int(slot), str(name)):
            shop.begin(slot, name)
        case ("end", int(place), bool(in_order)):
            shop.end(place, in_order=in_order)
        case ("turn", int(turns)):
            settle(turns)


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_whoever_is_told_when_every_leg_is_at_one_place_in_the_end(steps: list[tuple[Any, ...]]) -> None:
    with a_shop() as shop:
        for step in steps:
            do(shop, step)
        shop.rest()


@settings(max_examples=20, deadline=None)
@given(st.lists(STEPS.filter(lambda step: step[0] != "join"), max_size=40))
def test_of_a_peer_that_stays_as_it_is_no_leg_ends_but_by_its_session(steps: list[tuple[Any, ...]]) -> None:
    with a_shop() as shop:
        wait_until(shop.is_at_rest)
        mumbai = shop.fars[0]
        for step in steps:
            match step:
                case ("reload", (_, second)):
                    shop.reload((0, second))
                case _:
                    do(shop, step)
        shop.rest()
        assert mumbai.met - len(mumbai.legs) == shop.cut.count(("mumbai", 0))

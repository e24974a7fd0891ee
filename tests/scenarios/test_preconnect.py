"""Connections kept ready to destinations: there before a client, replaced when used or ended, gone with the drain."""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from threading import Thread

import pytest

from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.overlay import Chain, Station
from tests.scenarios.peers_under_test import PATIENCE_S, Destination, End, connect, hear, hear_exactly

KEPT = 4
ENDED_AFTER_S = 0.05


class Impatient:
    """A destination that echoes, and ends a connection on which nothing comes at once.

    Attributes:
        ended: how many it has ended.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.ended = 0
        self._thread = Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                self._meet(self.destination.accept())

    def _meet(self, sock: socket.socket) -> None:
        with sock:
            if select.select([sock], [], [], ENDED_AFTER_S)[0]:
                sock.sendall(hear(sock).data)
            else:
                self.ended += 1

    def close(self) -> None:
        self.destination.listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)


@dataclass(frozen=True, slots=True)
class World:
    """Oregon goes to one destination by mumbai and to two others itself; to all of them connections are ready."""

    chain: Chain
    by_mumbai: Destination
    by_oregon: Destination
    impatient: Impatient

    def wait_ready(self, name: str, count: int) -> None:
        """Wait until a gateway has so many connections ready, of which it hears later than their other ends."""
        gateway = self.chain[name]
        gateway.wait_until(lambda: self.idle(name) >= count, expected=f"{count} connections are ready")

    def idle(self, name: str) -> float:
        """Give how many connections a gateway has ready now."""
        return self.chain[name].metrics()["midmile_preconnect_idle"]

    def takes(self, name: str, result: str) -> float:
        """Give how many sessions found a connection ready, or none."""
        return self.chain[name].metrics()[f'midmile_preconnect_takes_total{{result="{result}"}}']


@contextmanager
def ended_well(chain: Chain) -> Iterator[Chain]:
    try:
        yield chain.wait_ready()
        chain.end()
    finally:
        chain.abandon()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as ends:
        by_mumbai, by_oregon, third = (ends.enter_context(Destination()) for _ in range(3))
        impatient = Impatient(third)
        ends.callback(impatient.close)
        listens = [
            forward(str(by_mumbai), name="by-mumbai", via=["mumbai"]),
            forward(str(by_oregon), name="by-oregon", preconnect=KEPT, send_proxy="v1"),
            forward(str(third), name="impatient", preconnect=KEPT),
        ]
        table = {"to": str(by_mumbai), "connections": KEPT}
        stations = {
            "oregon": Station(knows=["mumbai"], listens=listens),
            "mumbai": Station(tables={"egress": {"allow": ["127.0.0.1:*"]}, "[egress.preconnect]": table}),
        }
        chain = Chain(tmp_path_factory.mktemp("preconnect"), stations)
        kept = ends.enter_context(ExitStack())
        ends.enter_context(ended_well(chain))
        world = World(chain, by_mumbai, by_oregon, impatient)
        yield world
        idle = [kept.enter_context(found) for found in waiting(by_mumbai) + waiting(by_oregon)]
        chain.end()
        assert [hear(sock).end for sock in idle] == [End.FIN] * len(idle)  # the drain ended them in order


def waiting(destination: Destination) -> list[socket.socket]:
    """Accept all that wait."""
    found = []
    while select.select([destination.listener], [], [], 0)[0]:
        found.append(destination.accept())
    return found


def one_of(socks: list[socket.socket]) -> socket.socket:
    """Give the connection on which something comes."""
    readable, _, _ = select.select(socks, [], [], PATIENCE_S)
    (found,) = readable
    return found


def test_a_session_through_another_gateway_finds_its_connection_there_already(world: World) -> None:
    ready = [world.by_mumbai.accept() for _ in range(KEPT)]  # nobody has asked for anything yet
    world.wait_ready("mumbai", KEPT)
    with ExitStack() as ends:
        for sock in ready:
            ends.enter_context(sock)
        with connect(world.chain["oregon"].port("by-mumbai")) as client:
            client.sendall(b"hello")
            taken = one_of(ready)
            assert hear_exactly(taken, 5) == b"hello"
            taken.sendall(b"answer")
            assert hear_exactly(client, 6) == b"answer"
            client.shutdown(socket.SHUT_WR)
            assert hear(taken).end is End.FIN
            taken.close()
            assert hear(client).end is End.FIN
        ends.enter_context(world.by_mumbai.accept())  # in the place of the one that was used
        assert (world.takes("mumbai", "hit"), world.takes("mumbai", "miss")) == (1, 0)
        world.wait_ready("mumbai", KEPT)


def test_the_proxy_header_tells_of_the_client_that_takes_one(world: World) -> None:
    ready = [world.by_oregon.accept() for _ in range(KEPT)]
    world.wait_ready("oregon", KEPT)
    with connect(world.chain["oregon"].port("by-oregon")) as client:
        host, port = client.getsockname()
        header = f"PROXY TCP4 {host} 127.0.0.1 {port} ".encode()
        taken = one_of(ready)
        assert hear_exactly(taken, len(header)) == header
        client.shutdown(socket.SHUT_WR)
        assert hear(taken).end is End.FIN
        for sock in ready:
            sock.close()
        assert hear(client).end is End.FIN


def test_a_destination_that_ends_them_at_once_is_left_alone_and_serves_sessions_all_the_same(world: World) -> None:
    oregon = world.chain["oregon"]
    oregon.line("ended a connection that was kept ready, after 0.[0-9] s")
    before = world.impatient.ended
    served = 0

    def serve_some() -> bool:
        nonlocal served
        with connect(oregon.port("impatient")) as client:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            served += hear(client).data == b"hello"
        return served >= 20

    oregon.wait_until(serve_some, expected="sessions are served")
    assert world.impatient.ended - before < 20, "it must not be hammered"

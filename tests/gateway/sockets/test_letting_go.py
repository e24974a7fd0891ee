import socket
from collections.abc import Iterator

import pytest

from gateway.sockets.holdings import Holdings
from gateway.sockets.letting_go import LET_GO_S, QUEUE_S, LettingGo
from pools.net.endpoint import Endpoint
from workers.settings import Listen, Mode, WorkerSettings

LISTEN = Listen("web", Endpoint("127.0.0.1", 0), Mode.MIXED)


class World:
    """Holdings that had two workers, of which one is not wanted any more, and a client that waits for that one."""

    def __init__(self) -> None:
        self.holdings = Holdings.open(WorkerSettings((LISTEN,), workers=2, shard_seed=7), admin=None)
        ((self.kept, self.unwanted),) = self.holdings.groups
        self.client = self.waiting_client()
        self.holdings.take(self.holdings.prepare(WorkerSettings((LISTEN,), workers=1, shard_seed=7), admin=None))
        self.letting_go = LettingGo(self.holdings, now_s=100.0)

    def waiting_client(self) -> socket.socket:
        while True:
            client = socket.create_connection(self.kept.getsockname(), timeout=30)
            try:
                self.kept.accept()[0].close()  # it came to the other worker
            except BlockingIOError:
                return client
            client.close()

    def close(self) -> None:
        self.client.close()
        self.holdings.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_who_waits_is_waited_for_until_a_worker_has_come(world: World) -> None:
    assert not world.letting_go.turn(100.0 + LET_GO_S + QUEUE_S - 0.1)
    with world.unwanted.accept()[0] as accepted:
        assert world.letting_go.turn(100.0 + LET_GO_S + QUEUE_S - 0.1)
        accepted.sendall(b"served")
        assert world.client.recv(10) == b"served"
    assert world.unwanted.fileno() == -1


def test_workers_may_still_hold_what_nobody_waits_in(world: World) -> None:
    with world.unwanted.accept()[0]:
        assert not world.letting_go.turn(100.0 + LET_GO_S - 0.1)
        assert world.letting_go.turn(100.0 + LET_GO_S)


def test_nobody_is_waited_for_for_ever(world: World) -> None:
    assert world.letting_go.turn(100.0 + LET_GO_S + QUEUE_S)
    with pytest.raises(ConnectionResetError):
        world.client.recv(10)

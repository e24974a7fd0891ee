"""Services of one worker, one after another, inside the test's own process."""

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import gevent

from pools.broker_client import BrokerClient
from pools.egress_rules import EgressRules
from pools.net import sockopts
from pools.net.endpoint import Endpoint
from pools.net.fd_passing import socket_pair
from pools.net.scoreboard import Cell
from pools.peer import Peer
from tests.far_end import OPEN, FarEnd
from tests.floor import Floor, turn_until
from tests.workers.forked_worker import forward
from tests.workers.gate import key_file
from tests.workers.world import empty_row
from workers.ground import Ground
from workers.post import Post
from workers.service import Service
from workers.settings import Listen, Mode, WorkerSettings
from workers.source_limit import SourceTable
from workers.syn_sockets import Capture

ANY = Endpoint("127.0.0.1", 0)
OVERLAY = Listen("overlay", ANY, Mode.OVERLAY, number=1)
MUMBAI = Peer("mumbai", Endpoint("192.0.2.1", 7400))


class Shift:
    """What a worker does with its services, without its orders. A context manager that ends them."""

    def __init__(self, folder: Path, *, capture: Callable[[int], Capture] | None = None, **more: Any) -> None:
        key_file(folder)
        self._owned = ExitStack()
        self.floor = self._owned.enter_context(Floor())
        self.origin = self._owned.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.origin.setblocking(False)
        self.to = Endpoint(*self.origin.getsockname())
        self.listeners = [self._owned.enter_context(_listener()) for _ in range(2)]
        channel, other = socket_pair()
        table = SourceTable.create(room=1, seed=1)
        for each in (channel, other, table):
            self._owned.callback(each.close)
        settings = WorkerSettings(
            (forward(self.to, early_syn=capture is not None), OVERLAY),
            1,
            1,
            gateway="oregon",
            key_file=str(folder / "overlay.key"),
            egress=EgressRules.parse([str(self.to)]),
        )
        self.post = Post(0, None, replace(settings, **more), (), empty_row(2), table, 1, channel)
        self.capture = None if capture is None else capture(self.listeners[0].getsockname()[1])
        self.ground = Ground(self.post)
        self.services: list[Service] = []
        self._ticks = gevent.get_hub().loop.timer(0.01, 0.01)
        self._ticks.start(self._tick)
        self.configure()
        self.descriptors = descriptors()

    def configure(self, **more: Any) -> None:
        """Go on by other settings, as a worker does."""
        self.post = replace(
            self.post,
            settings=replace(self.post.settings, **more),
            listeners=tuple(map(_copy, self.listeners[: len(more.get("listens", (0, 0)))])),
            capture=self.capture and replace(self.capture, sockets=tuple(map(_copy, self.capture.sockets))),
        )
        self.floor.in_hub(self._succeed)

    def _succeed(self) -> None:
        before = self.services[-1] if self.services else None
        service = Service(self.post, self.ground, before=before)
        service.on_change = self._look_round
        self.services.append(service)
        if before is not None:
            before.retire(self.post)
        service.start()

    def _tick(self) -> None:
        for service in tuple(self.services):
            service.tick()

    def _look_round(self) -> None:
        for service in [one for one in self.services[:-1] if one.is_over]:
            self.services.remove(service)
            service.close()

    def _end(self) -> None:
        for service in tuple(self.services):
            service.drain(linger_s=0.0)
            service.kill()
            service.close()

    @property
    def legs(self) -> BrokerClient | None:
        """Legs to peers of the service that accepts."""
        peering = self.services[-1].peering
        return None if peering is None else peering.legs

    @property
    def newcomers(self) -> int:
        """Who is at the door of the service that accepts."""
        peering = self.services[-1].peering
        return 0 if peering is None or peering.overlay is None else len(peering.overlay._door)

    def peer(self, name: str = "virginia", answers_as: str = "oregon") -> FarEnd:
        """Let a gateway come in."""
        before = self.post.row[Cell.LEGS_INBOUND]
        far = FarEnd(self.connect(1))
        assert far.introduce(name) == answers_as
        turn_until(lambda: self.post.row[Cell.LEGS_INBOUND] == before + 1)
        return far

    def connect(self, index: int) -> socket.socket:
        client = self._owned.enter_context(socket.create_connection(self.listeners[index].getsockname()))
        client.setblocking(False)
        return client

    def accept(self) -> socket.socket:
        """Wait for the next leg at the origin."""
        waiting: list[socket.socket] = []

        def comes() -> bool:
            try:
                waiting.append(self._owned.enter_context(self.origin.accept()[0]))
            except BlockingIOError:
                return False
            return True

        turn_until(comes)
        waiting[0].setblocking(False)
        return waiting[0]

    def ask(self, far: FarEnd, session: int) -> object:
        """Have a peer ask for the origin, and give the answer."""
        far.say(replace(OPEN, destination=self.to), session)
        return far.hear_body()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.floor.in_hub(self._end)
        self._ticks.stop()
        self._ticks.close()
        self.ground.close()
        self._owned.close()


def _listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    sockopts.linger_reset(listener)
    return listener


def _copy(listener: socket.socket) -> socket.socket:
    copy = listener.dup()
    copy.setblocking(False)
    return copy


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))

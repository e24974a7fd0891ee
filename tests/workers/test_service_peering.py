"""Legs of peers and legs to them, from one service to the next; and what a service leaves behind when it is gone."""

import errno
import gc
import os
import socket
import weakref
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import gevent

from pools.broker_client import BrokerClient
from pools.egress_rules import EgressRules
from pools.frame_bodies import Opened, Refused
from pools.frames import Frame, FrameType, Payload
from pools.net import sockopts
from pools.net.endpoint import Endpoint
from pools.net.fd_passing import socket_pair
from pools.net.scoreboard import Cell
from pools.peer import Peer
from tests.far_end import OPEN, FarEnd
from tests.floor import Floor, reset, rest_of, send_all, turn_until
from tests.workers.forked_worker import forward
from tests.workers.gate import key_file
from tests.workers.world import empty_row
from workers.ground import Ground
from workers.post import Post
from workers.service import Service
from workers.settings import Listen, Mode, Preconnected, WorkerSettings
from workers.source_limit import SourceTable

ANY = Endpoint("127.0.0.1", 0)
OVERLAY = Listen("overlay", ANY, Mode.OVERLAY, number=1)
MUMBAI = Peer("mumbai", Endpoint("192.0.2.1", 7400))


class Shift:
    """Services of one worker, one after another, inside the test's own process. A context manager that ends them."""

    def __init__(self, folder: Path, **more: Any) -> None:
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
            (forward(self.to), OVERLAY),
            1,
            1,
            gateway="oregon",
            key_file=str(folder / "overlay.key"),
            egress=EgressRules.parse([str(self.to)]),
        )
        self.post = Post(0, None, replace(settings, **more), (), empty_row(2), table, 1, channel)
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


def test_legs_of_peers_go_on_where_the_gateway_stays_who_it_is_and_new_rules_hold(tmp_path: Path) -> None:
    with Shift(tmp_path) as shift:
        busy, idle = shift.peer(), shift.peer()
        assert isinstance(shift.ask(busy, 1), Opened)
        accepted = shift.accept()
        shift.configure(egress=EgressRules())
        answer = shift.ask(idle, 1)
        assert isinstance(answer, Refused)
        assert answer.errno == errno.EACCES
        send_all(accepted, b"still here")
        assert heard(busy, 10) == b"still here"  # and not GOAWAY
        assert shift.post.row[Cell.LEGS_INBOUND] == 2
        assert [len(list(service.sessions)) for service in shift.services] == [1, 0]
        reset(accepted)
        turn_until(lambda: len(shift.services) == 1)


def test_under_another_name_peers_are_told_to_go_and_come_in_anew(tmp_path: Path) -> None:
    with Shift(tmp_path) as shift:
        busy, idle = shift.peer(), shift.peer()
        assert isinstance(shift.ask(busy, 1), Opened)
        accepted = shift.accept()
        late = FarEnd(shift.connect(1))
        turn_until(lambda: shift.newcomers == 1)
        shift.configure(gateway="ohio")
        assert late.introduce("virginia") == "oregon"  # it was at the old door
        assert idle.hear() == busy.hear() == Frame(FrameType.GOAWAY)
        assert isinstance(shift.ask(late, 1), Opened)  # it cannot know yet
        shift.accept()
        new = shift.peer(answers_as="ohio")
        assert isinstance(shift.ask(new, 1), Opened)
        shift.accept()
        send_all(accepted, b"still here")
        assert heard(busy, 10) == b"still here"
        for far in (busy, idle, late):
            reset(far.sock)
        turn_until(lambda: len(shift.services) == 1)
        assert (shift.post.row[Cell.LEGS_INBOUND], shift.ground.tally.live) == (1, 1)


def test_who_does_not_go_is_closed_once_the_last_session_is_over(tmp_path: Path) -> None:
    with Shift(tmp_path) as shift:
        idle = shift.peer()
        shift.configure(listens=shift.post.settings.listens[:1])
        assert idle.hear() == Frame(FrameType.GOAWAY)
        assert rest_of(idle.sock) == (b"", "end")
        turn_until(lambda: len(shift.services) == 1)


def test_legs_to_peers_go_on_without_the_overlay_and_end_when_peers_change(tmp_path: Path) -> None:
    with Shift(tmp_path, peers=(MUMBAI,)) as shift:
        first = shift.legs
        shift.configure(listens=shift.post.settings.listens[:1])
        assert shift.legs is first
        shift.configure(peers=(replace(MUMBAI, pool_max=7),))
        assert shift.legs is not first
        shift.configure(peers=(), key_file="")
        assert shift.services[-1].peering is None


def test_ten_configurations_leave_nothing_behind(tmp_path: Path) -> None:
    with Shift(tmp_path) as shift:
        services = [weakref.ref(shift.services[0])]
        clients = []
        for number in range(10):
            clients.append((shift.connect(0), shift.accept(), shift.peer(answers_as=shift.post.settings.gateway)))
            shift.configure(gateway=("oregon", "ohio")[number % 3 == 0], preconnect=(Preconnected(shift.to, 0),))
            services.append(weakref.ref(shift.services[-1]))
        assert len(shift.services) == 11
        before = descriptors()
        for client, accepted, far in clients:
            for sock in (client, accepted, far.sock):
                sock.close()
        turn_until(lambda: len(shift.services) == 1)
        turn_until(lambda: shift.post.row[Cell.LEGS_INBOUND] == 0)
        assert len(shift.ground.readiness) == len(shift.ground.resets) == shift.ground.tally.live == 0
        assert descriptors() < before - 10 * 5  # ours, those of the worker, and of each service its listeners
        assert descriptors() == shift.descriptors
        gc.collect()
        assert [service() for service in services] == [None] * 10 + [shift.services[0]]


def heard(far: FarEnd, size: int) -> bytes:
    """Read payload of a session."""
    data = b""
    while len(data) < size:
        piece = far.hear()
        assert isinstance(piece, Payload), f"expected payload; found {piece}"
        data += piece.part
    return data


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))

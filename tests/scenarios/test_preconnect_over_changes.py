"""Connections kept ready over reloads and upgrades: as many as are wanted then, and not one that nobody will use."""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from gateway import control_client
from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.programs import LIMIT_S
from tests.scenarios.harness.steady import SERVED, Way, steady
from tests.scenarios.peers_under_test import Destination, connect, hear_exactly

FIRST: Final = 4
KEY: Final = f"preconnect = {FIRST}"


class Echo:
    """A destination that sends back what comes, in a thread of its own.

    Attributes:
        open: connections that are there.
        resets: connections that did not end in order.
    """

    def __init__(self, destination: Destination) -> None:
        self.open = self.resets = 0
        self._listener = destination.listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._wake.close()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    self._leave()
                    return
                if key.fileobj is self._listener:
                    self._selector.register(self._listener.accept()[0], selectors.EVENT_READ)
                    self.open += 1
                elif isinstance(key.fileobj, socket.socket) and not self._echoes(key.fileobj):
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()
                    self.open -= 1

    def _echoes(self, sock: socket.socket) -> bool:
        try:
            data = sock.recv(65_536)
            sock.sendall(data)
        except ConnectionError:
            self.resets += 1
            return False
        return bool(data)

    def _leave(self) -> None:
        for key in list(self._selector.get_map().values()):
            if key.fileobj is not self._listener and isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()


@dataclass(slots=True)
class World:
    """A gateway whose one listener keeps connections ready, with two workers that share them, and where they lead."""

    gateway: Gateway
    echo: Echo
    text: str

    def reload(self, wanted: int) -> None:
        """Have so many kept; 0 for none."""
        text = self.text.replace(KEY, f"preconnect = {wanted}" if wanted else "")
        self.gateway.runtime_dir.with_name("gateway.toml").write_text(text)
        found = control_client.reload(self.gateway.runtime_dir)
        assert found.ok, found

    def upgrade(self) -> None:
        done = self.gateway.upgrade()
        assert done.returncode == 0, f"{done.stderr}\n{self.gateway.log.text()}"

    def expect_ready(self, count: int, *, used: int = 0) -> None:
        """Hold the gateway to having just so many ready, and its destination to no others but those in use."""

        def are_there() -> bool:
            idle = self.gateway.metrics()["midmile_preconnect_idle"]
            return (idle, self.echo.open) == (count, count + used)

        try:
            self.gateway.wait_until(are_there, expected=f"{count} connections are ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\nat the destination: {self.echo.open}, in use {used}") from None

    def takes(self, result: str) -> float:
        """Give how many sessions found a connection ready (hit), or none (miss)."""
        return self.gateway.metrics()[f'midmile_preconnect_takes_total{{result="{result}"}}']

    @contextmanager
    def session(self) -> Iterator[None]:
        """Have one, which must find a connection ready, and goes on as long as the block."""
        hits, misses = self.takes("hit"), self.takes("miss")
        with connect(self.gateway.port("forward")) as client:
            self._talk(client)
            assert (self.takes("hit"), self.takes("miss")) == (hits + 1, misses)
            yield
            self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        client.sendall(b"hello")
        assert hear_exactly(client, 5) == b"hello"


@pytest.fixture
def world(start_gateway: StartGateway) -> Iterator[World]:
    with Destination() as destination:
        echo = Echo(destination)
        try:
            gateway = start_gateway(forward(str(destination), preconnect=FIRST))
            world = World(gateway, echo, gateway.runtime_dir.with_name("gateway.toml").read_text())
            world.expect_ready(FIRST)
            yield world
            gateway.end()
            assert (echo.open, echo.resets) == (0, 0)
        finally:
            echo.close()


def test_as_many_are_ready_as_the_last_configuration_wants_and_sessions_find_them(world: World) -> None:
    for wanted in (8, 2, 0, FIRST):
        world.reload(wanted)
        world.expect_ready(wanted)
        if wanted:
            with world.session():
                world.expect_ready(wanted, used=1)
    with world.session():
        world.reload(6)
        world.expect_ready(6, used=1)


def test_a_new_supervisor_has_its_own_and_the_old_one_keeps_none(world: World) -> None:
    with world.session():
        world.upgrade()
        assert world.gateway.retired[0].poll() is None  # it has a session
        world.expect_ready(FIRST, used=1)
        with world.session():
            world.expect_ready(FIRST, used=2)
    assert world.gateway.retired[0].wait(LIMIT_S) == 0
    world.expect_ready(FIRST)
    world.reload(8)
    world.upgrade()
    world.expect_ready(8)
    with world.session():
        pass


def test_nobody_notices_while_sessions_come_and_go(world: World) -> None:
    with steady([Way("forward", world.gateway.port("forward"))], rate=40, long=10) as load:
        world.reload(8)
        expect_hits(world, 5)
        world.upgrade()
        expect_hits(world, 5)
        world.reload(2)
        expect_hits(world, 5)
    assert not load.failures, f"{load}\n{world.gateway.log.text()}"
    assert load.outcomes["forward", SERVED] > 20
    world.expect_ready(2)


def expect_hits(world: World, count: int) -> None:
    """Wait until so many more sessions have found a connection ready."""
    wanted = world.takes("hit") + count
    world.gateway.wait_until(lambda: world.takes("hit") >= wanted, expected="sessions find connections ready")

"""A gateway two ways from its destination: the first is cut off, so that packets vanish and nothing is closed.

The near gateway stands at a site of an emulated WAN; east and west stand at sites of their own, each beside a
destination that says its name. So what a client hears tells which way its session went.
"""

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway import overlay_key
from gateway.lab.delay_line import LineTerms
from gateway.lab.network_namespace import entered
from gateway.lab.wan import Wan
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.programs import LIMIT_S

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")

NOTICED_S = 5.0
SLACK_S = 1.0  # for a busy machine
PORT, DESTINATION_PORT, OVERLAY_PORT = 8443, 443, 7400
WAYS = ("east", "west")
LINE = LineTerms(delay_s=0.02)
COMMON = """\
[gateway]
name = "{name}"
workers = 1
runtime_dir = "{directory}/run"
[admin]
http = ""
[timeouts]
drain = 1
[overlay]
key_file = "{key_file}"
"""
NEAR = f"""\
[[listen]]
name = "near"
bind = "127.0.0.1:{PORT}"
mode = "forward"
to = "127.0.0.1:{DESTINATION_PORT}"
paths = [["east"], ["west"]]
"""


@dataclass(frozen=True, slots=True)
class World:
    """Three gateways that run, and the WAN between them."""

    wan: Wan
    near: Gateway

    def ask(self) -> str:
        """Open a session at the near gateway, give what its destination says, and end it."""
        with entered(self.wan.namespace("near")):
            client = socket.create_connection(("127.0.0.1", PORT), timeout=LIMIT_S)
        with client:
            try:
                return client.recv(100).decode()
            except ConnectionResetError as error:
                raise AssertionError(f"expected an answer; found a reset in:\n{self.near.log.text()}") from error

    def when(self, pattern: str) -> float:
        """Give the time of the first line in the near gateway's log that `pattern` is found in."""
        found = self.near.line(rf"^(\S+) .*{pattern}")
        return datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    key_file = tmp_path / "overlay.key"
    overlay_key.create(key_file)
    with Wan(("near", *WAYS), {("near", way): LINE for way in WAYS}) as wan, ExitStack() as held:
        for way in WAYS:
            with entered(wan.namespace(way)):
                held.enter_context(destination(way))
                incoming = f'bind = "{wan.address(way)}:{OVERLAY_PORT}"\n'
                allow = f'[egress]\nallow = ["127.0.0.1:{DESTINATION_PORT}"]\n'
                held.enter_context(gateway(tmp_path / way, key_file, tables=incoming + allow))
        with entered(wan.namespace("near")):
            near = held.enter_context(gateway(tmp_path / "near", key_file, tables=peers(wan) + NEAR))
        for way in WAYS:
            near.line(f"gateway {way} is up")
        yield World(wan, near)


def peers(wan: Wan) -> str:
    return "".join(f'[[peer]]\nname = "{way}"\naddress = "{wan.address(way)}:{OVERLAY_PORT}"\n' for way in WAYS)


@contextmanager
def gateway(directory: Path, key_file: Path, *, tables: str) -> Iterator[Gateway]:
    """Run a gateway, named for its directory, where this thread stands."""
    directory.mkdir()
    file = directory / "gateway.toml"
    file.write_text(COMMON.format(name=directory.name, directory=directory, key_file=key_file) + tables)
    running = Gateway(["--config", str(file)], directory / "run")
    try:
        yield running.wait_ready()
        running.end()
    finally:
        running.abandon()


@contextmanager
def destination(name: str) -> Iterator[None]:
    """Say `name` to everyone who connects, and leave with them, where this thread stands."""
    with socket.create_server(("127.0.0.1", DESTINATION_PORT)) as server, ThreadPoolExecutor(20) as sessions:
        thread = threading.Thread(target=take_in, args=(server, sessions, name.encode()))
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)  # wakes accept()
            thread.join(LIMIT_S)
            assert not thread.is_alive()


def take_in(server: socket.socket, sessions: ThreadPoolExecutor, word: bytes) -> None:
    while True:
        try:
            session, _ = server.accept()
        except OSError:
            return
        sessions.submit(say, session, word)


def say(session: socket.socket, word: bytes) -> None:
    with session, suppress(ConnectionResetError):
        session.sendall(word)
        session.recv(1)


def test_sessions_take_the_first_way_while_it_is_there(world: World) -> None:
    assert [world.ask() for _ in range(3)] == ["east"] * 3


def test_a_way_cut_off_is_noticed_in_time_and_new_sessions_take_the_next(world: World) -> None:
    assert world.ask() == "east"
    cut_s = time.time()
    world.wan.cut("near", "east")
    assert world.when("gateway east .*is down") - cut_s <= NOTICED_S + SLACK_S
    assert [world.ask() for _ in range(3)] == ["west"] * 3


def test_a_session_that_comes_before_it_is_noticed_is_carried_over_the_next_way(world: World) -> None:
    assert world.ask() == "east"
    world.wan.cut("near", "east")
    assert world.ask() == "west"


def test_sessions_return_to_a_way_that_is_mended(world: World) -> None:
    world.wan.cut("near", "east")
    world.when("gateway east .*is down")
    world.wan.mend("near", "east")
    world.near.lines(re.escape("gateway east is up"), count=2)
    world.near.wait_until(lambda: world.ask() == "east", expected="sessions go east again")

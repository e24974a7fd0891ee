"""Legs that begin with a large window, over an emulated line of 100 ms: what a session gains, and what stays behind.

A window that is too small costs whole round trips, so times here need no quiet machine: one round trip is not two.
"""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import overlay_key
from gateway.lab.delay_line import LineTerms
from gateway.lab.network_namespace import entered
from gateway.lab.wan import Wan
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.programs import LIMIT_S

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")

RTT_S = 0.1
WINDOW = 200  # segments
ANSWER_BYTES, LARGE_BYTES = 43_000, 1_500_000
WARM_BYTES = 4 * ANSWER_BYTES
DESTINATION_PORT, OVERLAY_PORT = 8080, 7400
FRESH = 4  # sessions at once, each on a leg that carried none before
SYSCTLS = {"ipv4.tcp_slow_start_after_idle": "0", "ipv4.tcp_congestion_control": "reno"}  # which paces nothing
COMMON = f"""\
[gateway]
name = "{{name}}"
workers = 1
runtime_dir = "{{directory}}/run"
[admin]
http = ""
[timeouts]
drain = 1
[overlay]
bind = "{{address}}:{OVERLAY_PORT}"
key_file = "{{key_file}}"
"""
PEER = f"""\
[[peer]]
name = "{{name}}"
address = "{{address}}:{OVERLAY_PORT}"
pool_min = {FRESH}
magazine = 4
"""
LISTEN = f"""\
[[listen]]
name = "{{via}}"
bind = "127.0.0.1:{{port}}"
mode = "forward"
to = "127.0.0.1:{DESTINATION_PORT}"
via = ["{{via}}"]
"""
EGRESS = f'[egress]\nallow = ["127.0.0.1:{DESTINATION_PORT}"]\n'
PORTS = {"far": 8443, "west": 8444}  # at the near gateway, by the gateway that they lead to
KEYS = {"far": f"initial_window = {WINDOW}\n", "near": f"initial_window = {WINDOW}\n", "west": f"warm = {WARM_BYTES}\n"}
PEERS = {"near": ("far", "west"), "far": ("near",), "west": ()}


@dataclass
class World:
    """Three gateways on a WAN: near and far have windows for each other; near warms its legs to west. Owns them.

    There is a destination beside far and one beside west.
    """

    wan: Wan
    gateways: dict[str, Gateway]
    directory: Path

    @contextmanager
    def session(self, via: str = "far") -> Iterator[socket.socket]:
        with entered(self.wan.namespace("near")):
            client = socket.create_connection(("127.0.0.1", PORTS[via]), timeout=LIMIT_S)
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield client

    def ip(self, site: str, *words: str) -> str:
        argv = self.wan.inside(site, ["ip", *words])
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def windows(self, site: str) -> list[int]:
        """Give the congestion windows of the legs that `site` accepted, in segments."""
        argv = self.wan.inside(site, ["ss", "-tinHO", f"sport = :{OVERLAY_PORT}"])
        told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        return sorted(int(found) for found in re.findall(r"\bcwnd:(\d+)", told))

    def lent(self) -> int:
        """Give how many legs of the near gateway carry a session, by its own word."""
        links = json.loads(self.gateways["near"].command("links", "--json").stdout)["links"]
        return sum(int(link["lent"]) for link in links)

    def abandon(self) -> None:
        for gateway in self.gateways.values():
            gateway.abandon()

    def start(self, site: str) -> Gateway:
        place, key_file = self.directory / site, self.directory / "overlay.key"
        place.mkdir(exist_ok=True)
        told = [COMMON.format(name=site, directory=place, address=self.wan.address(site), key_file=key_file)]
        for peer in PEERS[site]:
            told += [PEER.format(name=peer, address=self.wan.address(peer)), KEYS[peer]]
        told += [LISTEN.format(via=via, port=port) for via, port in PORTS.items()] if site == "near" else [EGRESS]
        (place / "gateway.toml").write_text("".join(told))
        with entered(self.wan.namespace(site)):
            self.gateways[site] = Gateway(["--config", str(place / "gateway.toml")], place / "run")
        return self.gateways[site].wait_ready()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("turbo")
    overlay_key.create(directory / "overlay.key")
    lines = {("near", site): LineTerms(delay_s=RTT_S / 2) for site in ("far", "west")}
    with Wan(PEERS, lines, sysctls=SYSCTLS) as wan:
        world = World(wan, {}, directory)
        with ExitStack() as held:
            for site in PORTS:
                with entered(wan.namespace(site)):
                    held.enter_context(destination())
            held.callback(world.abandon)
            for site in ("far", "west", "near"):
                world.start(site)
            for site in PORTS:
                world.gateways["near"].line(f"gateway {site}: {FRESH} legs are ready")
            yield world


@contextmanager
def destination() -> Iterator[None]:
    """Answer each number with as many bytes, where this thread stands."""
    with socket.create_server(("127.0.0.1", DESTINATION_PORT)) as server, ThreadPoolExecutor(20) as sessions:
        thread = threading.Thread(target=take_in, args=(server, sessions))
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)  # wakes accept()
            thread.join(LIMIT_S)
            assert not thread.is_alive()


def take_in(server: socket.socket, sessions: ThreadPoolExecutor) -> None:
    while True:
        try:
            session, _ = server.accept()
        except OSError:
            return
        sessions.submit(answer, session)


def answer(session: socket.socket) -> None:
    with session:
        while wanted := session.recv(100):
            session.sendall(bytes(int(wanted)))


def ask(client: socket.socket, size: int) -> float:
    """Give how long an answer of so many bytes takes, in seconds."""
    began_s = time.monotonic()
    client.sendall(str(size).encode())
    while size:
        part = client.recv(1 << 18)
        assert part, "expected the whole answer; found its end"
        size -= len(part)
    return time.monotonic() - began_s


@pytest.mark.parametrize("via", ["far", "west"], ids=["initial_window", "warm"])
def test_the_first_answer_over_a_fresh_leg_takes_one_round_trip(world: World, via: str) -> None:
    with ExitStack() as held:
        clients = [held.enter_context(world.session(via)) for _ in range(FRESH)]
        times_s = [ask(client, ANSWER_BYTES) for client in clients]
    assert sorted(times_s)[1] < 1.6 * RTT_S, times_s  # the first and the second 10 segments apart would take two


def test_each_leg_really_begins_with_the_window(world: World) -> None:
    assert world.windows("far")[0] >= WINDOW
    assert f"initcwnd {WINDOW}" in world.ip("near", "route", "get", world.wan.address("far"))


@pytest.mark.parametrize(("site", "command"), [("near", "links"), ("far", "status")])
def test_operators_are_told_that_the_window_is_in_force(world: World, site: str, command: str) -> None:
    gateway, other = world.gateways[site], {"near": "far", "far": "near"}[site]
    line = f"{other}: initial_window = {WINDOW} is in force: {WINDOW} segments"
    gateway.wait_until(lambda: line in gateway.command(command).stdout, expected=line)


def test_a_leg_that_is_used_again_goes_on_with_the_window_it_had(world: World) -> None:
    with world.session() as client:
        first_s = ask(client, LARGE_BYTES)
    grown = world.windows("far")[-1]
    assert grown > LARGE_BYTES / 1448 / 2
    world.gateways["near"].wait_until(lambda: world.lent() == 0, expected="the leg is back")
    with world.session() as client:
        second_s = ask(client, LARGE_BYTES)
    assert world.windows("far")[-1] >= grown
    assert second_s < first_s - 0.5 * RTT_S, (first_s, second_s)


def test_routes_follow_when_others_change(world: World) -> None:
    near = world.wan.address("near")
    world.ip("far", "route", "add", f"{near}/32", "dev", "wan", "mtu", "1400", "metric", "9")
    follows = f"mtu 1400 initcwnd {WINDOW}"
    far = world.gateways["far"]
    far.wait_until(lambda: follows in world.ip("far", "route", "get", near), expected=follows)
    world.ip("far", "route", "del", f"{near}/32", "metric", "9")
    assert f"initcwnd {WINDOW}" in world.ip("far", "route", "get", near)


def test_routes_end_with_the_gateway(world: World) -> None:
    near = world.wan.address("near")
    assert "proto 177" in world.ip("far", "route")
    os.kill(world.gateways["far"].process.pid, signal.SIGKILL)
    world.gateways["far"].abandon()
    assert f"initcwnd {WINDOW}" in world.ip("far", "route", "get", near)
    world.start("far").end()
    assert "proto 177" not in world.ip("far", "route")

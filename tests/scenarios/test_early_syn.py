"""Sessions that begin at their client's SYN, over an emulated WAN: what is spared, and what strangers can do with it.

A client is far from the near gateway, the server far from both gateways. The near one has each of its ways twice, with
and without early SYN.

The flood is short here. MIDMILE_SYN_FLOOD=20000x20 makes it 20,000 SYNs a second for 20 s, and shows what it met.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from gateway import overlay_key
from gateway.lab.delay_line import LineTerms
from gateway.lab.network_namespace import entered
from gateway.lab.wan import Wan
from tests.scenarios.harness import raw_syns
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.programs import LIMIT_S, ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")

RTT_S = 0.1  # of a client to the near gateway, and of the server to whichever gateway is before it
CHAIN_RTT_S = 0.05
SERVER_PORT, OVERLAY_PORT, IPV6_PORT = 443, 7400, 8005
PORTS = {"plain": 8001, "plain-early": 8002, "via": 8003, "via-early": 8004}
PENDING = 1024
FLOOD_RATE, FLOOD_S = map(int, os.environ.get("MIDMILE_SYN_FLOOD", "4000x2").split("x"))
RATE = min(1000, FLOOD_RATE // 10)
HONEST = 4  # clients at a time
IDLE_LEGS = 32  # more than a worker's two magazines hold
HOP_BY_HOP = bytes([0, 0, 1, 4, 0, 0, 0, 0])  # a header of padding: RFC 8200 section 4.3
COMMON = """\
[gateway]
name = "{name}"
workers = 1
runtime_dir = "{directory}/run"
[admin]
http = "127.0.0.1:9900"
[timeouts]
drain = 1
early_syn = 1
[limits]
early_syn_rate = {rate}
[overlay]
key_file = "{key_file}"
"""
LISTEN = """\
[[listen]]
name = "{name}"
bind = "{bind}"
mode = "forward"
to = "{to}"
via = {via}
early_syn = {early}
"""


@dataclass(frozen=True, slots=True)
class World:
    """Two gateways that run, a server, and the WAN between them."""

    wan: Wan
    near: Gateway
    far: Gateway

    def ask(self, listener: str) -> float:
        """Connect to a listener from afar, ask the server for something, and give how long its answer took."""
        begun_s = time.monotonic()
        with entered(self.wan.namespace("client")):
            client = socket.create_connection(self.at(listener), timeout=LIMIT_S)
        with client:
            client.sendall(b"?")
            assert client.recv(100) == b"!"
            return time.monotonic() - begun_s

    def at(self, listener: str) -> tuple[str, int]:
        return self.wan.address("near"), PORTS[listener]

    def syn(self, listener: str, port: int) -> None:
        """Send the SYN of a client that does not exist."""
        packet = raw_syns.syn((raw_syns.NOBODY[0], port), self.at(listener))
        with entered(self.wan.namespace("client")):
            raw_syns.send(packet, self.at(listener))

    def numbers(self) -> dict[str, float]:
        """Give the near gateway's metrics, those of early SYN by what comes after midmile_early_syn_."""
        with entered(self.wan.namespace("near")):
            found = self.near.metrics()
        return {name.removeprefix("midmile_early_syn_"): value for name, value in found.items()}

    def ended(self, how: str) -> float:
        return self.numbers()[f'ended_total{{how="{how}"}}']

    def legs(self, place: str) -> float:
        """Give how many legs of the near gateway's pool are at a place."""
        return self.numbers()[f'midmile_pool_legs{{peer="far",place="{place}"}}']

    @property
    def worker(self) -> psutil.Process:
        """The near gateway's only one."""
        return psutil.Process(self.near.worker_pids()[0])

    def comes_to_rest(self) -> None:
        """Hold the near gateway to having nothing begun, and no leg lent, any more."""
        self.near.wait_until(lambda: self.numbers()["pending"] == 0, expected="nothing is pending")
        self.near.wait_until(lambda: self.legs("lent") == 0, expected="no leg of the pool is lent")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("early")
    key_file = folder / "overlay.key"
    overlay_key.create(key_file)
    half, chain = LineTerms(delay_s=RTT_S / 2), LineTerms(delay_s=CHAIN_RTT_S / 2)
    lines = {("client", "near"): half, ("near", "far"): chain, ("far", "server"): half, ("near", "server"): half}
    with Wan(("client", "near", "far", "server"), lines) as wan, ExitStack() as held:
        with entered(wan.namespace("server")):
            held.enter_context(server(wan.address("server")))
        with entered(wan.namespace("far")):
            far = held.enter_context(gateway(folder / "far", key_file, tables=far_tables(wan)))
        with entered(wan.namespace("near")):
            near = held.enter_context(gateway(folder / "near", key_file, tables=near_tables(wan)))
        near.line("gateway far is up")
        found = World(wan, near, far)
        near.wait_until(lambda: found.legs("workers") > 0, expected="its worker has legs")
        yield found


def far_tables(wan: Wan) -> str:
    allowed = f'[egress]\nallow = ["{wan.address("server")}:{SERVER_PORT}"]\n'
    return f'bind = "{wan.address("far")}:{OVERLAY_PORT}"\n' + allowed


def near_tables(wan: Wan) -> str:
    to = f"{wan.address('server')}:{SERVER_PORT}"
    peer = f'[[peer]]\nname = "far"\naddress = "{wan.address("far")}:{OVERLAY_PORT}"\n'
    listens = [
        LISTEN.format(
            name=name,
            bind=f"{wan.address('near')}:{port}",
            to=to,
            via='["far"]' if "via" in name else "[]",
            early=str("early" in name).lower(),
        )
        for name, port in PORTS.items()
    ]
    unseen = LISTEN.format(name="unseen", bind=f"[::1]:{IPV6_PORT}", to=to, via="[]", early="true")
    return peer + "".join(listens) + unseen


@contextmanager
def gateway(directory: Path, key_file: Path, *, tables: str) -> Iterator[Gateway]:
    """Run a gateway, named for its directory, where this thread stands."""
    directory.mkdir()
    file = directory / "gateway.toml"
    told = COMMON.format(name=directory.name, directory=directory, key_file=key_file, rate=RATE)
    file.write_text(told + tables)
    running = Gateway(["--config", str(file)], directory / "run")
    try:
        yield running.wait_ready()
        running.end()
    finally:
        running.abandon()


@contextmanager
def server(host: str) -> Iterator[None]:
    """Answer everyone who asks, where this thread stands; who only connects and leaves is left alone."""
    with socket.create_server((host, SERVER_PORT), backlog=4096) as listening:
        thread = threading.Thread(target=take_in, args=(listening,))
        thread.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)  # wakes accept()
            thread.join(LIMIT_S)
            assert not thread.is_alive()


def take_in(listening: socket.socket) -> None:
    with ThreadPoolExecutor(2000) as sessions:
        while True:
            try:
                session, _ = listening.accept()
            except OSError:
                return
            session.settimeout(LIMIT_S)
            sessions.submit(answer, session)


def answer(session: socket.socket) -> None:
    with session, suppress(ConnectionResetError, TimeoutError, BrokenPipeError):
        if session.recv(1):
            session.sendall(b"!")
            session.recv(1)


def quickest_s(world: World, listener: str) -> float:
    return min(world.ask(listener) for _ in range(3))


@pytest.mark.parametrize("way", ["plain", "via"])
def test_the_round_trip_that_the_model_says_is_spared(world: World, way: str) -> None:
    """The server is connected while the client's handshake goes on: of the two round trips one remains."""
    world.ask(f"{way}-early")  # the destination is known from here on
    usual_s, early_s = quickest_s(world, way), quickest_s(world, f"{way}-early")
    assert usual_s >= (4 if way == "plain" else 4 + CHAIN_RTT_S / RTT_S) * RTT_S
    assert 0.5 * RTT_S < usual_s - early_s < 1.5 * RTT_S
    line = world.near.sessions_logged(f"{way}-early", count=4)[-1]
    assert int(line["early"]) > 0.8 * RTT_S * 1e6
    world.comes_to_rest()


def test_a_client_whose_syn_is_not_seen_takes_the_usual_way(world: World) -> None:
    begun = world.numbers()["sessions_total"]
    with entered(world.wan.namespace("near")):
        client = socket.socket(socket.AF_INET6)
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_HOPOPTS, HOP_BY_HOP)  # no TCP right behind the IP header
        client.settimeout(LIMIT_S)
        client.connect(("::1", IPV6_PORT))
    with client:
        client.sendall(b"?")
        assert client.recv(100) == b"!"
    assert world.near.sessions_logged("unseen")[0]["early"] == "-"
    assert world.numbers()["sessions_total"] == begun


def test_a_client_that_never_comes_costs_no_leg(world: World) -> None:
    crossed, cancelled = len(world.far.sessions_logged("overlay")), world.ended("cancelled")
    for port in range(4):
        world.syn("via-early", 40_000 + port)
        world.syn("via-early", 40_000 + port)  # and again, as clients do
    world.near.wait_until(lambda: world.ended("cancelled") == cancelled + 4, expected="what was begun is given up")
    world.comes_to_rest()
    ends = [line["end"] for line in world.far.sessions_logged("overlay", count=crossed + 4)[crossed:]]
    assert ends == ["--"] * 4, "expected sessions that end in order, for such legs can be used again"


@dataclass(slots=True)
class Met:
    """What honest clients met, and what the near gateway came to, while strangers flooded it."""

    asked: int = 0
    answered: int = 0
    slowest_s: float = 0.0
    most_pending: float = 0
    most_sockets: int = 0
    most_bytes: int = 0

    def ask(self, world: World, listener: str) -> None:
        self.asked += 1
        with suppress(OSError, AssertionError):
            self.slowest_s = max(self.slowest_s, world.ask(listener))
            self.answered += 1

    def look(self, world: World) -> None:
        worker = world.worker
        self.most_pending = max(self.most_pending, world.numbers()["pending"])
        self.most_sockets = max(self.most_sockets, worker.num_fds())
        self.most_bytes = max(self.most_bytes, worker.memory_info().rss)


@pytest.mark.parametrize("listener", ["plain-early", "via-early"])
def test_a_flood_of_syns_leaves_honest_clients_alone(world: World, listener: str) -> None:
    world.ask(listener)
    before = Met()
    before.look(world)
    met, pauses = Met(), world.numbers()["pauses_total"]
    program = [sys.executable, "-m", "tests.scenarios.harness.raw_syns"]
    host, port = world.at(listener)
    words = world.wan.inside("client", [*program, host, str(port), str(FLOOD_RATE), str(FLOOD_S)])
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as flood:
        with ThreadPoolExecutor(HONEST) as clients:
            while flood.poll() is None:
                for asked in [clients.submit(met.ask, world, listener) for _ in range(HONEST)]:
                    asked.result()
                met.look(world)
        assert flood.stdout is not None
        sent = int(flood.stdout.read())
    world.comes_to_rest()
    numbers = world.numbers()
    shown = {name: value for name, value in numbers.items() if not name.startswith("midmile_") or "_syns_" in name}
    print(f"{listener}: {sent} SYNs sent; {met}; before {before}; {shown}")
    assert sent > 0.5 * FLOOD_RATE * FLOOD_S
    assert met.answered == met.asked > 0
    assert numbers["pauses_total"] > pauses
    assert met.most_pending <= PENDING
    assert met.most_sockets - before.most_sockets <= PENDING + 100
    assert met.most_bytes - before.most_bytes < 64 << 20
    sockets = before.most_sockets + IDLE_LEGS
    world.near.wait_until(lambda: world.worker.num_fds() <= sockets, expected=f"{sockets} descriptors are enough again")

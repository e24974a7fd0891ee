"""Clients that know of no gateway: the host that routes for them gives their connections to one.

A client's host, a gateway's and a server's, each a network namespace, with the gateway's between the other two. The
server tells who it thinks it talks to, and on which address. Rules and routes are those of docs/transparent.md.
"""

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from gateway import overlay_key
from gateway.lab import network_namespace
from gateway.lab.network_namespace import entered
from tests.scenarios.harness.configuration import at
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.programs import LIMIT_S, require

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces, routes and rules")

CLIENT: Final = {4: "10.1.0.2", 6: "fd01::2"}
GATEWAY: Final = {4: "10.1.0.1", 6: "fd01::1"}
BEFORE_SERVER: Final = {4: "10.2.0.1", 6: "fd02::1"}  # the gateway's host, as the server sees it
SERVER: Final = {4: "10.2.0.2", 6: "fd02::2"}
LISTENERS: Final = {"redirect": 15001, "tproxy": 15002, "tproxy-as-client": 15003, "through-peer": 15004}
CAPTURED: Final = {"redirect": 8001, "tproxy": 8002, "tproxy-as-client": 8003, "through-peer": 8004}
OVERLAY: Final = "127.0.0.1:7400"
UNSERVED: Final = 1000  # beyond each of these is a port that is captured, too, and where nobody listens
RULES: Final = """\
table inet midmile {
    chain capture {
        type filter hook prerouting priority mangle; policy accept;
        meta l4proto tcp socket transparent 1 meta mark set 0x4d4d accept
        iifname lo accept
        tcp dport { 8002, 9002 } tproxy to :15002 meta mark set 0x4d4d accept
        tcp dport { 8003, 9003 } tproxy to :15003 meta mark set 0x4d4d accept
        tcp dport { 8004, 9004 } tproxy to :15004 meta mark set 0x4d4d accept
    }
    chain arrivals {
        type nat hook prerouting priority dstnat; policy accept;
        tcp dport { 8001, 9001 } redirect to :15001
    }
}
"""
COMMON: Final = """\
[gateway]
name = "{name}"
workers = {workers}
runtime_dir = "{directory}/run"
[admin]
http = ""
[timeouts]
drain = 1
[overlay]
key_file = "{key_file}"
"""
LISTEN: Final = """\
[[listen]]
name = "{name}"
bind = "[::]:{port}"
dual_stack = true
mode = "{mode}"
"""
EARLY: Final = """\
early_syn = true
capture = ["10.2.0.0/16:{port}", "[fd02::/16]:{port}"]"""
NEAR: Final = f"""\
{LISTEN.format(name="redirect", port=15001, mode="redirect")}{EARLY.format(port=8001)}
{LISTEN.format(name="tproxy", port=15002, mode="tproxy")}{EARLY.format(port=8002)}
{LISTEN.format(name="tproxy-as-client", port=15003, mode="tproxy")}preserve_source = true
{LISTEN.format(name="through-peer", port=15004, mode="tproxy")}{EARLY.format(port=8004)}
via = ["far"]
[[peer]]
name = "far"
address = "{OVERLAY}"
"""
FAR: Final = f"""\
bind = "{OVERLAY}"
[egress]
allow = ["10.2.0.0/16:*", "[fd02::/16]:*"]
preserve_source = true
"""


@dataclass(frozen=True, slots=True)
class World:
    """Three hosts, and the gateway that clients come to."""

    client: int
    near: Gateway

    def ask(self, host: str, port: int) -> tuple[str, str]:
        """Connect as the client does, and give whom the server talks to, and where."""
        with entered(self.client):
            sock = socket.create_connection((host, port), timeout=LIMIT_S)
        with sock:
            told = b"".join(iter(lambda: sock.recv(100), b"")).decode().split()
        return told[0], told[1]


def ip(*commands: str) -> None:
    """Have ip(8) do it where this thread stands."""
    run([require("ip"), "-batch", "-"], "\n".join(commands))


def run(argv: list[str], words: str) -> None:
    done = subprocess.run(argv, input=words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"


@contextmanager
def hosts() -> Iterator[tuple[int, int, int]]:
    """Give the namespaces of client, gateway and server, with routes between them."""
    with ExitStack() as held:
        client, gateway, server = (network_namespace.create() for _ in range(3))
        for each in (client, gateway, server):
            held.callback(os.close, each)
        with entered(gateway):
            for device, far in (("client0", client), ("server0", server)):
                ip(f"link add {device} type veth peer name up0 netns /proc/{os.getpid()}/fd/{far}")
            ip("link set lo up", *stands("client0", GATEWAY), *stands("server0", BEFORE_SERVER))
            for family in ("-4", "-6"):
                argv = [require("ip"), family, "-batch", "-"]
                run(argv, "rule add fwmark 0x4d4d lookup 15\nroute add local default dev lo table 15")
            run([require("nft"), "-f", "-"], RULES)
        for namespace, addresses, router in ((client, CLIENT, GATEWAY), (server, SERVER, BEFORE_SERVER)):
            with entered(namespace):
                ways = [f"route add default via {router[4]}", f"-6 route add default via {router[6]}"]
                ip("link set lo up", *stands("up0", addresses))
                for way in ways:
                    run([require("ip"), *way.split()], "")
        yield client, gateway, server


def stands(device: str, addresses: dict[int, str]) -> list[str]:
    return [
        f"address add {addresses[4]}/24 dev {device}",
        f"address add {addresses[6]}/64 dev {device} nodad",
        f"link set {device} up",
    ]


@contextmanager
def servers() -> Iterator[None]:
    """Serve on all ports where this thread stands; each connection is told its two ends."""
    with ExitStack() as held:
        for port in CAPTURED.values():
            family, any_address = socket.AF_INET6, ("::", port)
            server = held.enter_context(socket.create_server(any_address, family=family, dualstack_ipv6=True))
            thread = threading.Thread(target=serve, args=(server,), daemon=True)
            thread.start()
            held.callback(thread.join, LIMIT_S)
            held.callback(server.shutdown, socket.SHUT_RDWR)  # wakes accept()
        yield


def serve(server: socket.socket) -> None:
    while True:
        try:
            session, _ = server.accept()
        except OSError:
            return
        with session, suppress(ConnectionError):
            ends = (session.getpeername(), session.getsockname())
            session.sendall(" ".join(str(end[0]).removeprefix("::ffff:") for end in ends).encode())


@contextmanager
def gateway(directory: Path, key_file: Path, *, workers: int, tables: str) -> Iterator[Gateway]:
    """Run a gateway, named for its directory, where this thread stands."""
    directory.mkdir()
    file = directory / "gateway.toml"
    common = COMMON.format(name=directory.name, workers=workers, directory=directory, key_file=key_file)
    file.write_text(common + tables)
    running = Gateway(["--config", str(file)], directory / "run")
    try:
        yield running.wait_ready()
        running.end()
    finally:
        running.abandon()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("transparent")
    key_file = folder / "overlay.key"
    overlay_key.create(key_file)
    with hosts() as (client, middle, server), ExitStack() as held:
        with entered(server):
            held.enter_context(servers())
        with entered(middle):
            held.enter_context(gateway(folder / "far", key_file, workers=1, tables=FAR))
            near = held.enter_context(gateway(folder / "near", key_file, workers=2, tables=NEAR))
        near.line("gateway far is up")
        yield World(client, near)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mode", ["redirect", "tproxy"])
def test_a_client_reaches_the_server_that_it_asked_for(world: World, mode: str, version: int) -> None:
    assert world.ask(SERVER[version], CAPTURED[mode]) == (BEFORE_SERVER[version], SERVER[version])
    world.near.line(rf" {mode} .*{re.escape(at(CAPTURED[mode], SERVER[version]))} -- ")


@pytest.mark.parametrize("version", [4, 6])
def test_the_server_sees_the_client_where_the_gateway_dials_as_it(world: World, version: int) -> None:
    assert world.ask(SERVER[version], CAPTURED["tproxy-as-client"]) == (CLIENT[version], SERVER[version])


@pytest.mark.parametrize("version", [4, 6])
def test_the_server_sees_the_client_through_another_gateway(world: World, version: int) -> None:
    assert world.ask(SERVER[version], CAPTURED["through-peer"]) == (CLIENT[version], SERVER[version])


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mode", ["redirect", "tproxy", "through-peer"])
def test_sessions_begin_at_the_syn_on_the_worker_that_accepts_them(world: World, mode: str, version: int) -> None:
    for _ in range(8):  # over two workers
        world.ask(SERVER[version], CAPTURED[mode])
    early = rf" {mode} .*{re.escape(at(CAPTURED[mode], SERVER[version]))} .* -- .* early=\d+$"
    world.near.lines(early, count=8)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mode", ["redirect", "tproxy"])
def test_a_connection_made_straight_to_a_listener_is_reset(world: World, mode: str, version: int) -> None:
    with pytest.raises(ConnectionResetError):
        world.ask(GATEWAY[version], LISTENERS[mode])
    world.near.line(rf" {mode} .* PR ELOOP ")


@pytest.mark.parametrize("mode", CAPTURED)
def test_a_server_that_refuses_resets_its_client(world: World, mode: str) -> None:
    with pytest.raises(ConnectionResetError):
        world.ask(SERVER[4], CAPTURED[mode] + UNSERVED)
    world.near.line(rf" {mode} .* SC ECONNREFUSED ")

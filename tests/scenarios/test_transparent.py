"""Clients that know of no gateway: the host that routes for them gives their connections to one.

The server tells who it thinks it talks to, and on which address.
"""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from gateway import overlay_key
from gateway.lab.network_namespace import entered
from tests.scenarios.harness.configuration import at
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.routed_hosts import (
    BEFORE_SERVER,
    CAPTURED,
    CLIENT,
    EARLY,
    GATEWAY,
    LISTEN,
    LISTENERS,
    SERVER,
    ask,
    hosts,
    servers,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces, routes and rules")

OVERLAY: Final = "127.0.0.1:7400"
UNSERVED: Final = 1000  # beyond each of these is a port that is captured, too, and where nobody listens
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
        return ask(self.client, host, port)


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

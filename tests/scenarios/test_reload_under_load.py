"""The configuration changes again and again while clients come and go: nobody is refused, reset or lost.

MIDMILE_RELOADS=20x500 makes twenty reloads of each gateway under 500 new sessions a second, with twice as many that
last; by default there are three, under 100 a second, with 100 that last.
"""

import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from gateway import control_client
from gateway.commands.running import read_status
from gateway.control_client import Reloaded
from gateway.exit_codes import ExitCode
from tests.bench.processes import free_ports
from tests.scenarios.echo_sink import echo_sink
from tests.scenarios.harness.configuration import Table, at, forward, proxy, to_toml
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.overlay import Chain, Station, running_chain
from tests.scenarios.harness.programs import LIMIT_S
from tests.scenarios.harness.steady import SERVED, Steady, Way, by_socks5, steady

RELOADS, RATE = map(int, os.environ.get("MIDMILE_RELOADS", "3x100").split("x"))
LONG: Final = 1000 if RATE >= 500 else 100


@dataclass(frozen=True, slots=True)
class World:
    """Two gateways, of which the first has listeners that lead to a destination by itself, and through the second."""

    chain: Chain
    sinks: tuple[int, int]
    extra: Table

    @property
    def ways(self) -> list[Way]:
        oregon = self.chain["oregon"]
        direct, chained = (Way(name, oregon.port(name)) for name in ("direct", "chained"))
        return [direct, chained, by_socks5("proxy", oregon.port("proxy"), to=self.sinks[0])]

    def file(self, name: str) -> Path:
        return self.chain[name].runtime_dir.with_suffix(".toml")


@dataclass(slots=True)
class Files:
    """The two configurations of a gateway that take turns."""

    gateway: Gateway
    path: Path
    texts: tuple[str, str]
    turns: int = 0

    def reload(self) -> Reloaded:
        """Have the gateway take the other one."""
        self.turns += 1
        self.path.write_text(self.texts[self.turns % 2])
        return control_client.reload(self.gateway.runtime_dir)

    def workers(self) -> list[int]:
        """Give the slots of the workers that take sessions."""
        return [each.slot for each in read_status(self.gateway.runtime_dir).workers if not each.retires]


@contextmanager
def many_descriptors() -> Iterator[None]:
    """Let this process have as many descriptors as it may: the clients are all here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with many_descriptors(), echo_sink() as first, echo_sink() as second:
        listens = [
            forward(first, name="direct", early_syn=True),
            forward(first, name="chained", via=["mumbai"]),
            proxy(name="proxy"),
        ]
        oregon = Station(knows=["mumbai"], listens=listens)
        with running_chain(tmp_path_factory.mktemp("reload"), oregon=oregon, mumbai=Station()) as chain:
            yield World(chain, (first, second), forward(second, name="extra"))


def files_of_oregon(world: World) -> Files:
    """One worker and three listeners; or two, another listener besides, another destination, and another peer."""
    path = world.file("oregon")
    text = path.read_text()
    first, second = world.sinks
    nobody: Table = {"name": "madrid", "address": at(free_ports(1)[0]), "pool_min": 1}
    other = text.replace("workers = 1", "workers = 2").replace(f'to = "{at(first)}"', f'to = "{at(second)}"', 1)
    return Files(world.chain["oregon"], path, (text, _changed(other) + to_toml([world.extra], {"[peer]": nobody})))


def files_of_mumbai(world: World) -> Files:
    path = world.file("mumbai")
    text = path.read_text()
    return Files(world.chain["mumbai"], path, (text, _changed(text.replace("workers = 1", "workers = 2"))))


def _changed(text: str) -> str:
    limits = to_toml([], {"limits": {"sessions": 15_000}})
    return text.replace("drain = 2", "drain = 3\nidle = 1800.0") + "\n" + limits


def expect_early(gateway: Gateway) -> None:
    """Hold it to having sessions begin at a SYN, where it may capture any, and the same worker accept them."""

    def joined() -> float:
        return gateway.metrics()['midmile_early_syn_ended_total{how="joined"}']

    before = joined()
    if os.geteuid() == 0:
        gateway.wait_until(lambda: joined() > before, expected="sessions begin at a SYN again")


def is_open(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(30)
        return client.connect_ex(("127.0.0.1", port)) == 0


def expect_served(load: Steady, logs: str) -> None:
    """Hold the load to have been served, all of it, and to have been one."""
    assert not load.failures, f"{load}: {[line for line in logs.splitlines() if ' SC ' in line or ' error: ' in line]}"
    assert sum(count for (_, outcome), count in load.outcomes.items() if outcome == SERVED) > LONG + RELOADS * 10
    print(f"{RELOADS} reloads of two gateways: {load}, slowest {load.slowest_s * 1000:.0f} ms")


def test_nobody_notices_that_the_configuration_changes(world: World) -> None:
    both = [files_of_oregon(world), files_of_mumbai(world)]
    with steady(world.ways, rate=RATE, long=LONG) as load:
        for number in range(1, RELOADS + 1):
            for files in both:
                found = files.reload()
                assert found.ok, found
                assert len(files.workers()) == 1 + number % 2
                assert read_status(files.gateway.runtime_dir).config_generation == number + 1
            extra = int(str(world.extra["bind"]).rpartition(":")[2])
            assert is_open(extra) is bool(number % 2)
            expect_early(world.chain["oregon"])
    expect_served(load, "\n".join(world.chain[name].log.text() for name in ("oregon", "mumbai")))


def told(gateway: Gateway) -> tuple[bool, int, Any]:
    """Give what is shown of the last reload, and the listeners that there are."""
    found = read_status(gateway.runtime_dir)
    listeners = control_client.ask(gateway.runtime_dir, {"request": "status"}, limit_s=LIMIT_S)["listeners"]
    return found.reload_failed, found.config_generation, listeners


def test_a_wrong_file_changes_nothing_and_a_good_one_is_taken_on_hup(world: World) -> None:
    gateway, path = world.chain["mumbai"], world.file("mumbai")
    good, (_, generation, listeners) = path.read_text(), told(gateway)
    path.write_text(good + '[[listen]]\nname = "direct"\nbnd = "127.0.0.1:1"\n')
    done = gateway.command("reload")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "listen[0].bnd: must be a key that exists, perhaps `bind`" in done.stderr
    assert "listen[0].mode: is required" in done.stderr
    gateway.line(r"supervisor error: cannot reload: listen\[0\]\.bnd: must be a key that exists")
    assert told(gateway) == (True, generation, listeners)
    assert gateway.metrics()["midmile_config_last_reload_successful"] == 0
    path.write_text(good)
    gateway.process.send_signal(signal.SIGHUP)
    gateway.line(rf"reloaded: nothing changed, in .*; generation {generation + 1}")
    assert told(gateway) == (False, generation + 1, listeners)
    assert gateway.metrics()["midmile_config_last_reload_successful"] == 1


def test_what_cannot_be_done_in_place_changes_nothing(world: World) -> None:
    gateway, path = world.chain["mumbai"], world.file("mumbai")
    good, (_, generation, listeners) = path.read_text(), told(gateway)
    refused = {
        good + to_toml([{**forward(1, name="taken"), "bind": at(world.sinks[0])}], {}): "EADDRINUSE",
        good.replace("[gateway]", '[gateway]\nlog_format = "json"'): "gateway.log_format",
    }
    for text, why in refused.items():
        path.write_text(text)
        found = control_client.reload(gateway.runtime_dir)
        assert (found.exit_code, why in found.error) == (ExitCode.CANNOT_START, True), found
        assert told(gateway) == (True, generation, listeners)
    path.write_text(good)


def test_the_admin_page_moves_goes_and_comes_back(world: World) -> None:
    gateway, path = world.chain["mumbai"], world.file("mumbai")
    good, (_, port), (moved,) = path.read_text(), gateway.admin, free_ports(1)
    for text, now, before in (
        (good.replace(at(port), at(moved)), moved, port),
        (good.replace(at(port), "off"), None, moved),
        (good, port, moved),
    ):
        path.write_text(text)
        assert control_client.reload(gateway.runtime_dir).changes == "changed admin.http"
        if now is not None:
            with socket.create_connection(("127.0.0.1", now), timeout=LIMIT_S) as client:
                client.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        gateway.wait_until(partial(is_closed, before), expected=f"nobody listens on {before} any more")


def is_closed(port: int) -> bool:
    return not is_open(port)

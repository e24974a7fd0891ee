"""New code takes a gateway over while clients come and go: nobody is refused, reset or lost.

MIDMILE_UPGRADES=5x500 makes five upgrades of each of two gateways under 500 new sessions a second, with twice as many
that last; by default there is one of each, under 60 a second, with 60 that last.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from gateway import control_client, descriptor_limit
from gateway.commands.running import read_status
from gateway.exit_codes import ExitCode
from tests.scenarios.echo_sink import echo_sink
from tests.scenarios.harness.configuration import forward, proxy
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.overlay import Chain, Station, running_chain
from tests.scenarios.harness.programs import LIMIT_S
from tests.scenarios.harness.steady import SERVED, Steady, Way, by_socks5, steady

UPGRADES, RATE = map(int, os.environ.get("MIDMILE_UPGRADES", "1x60").split("x"))
LONG: Final = 1000 if RATE >= 500 else 60


@dataclass(frozen=True, slots=True)
class World:
    """Two gateways, of which the first has listeners that lead to a destination by itself, and through the second."""

    chain: Chain
    sink: int

    @property
    def gateways(self) -> list[Gateway]:
        return [self.chain["oregon"], self.chain["mumbai"]]

    @property
    def ways(self) -> list[Way]:
        oregon = self.chain["oregon"]
        direct, chained = (Way(name, oregon.port(name)) for name in ("direct", "chained"))
        return [direct, chained, by_socks5("proxy", oregon.port("proxy"), to=self.sink)]

    def logs(self) -> str:
        return "\n".join(gateway.log.text() for gateway in self.gateways)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    descriptor_limit.raise_to_hard()  # for as many clients as there may be
    with echo_sink() as sink:
        listens = [
            forward(sink, name="direct"),
            forward(sink, name="chained", via=["mumbai"], early_syn=True),
            proxy(name="proxy"),
        ]
        oregon = Station(knows=["mumbai"], listens=listens)
        with running_chain(tmp_path_factory.mktemp("upgrade"), oregon=oregon, mumbai=Station()) as chain:
            yield World(chain, sink)


def expect_served(load: Steady, logs: str) -> None:
    """Hold the load to have been served, all of it, and to have been one."""
    odd = [line for line in logs.splitlines() if (": " not in line and " -- " not in line) or " error: " in line]
    assert not load.failures, f"{load}: {odd[:50]}"
    assert sum(count for (_, outcome), count in load.outcomes.items() if outcome == SERVED) > LONG + UPGRADES * 10
    print(f"{UPGRADES} upgrades of two gateways: {load}, slowest {load.slowest_s * 1000:.0f} ms")


def sessions_total(gateway: Gateway) -> float:
    return gateway.metrics()["midmile_sessions_total"]


def retiring(gateway: Gateway) -> list[dict[str, int]]:
    found = control_client.ask(gateway.runtime_dir, {"request": "status"}, limit_s=LIMIT_S)["retiring"]
    assert isinstance(found, list)
    return found


def nobody_retires(gateway: Gateway) -> bool:
    return retiring(gateway) == []


def test_nobody_notices_that_new_code_takes_over(world: World) -> None:
    with steady(world.ways, rate=RATE, long=LONG) as load:
        for number in range(1, UPGRADES + 1):
            for gateway in world.gateways:
                before, old = sessions_total(gateway), gateway.process.pid
                done = gateway.upgrade()
                assert done.returncode == 0, f"{done.stderr}\n{gateway.log.text()}"
                assert sessions_total(gateway) >= before
                assert number > 1 or [each["pid"] for each in retiring(gateway)] == [old]  # the long ones are there
                assert not any(link.went_down for link in read_status(gateway.runtime_dir).links)
    expect_served(load, world.logs())
    for gateway in world.gateways:
        gateway.wait_until(partial(nobody_retires, gateway), expected="nobody retires any more")
        text = gateway.command("status").stdout
        assert f"pid {gateway.process.pid}, running" in text


@contextmanager
def file_as(path: Path, text: str) -> Iterator[None]:
    before = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)


def test_new_code_that_cannot_start_changes_nothing(world: World) -> None:
    gateway = world.chain["oregon"]
    file = gateway.runtime_dir.with_suffix(".toml")
    good, pid = file.read_text(), gateway.process.pid
    attempts = [
        (good.replace("mode = ", "mood = "), ExitCode.CONFIGURATION, "listen[0].mood: must be a key that exists"),
        (good + f'[[listen]]\nname = "taken"\nbind = "127.0.0.1:{world.sink}"\nmode = "mixed"\n', 3, "EADDRINUSE"),
        (good.replace('runtime_dir = "', 'runtime_dir = "/tmp'), 3, "stop it and start it to change that"),
    ]
    with steady(world.ways, rate=RATE, long=LONG) as load:
        for text, code, why in attempts:
            with file_as(file, text):
                done = gateway.upgrade()
            assert (done.returncode, why in json.loads(done.stdout)["error"]) == (code, True), done
            assert (gateway.process.pid, retiring(gateway)) == (pid, [])
    expect_served(load, world.logs())


def test_workers_and_listeners_may_have_changed_since(world: World) -> None:
    gateway = world.chain["oregon"]
    file = gateway.runtime_dir.with_suffix(".toml")
    good = file.read_text()
    more = forward(world.sink, name="extra")
    extra = "\n".join(["[[listen]]", *(f"{key} = {json.dumps(value)}" for key, value in more.items()), ""])
    port = int(str(more["bind"]).rpartition(":")[2])
    with steady(world.ways, rate=RATE, long=LONG) as load:
        with file_as(file, good.replace("workers = 1", "workers = 2") + extra):
            assert gateway.upgrade().returncode == 0, gateway.log.text()
        assert len(gateway.worker_pids()) == 2
        with steady([Way("extra", port)], rate=10, long=1):
            pass
        assert gateway.upgrade().returncode == 0, gateway.log.text()
        assert len(gateway.worker_pids()) == 1
    expect_served(load, world.logs())


def test_an_upgrade_by_signal_is_told_to_the_log_alone(world: World) -> None:
    gateway = world.chain["mumbai"]
    file = gateway.runtime_dir.with_suffix(".toml")
    with file_as(file, file.read_text() + "[nonsense]\n"):
        gateway.process.send_signal(signal.SIGUSR2)
        gateway.line(r"not upgraded, this supervisor goes on: nonsense: must be a key that exists")

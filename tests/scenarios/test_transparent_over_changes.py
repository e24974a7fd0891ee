"""Reloads and upgrades of a gateway whose clients know of none: nobody is refused, reset or led elsewhere.

One address of the server's host tells clients who it talks to, and where; another echoes, under load meanwhile.
"""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest

from gateway import control_client
from gateway.lab.network_namespace import entered
from tests.scenarios.echo_sink import echo_sink
from tests.scenarios.harness.configuration import at
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.programs import LIMIT_S
from tests.scenarios.harness.routed_hosts import (
    BEFORE_SERVER,
    CAPTURED,
    EARLY,
    LISTEN,
    SERVER,
    ask,
    hosts,
    ip,
    servers,
)
from tests.scenarios.harness.steady import SERVED, Way, steady

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces, routes and rules")

ECHO: Final = "10.2.0.3"
ASKER: Final = "10.1.0.3"
"""Who asks the one beside the load at the other. From the same port of one address to both servers, `redirect` would
make the same connection twice: then the firewall gives one another port, and its SYN is not known again."""

MODES: Final = ("redirect", "tproxy", "tproxy-as-client")
SEEN_AS: Final = {"redirect": BEFORE_SERVER[4], "tproxy": BEFORE_SERVER[4], "tproxy-as-client": ASKER}
RATE, LONG = 60, 30
ASKS: Final = 8
"""Sessions of one mode, over two workers."""

TEXT: Final = f"""\
[gateway]
workers = 2
runtime_dir = "{{directory}}/run"
[timeouts]
drain = 1
[limits]
early_syn_per_source = 1000
early_syn_pending = 1000
early_syn_rate = 10000
{LISTEN.format(name="redirect", port=15001, mode="redirect")}{EARLY.format(port=8001)}
{LISTEN.format(name="tproxy", port=15002, mode="tproxy")}{EARLY.format(port=8002)}
{LISTEN.format(name="tproxy-as-client", port=15003, mode="tproxy")}preserve_source = true
"""
ONE_WORKER: Final = ("workers = 2", "workers = 1")
REDIRECT_NOT_EARLY: Final = (EARLY.format(port=8001), "")
"""Then connections are dealt out to workers by both ends, and no longer by the client's alone."""


@dataclass(slots=True)
class World:
    """Three hosts, and the gateway that clients come to."""

    client: int
    middle: int
    gateway: Gateway
    text: str
    early: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MODES, 0))

    def reload(self, *changes: tuple[str, str]) -> None:
        """Have the gateway go on by its first file, but for these words."""
        text = self.text
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        self.gateway.runtime_dir.with_name("gateway.toml").write_text(text)
        found = control_client.reload(self.gateway.runtime_dir)
        assert found.ok, found

    def upgrade(self) -> None:
        done = self.gateway.upgrade()
        assert done.returncode == 0, f"{done.stderr}\n{self.gateway.log.text()}"

    def joined(self) -> float:
        with entered(self.middle):
            return self.gateway.metrics()['midmile_early_syn_ended_total{how="joined"}']

    def expect_as_ever(self, *, early: tuple[str, ...] = ("redirect", "tproxy")) -> None:
        """Hold new sessions to reaching the server that they ask for, those of `early` begun at the SYN."""
        joined = self.joined()
        for mode in MODES:
            for _ in range(ASKS):
                found = ask(self.client, SERVER[4], CAPTURED[mode], source=ASKER)
                assert found == (SEEN_AS[mode], SERVER[4]), mode
            if mode in early:
                self.early[mode] += ASKS
                line = rf" {mode} .*{re.escape(at(CAPTURED[mode], SERVER[4]))} .* -- .* early=\d+$"
                self.gateway.lines(line, count=self.early[mode])
        assert self.joined() >= joined + ASKS * len(early)

    @contextmanager
    def under_load(self) -> Iterator[None]:
        """Have clients come and go, and stay, in all modes; none may notice anything."""
        ways = [Way(mode, CAPTURED[mode], host=ECHO) for mode in MODES]
        with ExitStack() as held:
            with entered(self.client):
                load = held.enter_context(steady(ways, rate=RATE, long=LONG))
            yield
        odd = [line for line in self.gateway.log.text().splitlines() if " error: " in line or " -- " not in line]
        assert not load.failures, f"{load}: {odd[:50]}"
        assert all(load.outcomes[mode, SERVED] > LONG for mode in MODES), load
        print(load)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("transparent")
    text, file = TEXT.format(directory=folder), folder / "gateway.toml"
    with hosts() as (client, middle, server), ExitStack() as held:
        with entered(client):
            ip(f"address add {ASKER}/24 dev up0")
        with entered(server):
            ip(f"address add {ECHO}/24 dev up0")
            held.enter_context(servers(SERVER[4]))
            held.enter_context(echo_sink(ECHO, *(CAPTURED[mode] for mode in MODES)))
        file.write_text(text)
        with entered(middle):
            gateway = Gateway(["--config", str(file)], folder / "run")
        held.callback(gateway.abandon)
        yield World(client, middle, gateway.wait_ready(), text)
        gateway.end()


def test_nobody_notices_a_reload(world: World) -> None:
    world.expect_as_ever()
    with world.under_load():
        for changes in ([ONE_WORKER], [REDIRECT_NOT_EARLY], []):
            world.reload(*changes)
            is_early = REDIRECT_NOT_EARLY not in changes
            world.expect_as_ever(early=("redirect", "tproxy") if is_early else ("tproxy",))


def test_nobody_notices_an_upgrade(world: World) -> None:
    with world.under_load():
        for _ in range(2):
            world.upgrade()
            assert world.gateway.retired[0].poll() is None  # the long ones are there
            world.expect_as_ever()
    assert [each.wait(LIMIT_S) for each in world.gateway.retired] == [0, 0]
    world.expect_as_ever()

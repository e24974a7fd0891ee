"""A listener with several paths: sessions take the first whose gateway answers, and nobody notices the change."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.load import CLIENTS, SERVED, answering, visiting
from tests.scenarios.harness.overlay import Chain, Station
from tests.scenarios.peers_under_test import visit

MORE = 50
PATHS = [["mumbai"], ["singapore", "pune"], []]


@dataclass(frozen=True, slots=True)
class World:
    """A gateway with three ways to a destination: through mumbai, through singapore and pune, and from itself."""

    chain: Chain
    port: int

    def end(self, name: str) -> None:
        """End a gateway by force, all its processes at once."""
        os.killpg(self.chain[name].process.pid, signal.SIGKILL)
        self.chain[name].abandon()

    def via(self) -> str:
        """Have a session, and give the gateways that it crossed."""
        oregon = self.chain["oregon"]
        had = len(ended(oregon))
        assert visit(oregon.port("forward"), b"?") == SERVED
        return ended(oregon, count=had + 1)[-1]

    def expect(self, via: str) -> None:
        """Wait until sessions take this path, each of them being served on the way there, and keep to it."""
        self.chain["oregon"].wait_until(lambda: self.via() == via, expected=f"sessions go by {via}")
        assert [self.via() for _ in range(5)] == [via] * 5


def ended(oregon: Gateway, *, count: int = 0) -> list[str]:
    """Give the path of each session that has ended; waits until there are `count`."""
    return [line["via"].partition("/")[2] for line in oregon.sessions_logged("forward", count=count)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with answering() as port:
        stations = {
            "oregon": Station(knows=["mumbai", "singapore"], listens=[forward(port, paths=PATHS)]),
            "mumbai": Station(),
            "singapore": Station(knows=["pune"]),
            "pune": Station(),
        }
        chain = Chain(tmp_path, stations)
        try:
            yield World(chain.wait_ready(), port)
            chain.end()
        finally:
            chain.abandon()


def test_the_next_path_is_taken_silently_and_the_first_again_when_it_is_back(world: World) -> None:
    assert world.via() == "mumbai"
    world.end("mumbai")
    world.expect("singapore,pune")
    world.end("pune")  # further on: singapore says so, and oregon's own link to it is well
    assert world.via() == "-"
    world.end("singapore")
    world.expect("-")
    world.chain.start("pune").wait_ready()
    world.chain.start("singapore").wait_ready()
    world.expect("singapore,pune")
    world.chain.start("mumbai").wait_ready()
    world.expect("mumbai")


def test_no_session_fails_while_a_path_goes_and_comes_under_load(world: World) -> None:
    """Those that mumbai had when it was killed break; none that is begun afterwards."""
    oregon = world.chain["oregon"]
    with visiting(oregon.port("forward")) as outcomes:
        oregon.wait_until(lambda: len(outcomes) > MORE, expected="sessions come and go")
        world.end("mumbai")
        seen = len(outcomes)
        oregon.wait_until(lambda: len(outcomes) > seen + MORE, expected="they go on")
        world.chain.start("mumbai").wait_ready()
        oregon.wait_until(lambda: ended(oregon)[-1] == "mumbai", expected="they return to the first path")
    broken = [number for number, heard in enumerate(outcomes) if heard != SERVED]
    assert len(broken) <= CLIENTS, [outcomes[number] for number in broken]
    assert max(broken, default=0) < seen + CLIENTS, "only those that were there when it was killed"

"""More sessions than a pool may have legs all go on; and a peer that is told to end lets its sessions end first."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.overlay import Chain, Station, running_chain
from tests.scenarios.peers_under_test import Destination, End, Heard, hear, hear_exactly, session

POOL = {"pool_min": 2, "pool_max": 8, "magazine": 2}
SESSIONS = 40


@dataclass(frozen=True, slots=True)
class World:
    """A gateway with two paths to a destination."""

    chain: Chain
    destination: Destination

    @property
    def port(self) -> int:
        return self.chain["oregon"].port("forward")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Destination() as destination:
        listens = [forward(destination.port, paths=[["mumbai"], ["singapore"]])]
        patient = {"timeouts": {"drain": 25}}
        stations = {
            "oregon": Station(knows=["mumbai", "singapore"], listens=listens, pool=POOL),
            "mumbai": Station(tables=patient),
            "singapore": Station(),
        }
        with running_chain(tmp_path, **stations) as chain:
            yield World(chain, destination)


def test_sessions_beyond_the_limit_go_on_and_their_legs_leave_with_them(world: World) -> None:
    chain = world.chain
    with ExitStack() as opened:
        pairs = [opened.enter_context(session(world.port, world.destination)) for _ in range(SESSIONS)]
        for client, far in pairs:
            client.sendall(b"question")
            assert hear_exactly(far, 8) == b"question"
        crowded = chain.wait_link("oregon", "mumbai", lambda link: link["lent"] == SESSIONS, expected="all have legs")
        assert crowded["is_crowded"]
        assert crowded["idle"] <= POOL["pool_max"]
        for client, far in pairs:
            far.sendall(b"answer")
            far.close()
            assert hear(client) == Heard(b"answer", End.FIN)
    left = chain.wait_link(
        "oregon",
        "mumbai",
        lambda link: link["lent"] == 0 and link["legs"] <= POOL["pool_max"],
        expected="no more legs are left than the pool may have",
    )
    assert not left["is_crowded"]
    chain["mumbai"].wait_until(
        lambda: chain["mumbai"].metrics()["midmile_overlay_legs"] <= POOL["pool_max"] + 1,  # and one for probes
        expected="the legs are gone at the other end",
    )


def test_a_peer_that_drains_lets_its_session_end_and_gets_no_new_one(world: World) -> None:
    oregon, mumbai = world.chain["oregon"], world.chain["mumbai"]
    with ExitStack() as opened:
        client, far = opened.enter_context(session(world.port, world.destination))
        client.sendall(b"before")
        assert hear_exactly(far, 6) == b"before"
        mumbai.process.send_signal(signal.SIGTERM)
        mumbai.line("drain")
        for _ in range(10):
            with session(world.port, world.destination) as (newer, newer_far):
                newer.sendall(b"?")
                assert hear_exactly(newer_far, 1) == b"?"
                newer_far.close()
                assert hear(newer) == Heard(b"", End.FIN)
        assert mumbai.is_running
        client.sendall(b"after")
        assert hear_exactly(far, 5) == b"after"
        far.sendall(b"answer")
        far.close()
        assert hear(client) == Heard(b"answer", End.FIN)
    _expect_ended_well(mumbai)
    lines = oregon.sessions_logged("forward", count=11)
    assert {line["end"] for line in lines} == {"--"}
    by_mumbai = [line for line in lines if line["via"] == "-/mumbai"]
    assert 1 <= len(by_mumbai) <= 4, "the one that it had, and those that came before its workers had heard"


def _expect_ended_well(gateway: Gateway) -> None:
    gateway.end(how=lambda: None)

"""The process that keeps the legs dies by kill -9, or one that uses them does: sessions go on, the pool recovers."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.load import CLIENTS, SERVED, answering, visiting
from tests.scenarios.harness.overlay import Chain, Station, running_chain
from tests.scenarios.peers_under_test import Destination, End, Heard, hear_exactly, session

MORE = 100
POOL_MIN = 12


@dataclass(frozen=True, slots=True)
class World:
    """Two gateways, and two destinations beyond the second."""

    chain: Chain
    destination: Destination

    def port(self, listener: str) -> int:
        return self.chain["oregon"].port(listener)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Destination() as destination, answering() as short:
        ports = {"short": short, "long": destination.port}
        listens = [forward(port, name=name, via=["mumbai"]) for name, port in ports.items()]
        oregon = Station(
            knows=["mumbai"], listens=listens, pool={"pool_min": POOL_MIN}, tables={"gateway": {"workers": 2}}
        )
        with running_chain(tmp_path_factory.mktemp("broker"), oregon=oregon, mumbai=Station()) as chain:
            yield World(chain, destination)


def expect_pool_back(world: World) -> None:
    """Hold the broker to a whole pool, and the far gateway to no leg that the near one does not know of."""
    chain = world.chain
    link = chain.wait_link(
        "oregon",
        "mumbai",
        lambda link: link["state"] == "up" and link["idle"] >= POOL_MIN and link["lent"] == 0,
        expected="the pool is filled, and no leg is lent",
    )
    assert not link["is_crowded"]

    def all_are_known() -> bool:
        known: int = chain.link("oregon", "mumbai")["legs"]
        return chain["mumbai"].metrics()["midmile_overlay_legs"] <= known + 1  # and the one for probes

    chain["mumbai"].wait_until(all_are_known, expected="it has no leg that oregon does not know of")


def expect_few_cut(outcomes: list[Heard]) -> None:
    """Hold a worker's death to a reset for each session that it held, before the answer or between it and its end."""
    cut = [heard for heard in outcomes if heard.end is End.RESET]
    assert len(cut) <= CLIENTS
    assert all(heard.data in (b"", SERVED.data) for heard in cut)
    assert outcomes.count(SERVED) + len(cut) == len(outcomes)


def test_a_broker_killed_ends_no_session_and_new_ones_go_on(world: World) -> None:
    oregon = world.chain["oregon"]
    with session(world.port("long"), world.destination) as (client, far), visiting(world.port("short")) as outcomes:
        oregon.wait_until(lambda: len(outcomes) > MORE, expected="sessions come and go")
        killed = oregon.status()["broker"]["pid"]
        os.kill(killed, signal.SIGKILL)
        oregon.line(rf"broker, pid {killed} ended by SIGKILL")
        seen = len(outcomes)
        oregon.wait_until(lambda: len(outcomes) > seen + MORE, expected="new sessions go on")
        oregon.wait_until(lambda: oregon.status()["broker"]["pid"] not in (None, killed), expected="a broker is there")
        link = world.chain.wait_link("oregon", "mumbai", lambda link: link["idle"] > 0, expected="there are legs")
        hits = link["hits"] + MORE
        world.chain.wait_link("oregon", "mumbai", lambda link: link["hits"] > hits, expected="legs are taken")
        client.sendall(b"still here")
        assert hear_exactly(far, 10) == b"still here"
    assert outcomes.count(SERVED) == len(outcomes)
    expect_pool_back(world)


def test_a_worker_killed_takes_its_legs_along_and_no_others(world: World) -> None:
    oregon = world.chain["oregon"]
    with visiting(world.port("short")) as outcomes:
        oregon.wait_until(lambda: len(outcomes) > MORE, expected="sessions come and go")
        killed = oregon.worker_pids()[0]
        os.kill(killed, signal.SIGKILL)
        oregon.line(rf"worker 0, pid {killed} ended by SIGKILL")
        oregon.wait_until(
            lambda: len(pids := oregon.worker_pids()) == 2 and killed not in pids, expected="there is a successor"
        )
        seen = len(outcomes)
        oregon.wait_until(lambda: len(outcomes) > seen + MORE, expected="sessions go on")
    expect_few_cut(outcomes)
    expect_pool_back(world)


def test_a_worker_of_the_far_gateway_killed(world: World) -> None:
    """All legs die at once; what is begun afterwards finds new ones, or waits for the successor."""
    mumbai = world.chain["mumbai"]
    with visiting(world.port("short")) as outcomes:
        mumbai.wait_until(lambda: len(outcomes) > MORE, expected="sessions come and go")
        (killed,) = mumbai.worker_pids()
        os.kill(killed, signal.SIGKILL)
        mumbai.line(rf"worker 0, pid {killed} ended by SIGKILL")
        mumbai.wait_until(lambda: mumbai.worker_pids() not in ([], [killed]), expected="there is a successor")
        seen = len(outcomes)
        mumbai.wait_until(lambda: len(outcomes) > seen + MORE, expected="sessions go on")
    expect_few_cut(outcomes)
    expect_pool_back(world)

"""kill -9, one process after another and then all at once, under load: no session that it carried, none lost."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import psutil
import pytest

from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.load import CLIENTS, SERVED, answering, visiting
from tests.scenarios.harness.overlay import Chain, Station, running_chain
from tests.scenarios.peers_under_test import PATIENCE_S, Destination, End, Heard, hear, session

MORE = 60
POOL_MIN = 4
SPARE = 24  # descriptors that a pool may hold more than before: legs, as it grew with the load


@dataclass(frozen=True, slots=True)
class World:
    """Two gateways; sessions of a listener of the first lead through the second."""

    chain: Chain
    destination: Destination

    @property
    def oregon(self) -> Gateway:
        return self.chain["oregon"]

    def port(self, listener: str) -> int:
        return self.oregon.port(listener)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Destination() as destination, answering() as short:
        listens = [forward(short, name="short", via=["mumbai"]), forward(destination.port, name="long", via=["mumbai"])]
        oregon = Station(
            knows=["mumbai"], listens=listens, pool={"pool_min": POOL_MIN}, tables={"gateway": {"workers": 2}}
        )
        with running_chain(tmp_path_factory.mktemp("killed"), oregon=oregon, mumbai=Station()) as chain:
            yield World(chain, destination)


def children(gateway: Gateway) -> dict[str, int]:
    """Give the pid of each living child by its name."""
    found = psutil.Process(gateway.process.pid).children()
    return {child.name(): child.pid for child in found if child.status() != psutil.STATUS_ZOMBIE}


def are_all_new(gateway: Gateway, killed: dict[str, int]) -> bool:
    """Tell whether each of `killed` has a successor, and all are ready."""
    status = gateway.status()
    places = [*status["workers"], status["broker"], status["admin"]]
    return all(
        each["state"] == "ready" and each["pid"] not in killed.values() for each in places if each["pid"] is not None
    ) and len(children(gateway)) == len(places)


def expect_rest(world: World, before: dict[str, int]) -> None:
    """Hold both gateways to as many processes as before, and to hardly more descriptors."""

    def is_at_rest() -> bool:
        now = descriptors(world)
        return now.keys() == before.keys() and all(now[who] <= before[who] + SPARE for who in before)

    world.oregon.wait_until(is_at_rest, expected=f"at rest again, as in {before}; found {descriptors(world)}")


def descriptors(world: World) -> dict[str, int]:
    found = {}
    for name in ("oregon", "mumbai"):
        gateway = world.chain[name]
        for role, pid in {**children(gateway), "supervisor": gateway.process.pid}.items():
            found[f"{name} {role}"] = psutil.Process(pid).num_fds()
    return found


def expect_more(gateway: Gateway, outcomes: list[Heard], *, than: int) -> None:
    gateway.wait_until(lambda: len(outcomes) > than + MORE, expected="sessions go on")


def expect_few_cut(outcomes: list[Heard]) -> None:
    """Hold deaths to a reset for each session that was carried, before its answer or between that and the end."""
    cut = [heard for heard in outcomes if heard.end is End.RESET]
    assert all(heard.data in (b"", SERVED.data) for heard in cut)
    assert outcomes.count(SERVED) + len(cut) == len(outcomes)


def test_one_after_another_and_then_all_children_at_once(world: World) -> None:
    oregon = world.oregon
    before = descriptors(world)
    with visiting(world.port("short")) as outcomes:
        for name in children(oregon):
            seen, cut = len(outcomes), len(outcomes) - outcomes.count(SERVED)
            killed = {name: children(oregon)[name]}
            os.kill(killed[name], signal.SIGKILL)
            oregon.wait_until(partial(are_all_new, oregon, killed), expected=f"{name} has a successor that is ready")
            expect_more(oregon, outcomes, than=seen)
            lost = len(outcomes) - outcomes.count(SERVED) - cut
            assert lost <= (CLIENTS if name.startswith("gateway-w") else 0), f"{lost} sessions ended with {name}"
        killed = children(oregon)
        for pid in killed.values():
            os.kill(pid, signal.SIGKILL)
        oregon.wait_until(partial(are_all_new, oregon, killed), expected="all children have successors")
        expect_more(oregon, outcomes, than=len(outcomes))
    expect_few_cut(outcomes)
    expect_rest(world, before)


def test_the_supervisor_killed_lets_sessions_end_and_the_next_one_starts_where_it_was(world: World) -> None:
    oregon = world.oregon
    orphans = [psutil.Process(pid) for pid in children(oregon).values()]
    with session(world.port("long"), world.destination) as (client, far):
        oregon.process.send_signal(signal.SIGKILL)
        oregon.process.wait(PATIENCE_S)
        client.sendall(b"said after its death")
        assert far.recv(100) == b"said after its death"
        far.close()
        assert hear(client).end is End.FIN
    _, alive = psutil.wait_procs(orphans, timeout=PATIENCE_S)
    assert not alive, f"children outlive their supervisor by more than a drain: {alive}"
    oregon.abandon()  # its log ended with the last of them
    world.chain.start("oregon").wait_ready()
    world.chain.wait_filled("oregon")
    with visiting(world.port("short")) as outcomes:
        world.oregon.wait_until(lambda: len(outcomes) > MORE, expected="sessions come and go")
    assert outcomes.count(SERVED) == len(outcomes)

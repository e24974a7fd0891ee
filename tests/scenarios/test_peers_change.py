"""Peers are added, removed and changed by reloads: legs to the others stay, and no session waits for one.

What a session pays that finds no leg is round trips. So the tests hold the gateway to counters and to the legs' own
ports, not to time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import pytest

from gateway import control_client
from gateway.commands.running import read_status
from gateway.link_status import LinkStatus
from tests.scenarios.harness.configuration import Table, at, forward, to_toml
from tests.scenarios.harness.load import SERVED, answering
from tests.scenarios.harness.overlay import Chain, Station, running_chain
from tests.scenarios.peers_under_test import Destination, hear_exactly, session, visit

POOL_MIN: Final = 12
VISITS: Final = 20
FEW: Final = 3


@dataclass(frozen=True, slots=True)
class World:
    """Oregon knows mumbai. Madrid runs, and is nobody's peer at first. Destinations are beyond mumbai."""

    chain: Chain
    destination: Destination

    def file(self, name: str) -> Path:
        return self.chain[name].runtime_dir.with_suffix(".toml")

    def reload(self, name: str, text: str) -> str:
        """Have a gateway take another configuration, and give what it says has changed."""
        self.file(name).write_text(text)
        done = control_client.reload(self.chain[name].runtime_dir)
        assert done.ok, done
        return done.changes

    def peer(self, name: str) -> str:
        """Write the table that makes a gateway a peer."""
        peer: Table = {"name": name, "address": at(self.chain.overlay_port(name)), "pool_min": POOL_MIN}
        return "\n" + to_toml([], {"[peer]": peer})

    def mumbai(self) -> LinkStatus:
        """Give oregon's link to mumbai, which is the first that it ever had."""
        return next(link for link in read_status(self.chain["oregon"].runtime_dir).links if link.number == 0)

    def legs_to(self, name: str) -> set[int]:
        """Give the local ports of all connections to a gateway's overlay, idle, lent and for probes."""
        port = self.chain.overlay_port(name)
        found = [
            (*each.laddr, *each.raddr)
            for each in psutil.net_connections("tcp4")
            if each.status == psutil.CONN_ESTABLISHED
        ]
        return {ours for _, ours, _, theirs in found if theirs == port}

    def visit(self) -> None:
        """Have sessions through mumbai, one after another."""
        port = self.chain["oregon"].port("short")
        assert [visit(port, b"?") for _ in range(VISITS)] == [SERVED] * VISITS

    def have_legs(self) -> bool:
        """Have sessions, before which a worker asks for no more legs, and tell whether workers have enough."""
        self.visit()
        return self.mumbai().idle_workers >= 8

    def settled(self) -> LinkStatus:
        """Wait until what workers have counted has been told, and give the link."""
        before = self.mumbai()
        self.visit()
        total = before.hits + before.misses + VISITS
        self.chain["oregon"].wait_until(
            lambda: (now := self.mumbai()).hits + now.misses >= total and now.lent == 0,
            expected="its workers have told of all sessions",
        )
        return self.mumbai()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Destination() as destination, answering() as short:
        ports = {"short": short, "long": destination.port}
        listens = [forward(port, name=name, via=["mumbai"]) for name, port in ports.items()]
        oregon = Station(
            knows=["mumbai"], listens=listens, pool={"pool_min": POOL_MIN}, tables={"gateway": {"workers": 2}}
        )
        directory = tmp_path_factory.mktemp("peers")
        with running_chain(directory, oregon=oregon, mumbai=Station(), madrid=Station()) as chain:
            made = World(chain, destination)
            chain["oregon"].wait_until(made.have_legs, expected="both workers have a magazine of legs")
            yield made


def expect_same(world: World, before: LinkStatus, legs: set[int]) -> None:
    """Hold oregon to having gone on with the legs to mumbai that it had, for every session.

    One more for each session that is there at once, and one less when it has gone, is what the pool does anyway.
    """
    now = world.settled()
    assert now.misses == before.misses
    assert now.hits >= before.hits + VISITS
    assert now.dialled - before.dialled <= FEW
    assert len(legs - world.legs_to("mumbai")) <= FEW


def test_a_peer_comes_and_goes_and_legs_to_the_other_stay(world: World) -> None:
    text = world.file("oregon").read_text()
    oregon, before, legs = world.chain["oregon"], world.settled(), world.legs_to("mumbai")
    broker = oregon.status()["broker"]["pid"]
    assert len(legs) >= POOL_MIN + 1  # and the one for probes
    with session(oregon.port("long"), world.destination) as (client, far):
        assert world.reload("oregon", text + world.peer("madrid")) == "peers +madrid"
        world.visit()  # at once
        oregon.line(rf"gateway madrid: {POOL_MIN} legs are ready")
        assert len(world.legs_to("madrid")) == POOL_MIN + 1
        client.sendall(b"still here")
        assert hear_exactly(far, 10) == b"still here"
    expect_same(world, before, legs)
    assert world.reload("oregon", text) == "peers -madrid"
    world.visit()
    oregon.wait_until(lambda: not world.legs_to("madrid"), expected="nothing leads to madrid any more")
    expect_same(world, before, legs)
    assert oregon.status()["broker"]["pid"] == broker


def test_legs_of_a_peer_stay_when_the_gateway_at_their_end_gets_peers(world: World) -> None:
    before, legs, text = world.settled(), world.legs_to("mumbai"), world.file("mumbai").read_text()
    assert world.reload("mumbai", text + world.peer("madrid")) == "peers +madrid"
    world.chain["mumbai"].line(r"gateway madrid: \d+ legs are ready")
    expect_same(world, before, legs)
    assert world.reload("mumbai", text) == "peers -madrid"
    expect_same(world, before, legs)


def test_other_settings_of_a_peer_give_other_legs_to_it_alone(world: World) -> None:
    text = world.file("oregon").read_text()
    world.reload("oregon", text + world.peer("madrid"))
    oregon = world.chain["oregon"]
    oregon.wait_until(lambda: len(world.legs_to("madrid")) == POOL_MIN + 1, expected="there are legs to madrid")
    legs, kept = world.legs_to("mumbai"), world.legs_to("madrid")
    assert world.reload("oregon", text.replace("magazine = 4", "magazine = 5") + world.peer("madrid")) == (
        "peers ~mumbai"
    )
    oregon.wait_until(
        lambda: not legs & (now := world.legs_to("mumbai")) and len(now) > POOL_MIN,
        expected="all legs to mumbai are others",
    )
    world.visit()
    assert world.legs_to("madrid") == kept
    world.reload("oregon", text)


def test_legs_stay_when_workers_come_and_go(world: World) -> None:
    """What a worker that goes has, it gives to the broker, which lives on."""
    text = world.file("oregon").read_text()
    oregon = world.chain["oregon"]
    oregon.wait_until(lambda: world.mumbai().idle >= POOL_MIN, expected="the pool is filled")
    before = world.settled()
    world.reload("oregon", text.replace("workers = 2", "workers = 1"))
    world.visit()
    oregon.wait_until(lambda: len(oregon.worker_pids()) == 1, expected="one worker has gone")
    world.reload("oregon", text)
    now = world.settled()
    assert now.dialled - before.dialled <= FEW  # a new worker's first session may come before its first legs

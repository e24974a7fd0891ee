"""A peer that ended and came back, or has another key, or changes its key: sessions notice as little as can be."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import command
from tests.scenarios.harness.load import RESET, SERVED, answering, visiting
from tests.scenarios.harness.overlay import Chain, Station
from tests.scenarios.peers_under_test import Destination, hear_exactly, is_silent, session, visit

SESSIONS = 100
BURST = 30
NOTICED_S = 1.5  # a key file is looked at once a second


@dataclass(frozen=True, slots=True)
class World:
    """Two gateways, and what is beyond the second: a destination of many short sessions, and one of a long one."""

    chain: Chain
    destination: Destination

    def port(self, listener: str) -> int:
        return self.chain["oregon"].port(listener)

    def restart_mumbai(self) -> None:
        """End mumbai by force, all its processes at once, and start it anew."""
        mumbai = self.chain["mumbai"]
        os.killpg(mumbai.process.pid, signal.SIGKILL)
        mumbai.abandon()
        self.chain.start("mumbai").wait_ready()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Destination() as destination, answering() as short:
        oregon = Station(
            knows=["mumbai"],
            listens=[
                forward(short, name="short", via=["mumbai"]),
                forward(destination.port, name="long", via=["mumbai"]),
            ],
        )
        chain = Chain(tmp_path, {"oregon": oregon, "mumbai": Station()})
        try:
            yield World(chain.wait_ready(), destination)
            chain.end()
        finally:
            chain.abandon()


def test_sessions_right_after_a_restart_all_succeed(world: World) -> None:
    assert visit(world.port("short"), b"?") == SERVED
    world.restart_mumbai()
    assert [visit(world.port("short"), b"?") for _ in range(SESSIONS)] == [SERVED] * SESSIONS
    link = world.chain.wait_link("oregon", "mumbai", lambda link: link["state"] == "up", expected="it is up again")
    assert link["went_down"] <= 1


def test_a_peer_with_another_key_is_refused_and_both_say_so(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    assert command("keygen", str(other)).returncode == 0
    shutil.move(other, world.chain.key_file("mumbai"))
    world.restart_mumbai()
    oregon, mumbai = world.chain["oregon"], world.chain["mumbai"]
    assert visit(world.port("short"), b"?") == RESET
    assert oregon.sessions_logged("short")[-1]["errno"] in ("ECONNRESET", "EKEYREJECTED")
    oregon.line(r"cannot make a leg: .*handshake with gateway mumbai at ")
    mumbai.line(r"is no gateway of this overlay: PROOF: expected one of our keys; found key [0-9a-f]{16} ")
    assert mumbai.metrics()["midmile_overlay_strangers_total"] >= 1
    link = world.chain.wait_link("oregon", "mumbai", lambda link: link["dial_failed"] > 0, expected="it is counted")
    assert link["idle"] == 0
    shutil.copy(world.chain.key_file("oregon"), world.chain.key_file("mumbai"))
    oregon.wait_until(lambda: visit(world.port("short"), b"?") == SERVED, expected="the right key is taken at once")


def test_a_key_is_replaced_live(world: World) -> None:
    """More sessions at once after each step than legs before it: new legs must prove themselves, by whichever key."""
    keys = {name: world.chain.key_file(name) for name in ("oregon", "mumbai")}
    before = keys["oregon"].read_bytes()
    failed = world.chain.link("oregon", "mumbai")["dial_failed"]  # oregon may have been there first
    with ExitStack() as opened, visiting(world.port("short")) as outcomes:
        held = [opened.enter_context(session(world.port("long"), world.destination))]
        for step in ("add", "switch", "drop"):
            _rotate(keys, step)
            assert is_silent(held[0][0], for_s=NOTICED_S)
            before_dialled = world.chain.link("oregon", "mumbai")["dialled"]
            held += [opened.enter_context(session(world.port("long"), world.destination)) for _ in range(BURST)]
            _wait_dialled(world, before_dialled)
        for client, far in held:
            client.sendall(b"still here")
            assert hear_exactly(far, 10) == b"still here"
    assert outcomes.count(SERVED) == len(outcomes) > 0
    assert keys["oregon"].read_bytes() == keys["mumbai"].read_bytes() != before
    assert world.chain["mumbai"].metrics()["midmile_overlay_strangers_total"] == 0
    assert world.chain.link("oregon", "mumbai")["dial_failed"] == failed, world.chain["oregon"].log.text()


def _wait_dialled(world: World, before: int) -> None:
    world.chain.wait_link("oregon", "mumbai", lambda link: link["dialled"] > before, expected="new legs come to be")


def _rotate(keys: dict[str, Path], step: str) -> None:
    """Take a step at both gateways; the new key is made at one and brought to the other."""
    done = command("keygen", str(keys["oregon"]), "--rotate", step)
    assert done.returncode == 0, done.stderr
    fresh = keys["mumbai"].with_suffix(".fresh")
    shutil.copy(keys["oregon"], fresh)
    fresh.rename(keys["mumbai"])

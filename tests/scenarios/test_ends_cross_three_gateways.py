"""However a session ends at one side, it ends so at the other, three gateways away; and never cleanly if cut off."""

import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.overlay import Chain, Station, running_chain
from tests.scenarios.peers_under_test import (
    Destination,
    End,
    Heard,
    Talker,
    hear,
    hear_exactly,
    is_silent,
    pattern,
    reset,
    session,
    talk,
    wait_acknowledged,
)

GATEWAYS = ("oregon", "mumbai", "singapore")
SIZES = (1, 3_000, 60_000, 4_000_003)  # copied at once, copied, at the edge, spliced
LATE = 1_000_000
PART, PARTS = 1_000_003, 64  # together more than the buffers of all eight sockets on the way hold
FIRST = pytest.mark.parametrize("first", ["client", "destination"])


@dataclass(frozen=True, slots=True)
class World:
    """Three gateways of one worker each, and where their sessions lead."""

    chain: Chain
    destination: Destination

    @property
    def port(self) -> int:
        return self.chain["oregon"].port("forward")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Destination() as destination:
        oregon = Station(knows=["mumbai"], listens=[forward(destination.port, via=["mumbai", "singapore"])])
        stations = {"oregon": oregon, "mumbai": Station(knows=["singapore"]), "singapore": Station()}
        with running_chain(tmp_path_factory.mktemp("ends"), **stations) as chain:
            yield World(chain, destination)


@FIRST
def test_what_follows_a_half_close_arrives_whole(world: World, first: str) -> None:
    for size in SIZES:
        with session(world.port, world.destination) as ends:
            early, late = ends if first == "client" else ends[::-1]
            _end_early_then_late(early, late, pattern(size))


def _end_early_then_late(early: socket.socket, late: socket.socket, content: bytes) -> None:
    """The early one's end arrives before the late one says anything, and does not keep it from saying all."""
    early.sendall(b"all I wanted to say")
    early.shutdown(socket.SHUT_WR)
    assert hear(late) == Heard(b"all I wanted to say", End.FIN)
    assert is_silent(early, for_s=0.05)
    with ThreadPoolExecutor() as meanwhile:
        heard = meanwhile.submit(hear, early)
        late.sendall(content)
        late.shutdown(socket.SHUT_WR)
        assert heard.result() == Heard(content, End.FIN)


def test_both_say_much_and_end_at_once(world: World) -> None:
    there, back = pattern(3_000_001, seed=1), pattern(2_000_001, seed=2)
    with session(world.port, world.destination) as (client, far), ThreadPoolExecutor() as meanwhile:
        heard = [meanwhile.submit(hear, end) for end in (client, far)]
        said = [meanwhile.submit(_say_all, end, content) for end, content in ((client, there), (far, back))]
        assert [each.result() for each in heard] == [Heard(back, End.FIN), Heard(there, End.FIN)]
        for each in said:
            each.result()


def _say_all(end: socket.socket, content: bytes) -> None:
    end.sendall(content)
    end.shutdown(socket.SHUT_WR)


@FIRST
def test_all_that_came_before_a_reset_arrives_before_it(world: World, first: str) -> None:
    for size in (1, 5_000, 150_000):
        with session(world.port, world.destination) as ends:
            breaking, other = ends if first == "client" else ends[::-1]
            breaking.sendall(b"?")
            assert hear_exactly(other, 1) == b"?"
            breaking.sendall(pattern(size))
            wait_acknowledged(breaking)
            reset(breaking)
            assert hear(other) == Heard(pattern(size), End.RESET), "read only after the reset was sent"


@FIRST
def test_a_reset_behind_a_half_close(world: World, first: str) -> None:
    with session(world.port, world.destination) as ends:
        breaking, other = ends if first == "client" else ends[::-1]
        breaking.sendall(b"done")
        breaking.shutdown(socket.SHUT_WR)
        assert hear(other) == Heard(b"done", End.FIN)
        reset(breaking)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                other.sendall(pattern(LATE))


def test_a_leg_carries_on_after_orderly_ends_and_not_after_a_reset(world: World) -> None:
    link = world.chain.link("oregon", "mumbai")
    for _ in range(20):
        with session(world.port, world.destination) as (client, far):
            client.sendall(b"?")
            client.shutdown(socket.SHUT_WR)
            assert hear(far) == Heard(b"?", End.FIN)
            far.close()
            assert hear(client) == Heard(b"", End.FIN)
    after = world.chain.link("oregon", "mumbai")
    assert after["closed"] - link["closed"] <= 6
    with session(world.port, world.destination) as (client, far):
        client.sendall(b"?")
        assert hear_exactly(far, 1) == b"?"
        reset(client)
        assert hear(far) == Heard(b"", End.RESET)
    world.chain.wait_link(
        "oregon", "mumbai", lambda link: link["closed"] > after["closed"], expected="the leg is struck out"
    )


@pytest.mark.parametrize("killed", GATEWAYS)
def test_a_worker_killed_midway_resets_both_ends(world: World, killed: str) -> None:
    body = pattern(PART) * PARTS
    with ExitStack() as opened:
        ends = [opened.enter_context(session(world.port, world.destination)) for _ in range(3)]
        talkers = [Talker(sock, body) for pair in ends for sock in pair]
        talk(talkers, until=lambda: all(len(talker.heard) > 100_000 for talker in talkers))
        gateway = world.chain[killed]
        before = gateway.worker_pids()
        os.kill(before[0], signal.SIGKILL)
        talk(talkers, until=lambda: not any(talker.is_there for talker in talkers))
        assert {talker.end for talker in talkers} == {End.RESET}
        assert all(body.startswith(talker.heard) and len(talker.heard) < len(body) for talker in talkers)
    gateway.line(rf"worker 0, pid {before[0]} ended by SIGKILL")
    gateway.wait_until(lambda: gateway.worker_pids() not in ([], before), expected="there is a successor")
    with session(world.port, world.destination) as (client, far):
        client.sendall(b"again")
        assert hear_exactly(far, 5) == b"again"

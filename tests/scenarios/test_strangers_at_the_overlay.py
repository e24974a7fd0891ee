"""Whoever is no gateway of this overlay hears nothing where gateways come in, and keeps none of them out."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from pools.frame_bodies import NONCE_BYTES, Hello, encode
from pools.frames import Frame, FrameType, Role
from tests.scenarios.harness.configuration import at, forward
from tests.scenarios.harness.load import SERVED, answering
from tests.scenarios.harness.overlay import Chain, Station
from tests.scenarios.harness.programs import require, run
from tests.scenarios.peers_under_test import connect, hear, visit

STRANGERS = 500
DEADLINE_S = 5.0
SLACK_S = 10.0  # for a busy machine
SAID = {
    "http": b"GET / HTTP/1.1\r\nHost: mumbai\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "noise": os.urandom(10_000),
    "a frame that may not come first": Frame(FrameType.FIN, 1).encode(),
    "a HELLO too long to be believed": b"\x01\x00\x00\x00\x00\x10\x00\x00" + bytes(2000),
    "a HELLO with its own name": encode(Hello("mumbai", Role.OPENER, bytes(NONCE_BYTES))),
    "the other role": encode(Hello("oregon", Role.ACCEPTOR, bytes(NONCE_BYTES))),
    "another version": encode(Hello("oregon", Role.OPENER, bytes(NONCE_BYTES))).replace(b"\xa1v\x01", b"\xa1v\x02"),
}


@dataclass(frozen=True, slots=True)
class World:
    """A gateway that others come in to, and one that has not come yet."""

    chain: Chain

    @property
    def port(self) -> int:
        return self.chain.overlay_port("mumbai")

    def strangers(self) -> float:
        return self.chain["mumbai"].metrics()["midmile_overlay_strangers_total"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with answering() as port:
        oregon = Station(knows=["mumbai"], listens=[forward(port, via=["mumbai"])])
        chain = Chain(tmp_path_factory.mktemp("strangers"), {"mumbai": Station(), "oregon": oregon})
        try:
            chain["oregon"].abandon()
            yield World(chain.wait_ready())
            chain.end()
        finally:
            chain.abandon()


@pytest.mark.parametrize("said", SAID)
def test_who_says_something_wrong_gets_nothing_and_is_closed_at_once(world: World, said: str) -> None:
    began_s, before = time.monotonic(), world.strangers()
    assert visit(world.port, SAID[said]).data == b""
    assert time.monotonic() - began_s < DEADLINE_S, "not by the deadline"
    world.chain["mumbai"].wait_until(lambda: world.strangers() == before + 1, expected="the stranger is counted")


def test_curl_gets_nothing(world: World) -> None:
    done = run([require("curl"), "--silent", "--max-time", "20", f"http://{at(world.port)}/"], code=None)
    assert done.returncode in (52, 56)  # nothing came; the connection was reset
    assert done.stdout == b""


def test_who_says_nothing_is_closed_at_the_deadline(world: World) -> None:
    began_s, before = time.monotonic(), world.strangers()
    with connect(world.port) as silent:
        assert hear(silent).data == b""
    assert DEADLINE_S * 0.9 <= time.monotonic() - began_s <= DEADLINE_S + SLACK_S
    world.chain["mumbai"].wait_until(lambda: world.strangers() == before + 1, expected="the stranger is counted")


def test_a_gateway_gets_in_while_hundreds_stand_there(world: World) -> None:
    chain = world.chain
    with ExitStack() as standing:
        for _ in range(STRANGERS):
            standing.enter_context(connect(world.port, source="127.0.0.66"))
        oregon = chain.start("oregon").wait_ready()
        chain.wait_filled("oregon")
        assert visit(oregon.port("forward"), b"?") == SERVED
    oregon.end()


def test_the_log_does_not_grow_with_the_strangers(world: World) -> None:
    """The last story of this file: what all the others have left."""
    mumbai = world.chain["mumbai"]
    mumbai.wait_until(lambda: world.strangers() >= STRANGERS, expected="all strangers are counted")

    def tells_of_many() -> bool:
        visit(world.port, SAID["http"])
        return re.search(r" \(\d{3} such lines not shown\)", mumbai.log.text()) is not None

    mumbai.wait_until(tells_of_many, expected="the next line tells how many are not shown")
    assert len(mumbai.lines("is no gateway of this overlay")) < 10

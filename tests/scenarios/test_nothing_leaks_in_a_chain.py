"""Many sessions of every kind and end through three gateways, which afterwards hold what they held before.

It is the soak test, too: with MIDMILE_SOAK=1800 and `pytest -n0 -s -o timeout=0` it goes on for that many seconds, and
says what is held after each round of sessions.
"""

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
import pytest

from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.overlay import Chain, Station, running_chain
from tests.scenarios.peers_under_test import (
    Destination,
    End,
    Heard,
    anonymous_bytes,
    connect,
    hear,
    hear_exactly,
    pattern,
    refusing,
    reset,
    visit,
)

VIA = ["mumbai", "singapore"]
GATEWAYS = ("oregon", *VIA)
WARM, SESSIONS, BATCH = 240, 800, 40
GROWTH_BYTES = 1024 * 1024  # 800 sessions that stayed would be more: one takes 1,600 bytes
LARGE = pattern(200_000)
POOL_MIN = 8
SPARE_LEGS = 60  # by which one pool, and the other at the same gateway, may differ between two rests
SOAK_S = float(os.environ.get("MIDMILE_SOAK", "0"))
KINDS = ("quick", "quick", "quick", "large", "half-closed", "client resets", "destination resets", "refused")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a worker and a broker hold when nothing is carried."""

    descriptors: dict[str, int]
    memory_bytes: dict[str, int]

    @property
    def total(self) -> str:
        return f"{sum(self.descriptors.values())} descriptors, {sum(self.memory_bytes.values())} bytes"


@pytest.fixture
def destination() -> Iterator[Destination]:
    with Destination() as destination:
        yield destination


def test_a_thousand_sessions_leave_nothing(
    destination: Destination, tmp_path_factory: pytest.TempPathFactory, record_property: Callable[[str, object], None]
) -> None:
    with refusing() as nowhere:
        listens = [forward(destination.port, via=VIA), forward(nowhere, name="refused", via=VIA)]
        pool = {"pool_min": POOL_MIN}
        with running_chain(
            tmp_path_factory.mktemp("leaks"),
            oregon=Station(knows=["mumbai"], listens=listens, pool=pool),
            mumbai=Station(knows=["singapore"], pool=pool),
            singapore=Station(),
        ) as chain:
            go_on(chain, destination, sessions=WARM)
            before = at_rest(chain, sessions=WARM)
            for rounds in enough_rounds():
                go_on(chain, destination, sessions=SESSIONS)
                after = at_rest(chain, sessions=WARM + rounds * SESSIONS)
                print(f"{rounds * SESSIONS} sessions: {after.total}")
    grew = {who: after.memory_bytes[who] - before.memory_bytes[who] for who in before.memory_bytes}
    record_property("grew_bytes", grew)
    assert max(grew.values()) < GROWTH_BYTES, grew
    more = {who: after.descriptors[who] - before.descriptors[who] for who in before.descriptors}
    assert max(more.values()) <= SPARE_LEGS, more


def enough_rounds() -> Iterator[int]:
    """Count rounds, from 1: one, or as many as the soak takes."""
    until_s = time.monotonic() + SOAK_S
    yield 1
    yield from itertools.takewhile(lambda _: time.monotonic() < until_s, itertools.count(2))


def go_on(chain: Chain, destination: Destination, *, sessions: int) -> None:
    for _ in range(sessions // BATCH):
        batch(chain, destination)


def batch(chain: Chain, destination: Destination) -> None:
    """Have as many sessions at once as there are in a batch, each kind in turn."""
    oregon = chain["oregon"]
    kinds = [KINDS[number % len(KINDS)] for number in range(BATCH)]
    pairs: list[tuple[str, socket.socket, socket.socket]] = []
    for kind in kinds:
        if kind == "refused":
            assert visit(oregon.port("refused"), b"?") == Heard(b"", End.RESET)
        else:
            client = connect(oregon.port("forward"))
            pairs.append((kind, client, destination.accept()))
    for kind, client, far in pairs:
        client.sendall(b"?")
        assert hear_exactly(far, 1) == b"?"
        with client, far:
            leave(kind, client, far)


def leave(kind: str, client: socket.socket, far: socket.socket) -> None:
    match kind:
        case "client resets":
            reset(client)
            assert hear(far) == Heard(b"", End.RESET)
        case "destination resets":
            reset(far)
            assert hear(client) == Heard(b"", End.RESET)
        case "half-closed":
            client.shutdown(socket.SHUT_WR)
            assert hear(far) == Heard(b"", End.FIN)
            far.sendall(b"late")
            far.close()
            assert hear(client) == Heard(b"late", End.FIN)
        case _:
            content = LARGE if kind == "large" else b"!"
            far.sendall(content)
            far.close()
            assert hear(client) == Heard(content, End.FIN)


def at_rest(chain: Chain, *, sessions: int) -> Holdings:
    """Wait until nothing is carried anywhere, and give what is held then."""
    for name in GATEWAYS:
        chain[name].wait_until(lambda name=name: is_at_rest(chain, name, sessions), expected="it is at rest")  # type: ignore[misc]
    for name, peer in (("oregon", "mumbai"), ("mumbai", "singapore")):
        chain.wait_link(name, peer, lambda link: link["lent"] == 0, expected="no leg is lent")
    pids = {f"{name} {child}": pid for name in GATEWAYS for child, pid in children(chain, name).items()}
    return Holdings(
        {who: psutil.Process(pid).num_fds() for who, pid in pids.items()},
        {who: anonymous_bytes(pid) for who, pid in pids.items()},
    )


def is_at_rest(chain: Chain, name: str, sessions: int) -> bool:
    found = chain[name].metrics()
    return (
        found["midmile_sessions_total"] == sessions
        and found["midmile_sessions_open"] == 0
        and found["midmile_pipes"] == 0
        and found["midmile_greenlets"] == found["midmile_greenlets_idle"]
    )


def children(chain: Chain, name: str) -> dict[str, int]:
    found = psutil.Process(chain[name].process.pid).children()
    return {child.name(): child.pid for child in found}

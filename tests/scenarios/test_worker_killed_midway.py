"""A worker dies by kill -9 under load: its sessions end as resets, nobody else notices, and a successor takes over."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum, auto
from itertools import pairwise

from gateway import control_client
from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.peers_under_test import (
    Destination,
    End,
    Talker,
    pattern,
    session,
    talk,
    visit,
)

WORKERS = 3
SESSIONS = 48
CONNECTORS = 4
BODY = pattern(3_000_000)
REQUEST = pattern(2_000_000, seed=1)
Pair = tuple[Talker, Talker]


def test_exactly_its_sessions_die_and_all_of_them_as_resets(start_gateway: StartGateway) -> None:
    with Destination() as destination, ExitStack() as opened:
        gateway = start_gateway(forward(destination.port), gateway={"workers": WORKERS})
        pairs = [_open_pair(gateway.port("forward"), destination, opened) for _ in range(SESSIONS)]
        doomed = _clients_of(gateway, slot=1)
        died = [pair for pair in pairs if pair[0].sock.getsockname() in doomed]
        lived = [pair for pair in pairs if pair not in died]
        assert died
        assert lived
        _flow(pairs)
        os.kill(gateway.worker_pids()[1], signal.SIGKILL)
        talk(_all(pairs), until=lambda: all(not end.is_there for end in _all(died)) and _is_through(lived))
        assert {end.end for end in _all(died)} == {End.RESET}
        assert {end.end for end in _all(lived)} == {None}
        assert all(client.heard == BODY and far.heard == REQUEST for client, far in lived)


def _open_pair(port: int, destination: Destination, opened: ExitStack) -> Pair:
    client, far = opened.enter_context(session(port, destination))
    return Talker(client, REQUEST), Talker(far, BODY)


def _clients_of(gateway: Gateway, *, slot: int) -> set[tuple[str, int]]:
    """Ask one worker who its clients are."""
    rows = control_client.sessions(gateway.runtime_dir, slot)
    return {(host, int(port)) for host, _, port in (row.client.rpartition(":") for row in rows)}


def _all(pairs: list[Pair]) -> list[Talker]:
    return [end for pair in pairs for end in pair]


def _flow(pairs: list[Pair]) -> None:
    """Let data flow both ways in every session, and stop with none of them at its end."""
    for end in _all(pairs):
        end.turn()
    for end in _all(pairs):  # one by one: a session of a worker that gets its turn early must not be through by then
        talk([end], until=lambda end=end: len(end.heard) > 0)  # type: ignore[misc]
    assert not any(len(client.heard) == len(BODY) or len(far.heard) == len(REQUEST) for client, far in pairs)


def _is_through(pairs: list[Pair]) -> bool:
    return all(len(client.heard) == len(BODY) and len(far.heard) == len(REQUEST) for client, far in pairs)


def test_no_connection_is_refused_and_a_successor_serves_those_that_waited(start_gateway: StartGateway) -> None:
    with Destination() as destination, _answering(destination):
        gateway = start_gateway(forward(destination.port), gateway={"workers": WORKERS})
        before = gateway.worker_pids()
        with _connecting(gateway.port("forward")) as outcomes:
            gateway.wait_until(lambda: _sessions_of(gateway) > 20 * CONNECTORS, expected="sessions are counted")
            os.kill(before[1], signal.SIGKILL)
            totals = _watch_totals_until_replaced(gateway)
            served = len(outcomes)
            gateway.wait_until(lambda: len(outcomes) > served + 20 * CONNECTORS, expected="all workers serve")
    assert set(outcomes) <= {Outcome.SERVED, Outcome.RESET}
    assert outcomes.count(Outcome.RESET) <= CONNECTORS, "one each, those that the dead worker held"
    assert [pid for pid in gateway.worker_pids() if pid in before] == [before[0], before[2]]
    for earlier, later in pairwise(totals):
        assert {name for name in earlier if later[name] < earlier[name]} == set()
    assert totals[0]["midmile_sessions_total"] > 0


class Outcome(Enum):
    SERVED = auto()
    RESET = auto()
    REFUSED = auto()
    CUT_OFF = auto()


@contextmanager
def _answering(destination: Destination) -> Iterator[None]:
    """Answer one connection after the other until the block ends."""

    def answer() -> None:
        with suppress(OSError):
            while True:
                with destination.accept() as far, suppress(ConnectionResetError):
                    far.recv(100)
                    far.sendall(b"served")

    with ThreadPoolExecutor() as threads:
        done = threads.submit(answer)
        yield
        destination.listener.shutdown(socket.SHUT_RDWR)
    done.result()


@contextmanager
def _connecting(port: int) -> Iterator[list[Outcome]]:
    """Have sessions all the time, several at once; gives what became of them so far."""
    outcomes: list[Outcome] = []
    enough = threading.Event()

    def go_on() -> None:
        while not enough.is_set():
            outcomes.append(_visit(port))

    with ThreadPoolExecutor(CONNECTORS) as threads:
        loops = [threads.submit(go_on) for _ in range(CONNECTORS)]
        yield outcomes
        enough.set()
    for loop in loops:
        loop.result()


def _visit(port: int) -> Outcome:
    try:
        heard = visit(port, b"?")
    except ConnectionRefusedError:
        return Outcome.REFUSED
    if heard.end is End.RESET:
        return Outcome.RESET
    return Outcome.SERVED if heard.data == b"served" else Outcome.CUT_OFF


def _sessions_of(gateway: Gateway) -> float:
    return gateway.metrics()["midmile_sessions_total"]


def _watch_totals_until_replaced(gateway: Gateway) -> list[dict[str, float]]:
    """Read the counters again and again until a successor serves in slot 1."""
    readings: list[dict[str, float]] = []

    def is_replaced() -> bool:
        metrics = gateway.metrics()
        readings.append({name: value for name, value in metrics.items() if "_total" in name and "_cpu_" not in name})
        return metrics["midmile_child_restarts_total"] == 1 and metrics['midmile_worker_up{worker="1"}'] == 1

    gateway.wait_until(is_replaced, expected="worker 1 is replaced")
    return readings

"""Nine thousand sessions of one worker that say nothing: cheap to hold, listed, and alive when they speak again."""

import json
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.scenarios.conftest import StartGateway
from tests.scenarios.echo_sink import echo_sink
from tests.scenarios.harness.configuration import forward
from tests.scenarios.peers_under_test import anonymous_bytes, connect, hear_exactly

SESSIONS = 9_000
WARM = 500
SOURCES = [f"127.0.0.{number}" for number in range(2, 8)]
BYTES_A_SESSION = 4096
_SPARE = 500  # descriptors of the test itself


@pytest.fixture
def sink_port() -> Iterator[int]:
    with echo_sink() as port:
        yield port


@contextmanager
def _descriptors(needed: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * needed:
        pytest.skip(f"a worker needs {2 * needed} descriptors; the hard limit is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_nine_thousand_idle_sessions(
    start_gateway: StartGateway, sink_port: int, record_property: Callable[[str, object], None]
) -> None:
    held: list[socket.socket] = []
    with _descriptors(SESSIONS + _SPARE):
        gateway = start_gateway(forward(sink_port, backlog=4096), gateway={"workers": 1, "access_log": "off"})
        (worker,) = gateway.worker_pids()
        try:
            _hold(held, WARM, gateway.port("forward"))
            before = anonymous_bytes(worker)
            _hold(held, SESSIONS, gateway.port("forward"))
            each = (anonymous_bytes(worker) - before) / (SESSIONS - WARM)
            record_property("bytes_a_session", each)
            assert each < BYTES_A_SESSION
            assert len(json.loads(gateway.command("sessions", "--json").stdout)["sessions"]) == SESSIONS
            assert gateway.metrics()["midmile_sessions_open"] == SESSIONS
            _speak(held)
            assert gateway.worker_pids() == [worker]
        finally:
            for client in held:
                client.close()


def _hold(held: list[socket.socket], count: int, port: int) -> None:
    """Open sessions until there are `count`; each has carried one message both ways."""
    fresh = [connect(port, source=SOURCES[number % len(SOURCES)]) for number in range(len(held), count)]
    held += fresh
    _speak(fresh)


def _speak(clients: list[socket.socket]) -> None:
    """Have each of `clients` say something that no other says, and hear just that."""
    for number, client in enumerate(clients):
        client.sendall(struct.pack("!I", number))
    for number, client in enumerate(clients):
        assert hear_exactly(client, 4) == struct.pack("!I", number)

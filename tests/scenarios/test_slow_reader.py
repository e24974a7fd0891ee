"""A client that does not read stops its destination, and costs neither memory nor anybody else's time."""

import select
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pools.net.pipes import CAPACITY_BYTES
from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward
from tests.scenarios.peers_under_test import (
    CHUNK_BYTES,
    Destination,
    End,
    Heard,
    anonymous_bytes,
    hear,
    hear_exactly,
    pattern,
    session,
)

SLOW = 3
QUICK = 50
OWN_BUFFER_BYTES = 128 * 1024
PIPE_BYTES = CAPACITY_BYTES
MEMORY_BYTES = 1024 * 1024
STILL_S = 0.3
CONTENT = pattern(48_000_000)
Ends = tuple[socket.socket, socket.socket]


@pytest.mark.parametrize("splice", [True, False])
def test_slow_readers_cost_neither_memory_nor_the_time_of_others(
    start_gateway: StartGateway, splice: bool, record_property: Callable[[str, object], None]
) -> None:
    with Destination() as destination, ExitStack() as opened:
        gateway = start_gateway(forward(destination.port), gateway={"workers": 1}, relay={"splice": splice})
        port, (worker,) = gateway.port("forward"), gateway.worker_pids()
        _be_quick(port, destination)
        before = anonymous_bytes(worker)
        slow = [opened.enter_context(_slow_session(port, destination)) for _ in range(SLOW)]
        sent = dict.fromkeys((far for _, far in slow), 0)
        for _ in range(2):  # the second time is for what a busy machine had still to move the first time
            _send_until_nobody_can(sent)
            assert max(sent.values()) <= _bound_bytes()
            assert anonymous_bytes(worker) - before < MEMORY_BYTES
            _be_quick(port, destination)
        record_property("bytes_on_their_way", max(sent.values()))
        record_property("memory_bytes", anonymous_bytes(worker) - before)
        for client, far in slow:
            _get_the_rest(client, far, sent[far])
        assert anonymous_bytes(worker) - before < MEMORY_BYTES


@contextmanager
def _slow_session(port: int, destination: Destination) -> Iterator[Ends]:
    """Open a session whose own two ends buffer little, so that what is in between shows."""
    with session(port, destination) as (client, far):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, OWN_BUFFER_BYTES)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, OWN_BUFFER_BYTES)
        yield client, far


def _writable(fars: list[socket.socket], *, wait_s: float) -> list[socket.socket]:
    return select.select([], fars, [], wait_s)[1]


def _send_until_nobody_can(sent: dict[socket.socket, int]) -> None:
    """Let each send on in CONTENT, from where it was, until none could send more for a while."""
    for far in sent:
        far.setblocking(False)
    while ready := _writable([*sent], wait_s=STILL_S):
        for far in ready:
            sent[far] += far.send(CONTENT[sent[far] : sent[far] + CHUNK_BYTES])
            assert sent[far] < len(CONTENT), "somebody must have stopped reading long before"


def _bound_bytes() -> int:
    """Add up what may hold a byte on its way: our own buffers (the kernel doubles what is asked), theirs, one pipe."""
    theirs = sum(int(Path(f"/proc/sys/net/ipv4/{name}").read_text().split()[2]) for name in ("tcp_rmem", "tcp_wmem"))
    return 2 * 2 * OWN_BUFFER_BYTES + theirs + PIPE_BYTES


def _be_quick(port: int, destination: Destination) -> None:
    for _ in range(QUICK):
        with session(port, destination) as (client, far):
            client.sendall(b"quick")
            assert hear_exactly(far, 5) == b"quick"
            far.sendall(b"done")
            far.close()
            assert hear(client) == Heard(b"done", End.FIN)


def _get_the_rest(client: socket.socket, far: socket.socket, sent: int) -> None:
    far.settimeout(client.gettimeout())
    with ThreadPoolExecutor() as meanwhile:
        heard = meanwhile.submit(hear, client)
        far.sendall(CONTENT[sent:])
        far.shutdown(socket.SHUT_WR)
        client.shutdown(socket.SHUT_WR)
        assert heard.result() == Heard(CONTENT, End.FIN)

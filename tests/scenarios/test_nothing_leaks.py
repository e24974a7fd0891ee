"""Ten thousand sessions of every kind and end through one worker, which afterwards holds what it held before."""

import socket
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward, proxy
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.peers_under_test import (
    LOOPBACK,
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

WARM = 3_000
SESSIONS = 10_000
BATCH = 100
GROWTH_BYTES = 128 * 1024
SOURCES = [f"127.0.0.{number}" for number in range(2, 8)]
LARGE = pattern(100_000)
LARGE_AT_ONCE = BATCH // 10
ANSWERS = {b"q": b"answer", b"h": b"answer", b"l": LARGE}


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a worker holds when it carries nothing."""

    descriptors: int
    greenlets: float
    busy_greenlets: float
    lent_pipes: float
    memory_bytes: int


def test_ten_thousand_sessions_leave_nothing(
    start_gateway: StartGateway, record_property: Callable[[str, object], None]
) -> None:
    with Destination() as destination, refusing() as nowhere:
        gateway = start_gateway(
            forward(destination.port), forward(nowhere, name="refused"), proxy(), gateway={"workers": 1}
        )
        visits = _Visits(gateway, destination)
        visits.go_on(until=WARM)
        before = _at_rest(gateway, sessions=WARM)
        visits.go_on(until=SESSIONS)
        after = _at_rest(gateway, sessions=SESSIONS)
        record_property("grew_bytes", after.memory_bytes - before.memory_bytes)
        assert after.memory_bytes - before.memory_bytes < GROWTH_BYTES
        assert after.descriptors <= before.descriptors + 2 * LARGE_AT_ONCE, "pipes that are kept for the next use"
        assert after.greenlets <= before.greenlets + BATCH, "no more than ever worked at once"
        assert (after.busy_greenlets, after.lent_pipes) == (0, 0)


def _at_rest(gateway: Gateway, *, sessions: int) -> Holdings:
    (worker,) = gateway.worker_pids()

    def is_at_rest() -> bool:
        metrics = gateway.metrics()
        return metrics["midmile_sessions_total"] == sessions and metrics["midmile_sessions_open"] == 0

    gateway.wait_until(is_at_rest, expected=f"all {sessions} sessions are over")
    gateway.expect_rest()
    metrics = gateway.metrics()
    return Holdings(
        psutil.Process(worker).num_fds(),
        metrics["midmile_greenlets"],
        metrics["midmile_greenlets"] - metrics["midmile_greenlets_idle"],
        metrics["midmile_pipes"],
        anonymous_bytes(worker),
    )


class _Visits:
    """Sessions in batches: of each ten, three forwarded, three proxied, one each refused, reset, half-closed, large."""

    def __init__(self, gateway: Gateway, destination: Destination) -> None:
        self._ports = {name: gateway.port(name) for name in ("forward", "refused", "proxy")}
        self._destination = destination
        to = f"{LOOPBACK}:{destination.port}"
        socks = b"\x05\x01\x00\x05\x01\x00\x01" + socket.inet_aton(LOOPBACK) + destination.port.to_bytes(2, "big")
        http = f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode()
        self._kinds = [
            *[("forward", b"", b"q")] * 3,
            *[("proxy", socks, b"q")] * 2,
            ("proxy", http, b"q"),
            ("refused", b"", b""),
            ("forward", b"", b"r"),
            ("forward", b"", b"h"),
            ("forward", b"", b"l"),
        ]
        self._made = 0

    def go_on(self, *, until: int) -> None:
        while self._made < until:
            self._batch()

    def _batch(self) -> None:
        clients = [begun for _ in range(BATCH) if (begun := self._begin())]
        fars = [self._answer() for _ in clients]
        for word, client in clients:
            _leave(word, client)
        for far in fars:
            if far is not None:
                assert hear(far) == Heard(b"", End.RESET)
                far.close()

    def _begin(self) -> tuple[bytes, socket.socket] | None:
        """Make the next visit up to its answer; None where it is over already, because it was refused."""
        listener, preface, word = self._kinds[self._made % len(self._kinds)]
        source = SOURCES[self._made % len(SOURCES)]
        self._made += 1
        if listener == "refused":
            assert visit(self._ports[listener], source=source) == Heard(b"", End.RESET)
            return None
        client = connect(self._ports[listener], source=source)
        client.sendall(preface + word)
        if word == b"h":
            client.shutdown(socket.SHUT_WR)
        return word, client

    def _answer(self) -> socket.socket | None:
        """Answer one session; gives back one that waits for its reset."""
        far = self._destination.accept()
        word = hear_exactly(far, 1)
        if word == b"r":
            return far
        with far:
            if word == b"h":
                assert hear(far) == Heard(b"", End.FIN)
            far.sendall(ANSWERS[word])
        return None


def _leave(word: bytes, client: socket.socket) -> None:
    if word == b"r":
        reset(client)
        return
    with client:
        heard = hear(client)
    assert heard.end is End.FIN
    assert heard.data.endswith(ANSWERS[word])

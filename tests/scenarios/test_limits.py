"""Every limit ends or holds back what is beyond it, and nothing else."""

import socket
import time
from contextlib import ExitStack

from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward, proxy
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.peers_under_test import (
    LOOPBACK,
    Destination,
    End,
    Heard,
    black_hole,
    connect,
    hear,
    hear_exactly,
    is_silent,
    pattern,
    session,
    visit,
)

LIMIT_S = 1.5
LATE_S = 30.0
"""How much later than its limit a session may end on a busy machine; early it may not end at all."""

BURST = pattern(200_000)


def test_sessions_beyond_the_limit_wait_for_room(start_gateway: StartGateway) -> None:
    with Destination() as destination, ExitStack() as opened:
        gateway = start_gateway(forward(destination.port), gateway={"workers": 1}, limits={"sessions": 8})
        clients = [opened.enter_context(connect(gateway.port("forward"))) for _ in range(12)]
        fars = [opened.enter_context(destination.accept()) for _ in range(8)]
        for left in range(8):
            assert is_silent(destination.listener, for_s=0.1)
            fars[left].close()
            clients[left].close()
            if left < 4:
                fars.append(opened.enter_context(destination.accept()))
        for client, far in zip(clients[8:], fars[8:], strict=True):
            far.sendall(b"served")
            assert hear_exactly(client, 6) == b"served"
        gateway.wait_until(lambda: gateway.metrics()["midmile_workers_paused"] == 0, expected="all are accepted")


def test_sessions_of_one_source_are_counted_over_all_workers(start_gateway: StartGateway) -> None:
    with Destination() as destination, ExitStack() as opened:
        gateway = start_gateway(forward(destination.port), gateway={"workers": 2}, limits={"sessions_per_source": 5})
        held = [_admitted(gateway, destination, opened, "127.0.0.9") for _ in range(5)]
        for _ in range(10):
            assert visit(gateway.port("forward"), source="127.0.0.9") == Heard(b"", End.RESET)
        _admitted(gateway, destination, opened, "127.0.0.10")
        for end in held[0]:
            end.close()
        gateway.lines(r" forward 127\.0\.0\.9:\d+ - .* -- ")
        _admitted(gateway, destination, opened, "127.0.0.9")
        assert gateway.metrics()['midmile_sessions_failed_total{reason="source_limit"}'] == 10


def _admitted(
    gateway: Gateway, destination: Destination, opened: ExitStack, source: str
) -> tuple[socket.socket, socket.socket]:
    client = opened.enter_context(connect(gateway.port("forward"), source=source))
    return client, opened.enter_context(destination.accept())


def test_the_idle_limit_spares_who_moves_bytes_copied_or_spliced(start_gateway: StartGateway) -> None:
    with Destination() as destination, ExitStack() as opened:
        gateway = start_gateway(forward(destination.port), gateway={"workers": 1}, timeouts={"idle": LIMIT_S})
        began_s = time.monotonic()
        silent, copying, splicing = (
            opened.enter_context(session(gateway.port("forward"), destination)) for _ in range(3)
        )
        while is_silent(silent[0], for_s=LIMIT_S / 8):
            _move(copying, b".")
            _move(splicing[::-1], BURST)
        assert LIMIT_S <= time.monotonic() - began_s <= LIMIT_S + LATE_S
        assert hear(silent[0]).end is End.RESET
        assert hear(silent[1]).end is End.RESET
        while is_silent(copying[0], for_s=LIMIT_S / 8) and time.monotonic() - began_s < 2.5 * LIMIT_S:
            _move(copying, b".")
            _move(splicing[::-1], BURST)
        assert time.monotonic() - began_s >= 2.5 * LIMIT_S
        metrics = gateway.metrics()
        assert metrics['midmile_sessions_failed_total{reason="idle_timeout"}'] == 1
        assert metrics['midmile_moved_bytes_total{how="splice"}'] > len(BURST)


def _move(ends: tuple[socket.socket, socket.socket], content: bytes) -> None:
    ends[0].sendall(content)
    assert hear_exactly(ends[1], len(content)) == content


SOCKS_GREETING = b"\x05\x01\x00"


def _socks_request(port: int) -> bytes:
    return b"\x05\x01\x00\x01" + socket.inet_aton(LOOPBACK) + port.to_bytes(2, "big")


def test_a_destination_that_does_not_answer_costs_the_connect_limit_and_no_more(start_gateway: StartGateway) -> None:
    with black_hole() as port, ExitStack() as opened:
        gateway = start_gateway(
            forward(port), proxy(), gateway={"workers": 1}, timeouts={"connect": LIMIT_S, "handshake": 60}
        )
        began_s = time.monotonic()
        plain = opened.enter_context(connect(gateway.port("forward")))
        socks, http = (opened.enter_context(connect(gateway.port("proxy"))) for _ in range(2))
        socks.sendall(SOCKS_GREETING + _socks_request(port))
        http.sendall(f"CONNECT {LOOPBACK}:{port} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\n\r\n".encode())
        assert hear(plain) == Heard(b"", End.RESET)
        assert LIMIT_S * 0.9 <= time.monotonic() - began_s <= LIMIT_S + LATE_S
        assert hear(socks) == Heard(b"\x05\x00" + b"\x05\x06\x00\x01" + bytes(6), End.FIN)
        answer = hear(http)
        assert answer.end is End.FIN
        assert answer.data.startswith(b"HTTP/1.1 504 ")
        gateway.lines(r" sC ETIMEDOUT ", count=3)
        assert gateway.metrics()['midmile_sessions_failed_total{reason="connect_timeout"}'] == 3


DRIPS = {
    "socks5": b"\x05\xff" + bytes(range(100)),
    "connect": b"CONNECT " + b"a" * 100,
    "mixed": b"\x05\xff" + bytes(range(100)),
    "proxied": b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80",
}


def test_clients_that_drip_their_request_or_say_nothing_are_ended_at_the_handshake_limit(
    start_gateway: StartGateway,
) -> None:
    asking = [proxy(mode, name=mode) for mode in ("socks5", "connect", "mixed")]
    gateway = start_gateway(
        *asking,
        forward(9, name="proxied", accept_proxy=True),
        gateway={"workers": 1},
        timeouts={"handshake": LIMIT_S},
    )
    with ExitStack() as opened:
        began_s = time.monotonic()
        silent = [opened.enter_context(connect(gateway.port(name))) for name in DRIPS]
        dripping = {opened.enter_context(connect(gateway.port(name))): name for name in DRIPS}
        sent, told = 0, set[socket.socket]()
        while is_silent(silent[0], for_s=LIMIT_S / 16):
            told |= {client for client, name in dripping.items() if not _drip(client, DRIPS[name][sent : sent + 1])}
            sent += 1
        assert {repr(hear(client)) for client in {*silent, *dripping} - told} == {repr(Heard(b"", End.RESET))}
        assert LIMIT_S * 0.9 <= time.monotonic() - began_s <= LIMIT_S + LATE_S
    assert sent >= 3
    gateway.lines(r" cR ETIMEDOUT ", count=2 * len(DRIPS))
    assert gateway.metrics()['midmile_sessions_failed_total{reason="handshake_timeout"}'] == 2 * len(DRIPS)


def _drip(client: socket.socket, byte: bytes) -> bool:
    """Say one more byte; tell whether that could still be done, for a reset may have come since somebody looked."""
    try:
        client.sendall(byte)
    except (ConnectionResetError, BrokenPipeError):
        return False
    return True

"""A connection that breaks on one side breaks on the other, after what came before and never as a clean end."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward
from tests.scenarios.peers_under_test import (
    PATIENCE_S,
    Destination,
    End,
    Heard,
    Talker,
    hear,
    hear_exactly,
    pattern,
    refusing,
    reset,
    session,
    talk,
    visit,
    wait_acknowledged,
)

ROUNDS = 25
SIDES = pytest.mark.parametrize("breaks", ["client", "destination"])


@SIDES
def test_all_that_came_before_a_reset_arrives_before_it(start_gateway: StartGateway, breaks: str) -> None:
    with Destination() as destination:
        gateway = start_gateway(forward(destination.port), gateway={"workers": 1})
        for size in (1, 5_000, 150_000):
            with session(gateway.port("forward"), destination) as ends:
                breaking, other = ends if breaks == "client" else ends[::-1]
                _exchange(breaking, other)
                breaking.sendall(pattern(size))
                wait_acknowledged(breaking)
                reset(breaking)
                assert hear(other) == Heard(pattern(size), End.RESET), "read only after the reset was sent"


def test_a_destination_that_speaks_and_resets_as_soon_as_it_is_connected_was_connected(
    start_gateway: StartGateway,
) -> None:
    with Destination() as destination:
        gateway = start_gateway(forward(destination.port), gateway={"workers": 1})
        for _ in range(ROUNDS):
            with session(gateway.port("forward"), destination) as (client, far):
                far.sendall(b"421 too many of you")
                reset(far)
                assert hear(client) == Heard(b"421 too many of you", End.RESET)


@SIDES
def test_megabytes_before_a_reset_arrive_too(start_gateway: StartGateway, breaks: str) -> None:
    content = pattern(8_000_003)
    with Destination() as destination:
        gateway = start_gateway(forward(destination.port), gateway={"workers": 1})
        with session(gateway.port("forward"), destination) as ends, ThreadPoolExecutor() as meanwhile:
            breaking, other = ends if breaks == "client" else ends[::-1]
            heard = meanwhile.submit(hear, other)
            breaking.sendall(content)
            wait_acknowledged(breaking)
            reset(breaking)
            assert heard.result() == Heard(content, End.RESET)


@SIDES
def test_a_reset_while_data_is_in_flight_both_ways(start_gateway: StartGateway, breaks: str) -> None:
    content = pattern(20_000_000)
    with Destination() as destination:
        gateway = start_gateway(forward(destination.port), gateway={"workers": 1})
        for turn in range(ROUNDS):
            with session(gateway.port("forward"), destination) as ends:
                breaking, other = (Talker(sock, content) for sock in (ends if breaks == "client" else ends[::-1]))
                _reset_after(breaking, other, enough=turn * 40_000)
                talk([other], until=lambda other=other: not other.is_there)  # type: ignore[misc]
                assert other.end is End.RESET
                assert content.startswith(other.heard)


def _exchange(one: socket.socket, other: socket.socket) -> None:
    """Let one byte cross, so that there is a session and not only two connections."""
    one.sendall(b"?")
    assert hear_exactly(other, 1) == b"?"


def _reset_after(breaking: Talker, other: Talker, *, enough: int) -> None:
    """Let both send and read as fast as they can, and break off in the middle."""
    talk([breaking, other], until=lambda: min(len(breaking.heard), len(other.heard)) > enough)
    reset(breaking.sock)


def test_a_refused_destination_is_a_reset_at_once(start_gateway: StartGateway) -> None:
    with refusing() as port:
        gateway = start_gateway(forward(port), gateway={"workers": 1}, timeouts={"connect": PATIENCE_S * 3})
        for greeting in (b"", b"something for the destination"):
            assert visit(gateway.port("forward"), greeting) == Heard(b"", End.RESET), "long before timeouts.connect"
        gateway.lines(r" SC ECONNREFUSED ", count=2)

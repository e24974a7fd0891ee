"""One side has said all it had to say; the other goes on, and both get every byte and then a clean end."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward
from tests.scenarios.peers_under_test import Destination, End, Heard, hear, hear_exactly, is_silent, pattern, session

SIZES = (1, 3_000, 60_000, 8_000_003)  # copied at once, copied, at the edge, spliced
LIMIT_S = 1.5


@pytest.mark.parametrize("first", ["client", "destination"])
def test_what_follows_a_half_close_arrives_whole(start_gateway: StartGateway, first: str) -> None:
    with Destination() as destination:
        gateway = start_gateway(forward(destination.port), gateway={"workers": 1})
        for size in SIZES:
            with session(gateway.port("forward"), destination) as ends:
                early, late = ends if first == "client" else ends[::-1]
                _end_early_then_late(early, late, pattern(size))


def _end_early_then_late(early: socket.socket, late: socket.socket, content: bytes) -> None:
    """The early one's end arrives before the late one says anything, and does not keep it from saying all."""
    early.sendall(b"all I wanted to say")
    early.shutdown(socket.SHUT_WR)
    assert hear(late) == Heard(b"all I wanted to say", End.FIN)
    with ThreadPoolExecutor() as meanwhile:
        heard = meanwhile.submit(hear, early)
        late.sendall(content)
        late.shutdown(socket.SHUT_WR)
        assert heard.result() == Heard(content, End.FIN)


def test_a_half_close_in_the_middle_of_megabytes_the_other_way(start_gateway: StartGateway) -> None:
    there, back = pattern(3_000_001, seed=1), pattern(9_000_001, seed=2)
    with Destination() as destination:
        gateway = start_gateway(forward(destination.port), gateway={"workers": 1})
        with session(gateway.port("forward"), destination) as (client, far), ThreadPoolExecutor() as meanwhile:
            answer = meanwhile.submit(hear_exactly, client, len(back))
            sending = meanwhile.submit(far.sendall, back)
            request = meanwhile.submit(hear, far)
            client.sendall(there)
            client.shutdown(socket.SHUT_WR)
            assert request.result() == Heard(there, End.FIN)
            sending.result()
            assert answer.result() == back
            assert is_silent(client, for_s=0.05), "an end of stream must not run ahead of the one who says it"
            far.shutdown(socket.SHUT_WR)
            assert hear(client) == Heard(b"", End.FIN)


def test_the_limit_ends_silent_half_closed_sessions_and_only_those(start_gateway: StartGateway) -> None:
    with Destination() as destination, ExitStack() as opened:
        gateway = start_gateway(forward(destination.port), gateway={"workers": 1}, timeouts={"half_closed": LIMIT_S})
        port = gateway.port("forward")
        untouched, lively, silent = (opened.enter_context(session(port, destination)) for _ in range(3))
        for client, far in (lively, silent):
            client.shutdown(socket.SHUT_WR)
            assert hear(far) == Heard(b"", End.FIN)
        answers = _answer_until_ended(silent[0], lively)
        assert answers >= 2, "the lively one must have been at it for as long as the silent one lived"
        assert hear(silent[0]).end is End.RESET, "a stream that we cut off must not look complete"
        assert is_silent(untouched[0], for_s=LIMIT_S)
        untouched[0].sendall(b"still here")
        assert hear_exactly(untouched[1], 10) == b"still here"
        assert gateway.metrics()['midmile_sessions_failed_total{reason="half_closed_timeout"}'] == 1


def _answer_until_ended(silent: socket.socket, lively: tuple[socket.socket, socket.socket]) -> int:
    """Let one byte cross the half-closed `lively` session every sixth of the limit, while `silent` is."""
    answers = 0
    while is_silent(silent, for_s=LIMIT_S / 6):
        lively[1].sendall(b".")
        assert hear_exactly(lively[0], 1) == b"."
        answers += 1
    lively[1].sendall(b"!")
    assert hear_exactly(lively[0], 1) == b"!"
    return answers

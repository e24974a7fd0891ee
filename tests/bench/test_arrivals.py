import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.bench.arrivals import Arrivals

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def origin(*, answer: bytes) -> Iterator[tuple[str, int]]:
    """Answer each session once its request is there, and end it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        stopping = threading.Event()

        def serve() -> None:
            while True:
                session, _ = server.accept()
                with session:
                    if stopping.is_set():
                        return
                    session.recv(1000)
                    session.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()
        finally:
            stopping.set()
            socket.create_connection(server.getsockname(), timeout=10).close()
            thread.join(10)
            assert not thread.is_alive()


def test_sessions_come_at_the_rate_and_each_is_timed_to_its_first_byte() -> None:
    with origin(answer=ANSWER) as address, closing(Arrivals(address)) as arrivals:
        told = arrivals.run(rate=200, seconds=0.1)
    assert told["sessions"] == 20
    assert 0 < told["p50_ms"] <= told["p99_ms"]
    assert told["late_p99_ms"] >= 0


def test_a_session_without_an_answer_ends_the_run() -> None:
    with (
        origin(answer=b"") as address,
        closing(Arrivals(address)) as arrivals,
        pytest.raises(ConnectionError, match="without an answer"),
    ):
        arrivals.run(rate=100, seconds=0.02)


def test_a_session_that_nobody_takes_ends_the_run() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    with closing(Arrivals(address)) as arrivals, pytest.raises(ConnectionRefusedError):
        arrivals.run(rate=100, seconds=0.02)

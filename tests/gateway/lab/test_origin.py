import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from gateway.lab import origin
from gateway.lab.payload import payload
from pools.net.endpoint import Endpoint

LIMIT_S = 20.0


@pytest.fixture
def door() -> Iterator[Endpoint]:
    """Run an origin on a thread; it ends with its listener."""
    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, args=(server,))
    thread.start()
    yield Endpoint(*server.getsockname())
    server.shutdown(socket.SHUT_RDWR)
    thread.join(LIMIT_S)
    server.close()
    assert not thread.is_alive()


def serve(server: socket.socket) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        origin.serve(server)


def test_each_request_on_a_connection_is_answered_with_as_many_bytes(door: Endpoint) -> None:
    client = http.client.HTTPConnection(door.host, door.port, timeout=LIMIT_S)
    for size_bytes in (43_000, 1, 300_000):
        client.request("GET", f"/{size_bytes}")
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (200, payload(size_bytes))
    client.close()


@pytest.mark.parametrize("target", ["/", "/many", "/-1", "/1000000001"])
def test_other_targets_are_refused_in_words(door: Endpoint, target: str) -> None:
    client = http.client.HTTPConnection(door.host, door.port, timeout=LIMIT_S)
    client.request("GET", target)
    answer = client.getresponse()
    assert (answer.status, answer.read()[:15]) == (404, b"expected GET /N")
    client.close()


def test_what_is_no_http_is_left_and_the_next_client_is_served(door: Endpoint) -> None:
    with socket.create_connection((door.host, door.port), timeout=LIMIT_S) as stranger:
        stranger.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert stranger.recv(100) == b""
    test_each_request_on_a_connection_is_answered_with_as_many_bytes(door)

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.lab.client import FetchError, fetch
from gateway.lab.payload import payload
from pools.net.endpoint import Endpoint

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: enters a network namespace")

LIMIT_S = 20.0
HERE = Path("/proc/self/ns/net")
SIZE = 10_000


@contextmanager
def answering(*pieces: bytes) -> Iterator[Endpoint]:
    """Answer the first client with these pieces, one after another, and leave."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server, pieces))
        thread.start()
        yield Endpoint(*server.getsockname())
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def answer(server: socket.socket, pieces: tuple[bytes, ...]) -> None:
    sock, _ = server.accept()
    with sock:
        sock.settimeout(LIMIT_S)
        assert sock.recv(1_000).startswith(f"GET /{SIZE} HTTP/1.1\r\n".encode())
        for piece in pieces:
            sock.sendall(piece)


def head(size: int, *, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {size}\r\n\r\n".encode()


def test_times_and_the_curve_are_noted() -> None:
    with answering(head(SIZE), payload(SIZE)[:4_000], payload(SIZE)[4_000:]) as door:
        found = fetch(door, SIZE, HERE)
    assert 0 < found.connected_s <= found.times.first_byte_s <= found.times.all_bytes_s == found.curve.took_s
    sizes = [size for _, size in found.curve.points]
    assert (sizes[0], sizes[-1], sizes) == (0, SIZE, sorted(sizes))


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([head(SIZE), bytes(SIZE)], "expected 10000 bytes that are known; found 10000, and others"),
        ([head(SIZE - 1), payload(SIZE - 1)], "found 9999"),
        ([head(SIZE), payload(SIZE - 1)], "expected 10000 bytes from 127.0.0.1"),
        ([head(SIZE, status="503 Busy")], "expected the status 200; found 503"),
        ([b"\x15\x03\x03\x00\x02\x02\x46\r\n\r\n"], "expected 10000 bytes from"),
        ([], "expected 10000 bytes from"),
    ],
)
def test_what_is_not_the_answer_is_told(pieces: list[bytes], said: str) -> None:
    with answering(*pieces) as door, pytest.raises(FetchError, match=said):
        fetch(door, SIZE, HERE)


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        door = Endpoint(*server.getsockname())
    with pytest.raises(FetchError, match="Connection refused"):
        fetch(door, SIZE, HERE)

"""A destination, and clients that notice every connection that is lost. Between this network's own hosts only."""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

LONG: Final = 40
"""Connections of a load that stay open."""

_PATIENCE_S: Final = 45.0  # a machine with three hosts on it may be slow; what is lost is told at once
_BETWEEN_WORDS_S: Final = 0.2
_BETWEEN_VISITS_S: Final = 0.02
_WORD: Final = b"sixteen bytes..."


@dataclass(slots=True)
class Load:
    """What came of a load.

    Attributes:
        visits: short connections, each new, that were answered.
        words: answered on the long ones.
        lost: what went wrong, with either.
    """

    visits: int = 0
    words: int = 0
    lost: list[str] = field(default_factory=list)


@contextmanager
def destination(address: str, payload: bytes) -> Iterator[tuple[int, int]]:
    """Answer HTTP with `payload`, and on another port give back what comes; gives both ports."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    web = ThreadingHTTPServer((address, 0), Answer)
    echo = _Echo((address, 0), _GiveBack)
    with _serving(web), _serving(echo):
        yield web.server_port, echo.server_address[1]


@contextmanager
def load(address: str, port: int) -> Iterator[Load]:
    """Keep long connections talking and make new ones all the time, until the block ends; then all must be there."""
    seen, enough = Load(), threading.Event()
    kept = [socket.create_connection((address, port), timeout=_PATIENCE_S) for _ in range(LONG)]
    threads = [threading.Thread(target=_talk, args=(kept, seen, enough))]
    threads += [threading.Thread(target=_visit, args=((address, port), seen, enough)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        enough.set()
        for thread in threads:
            thread.join()
        for connection in kept:
            _noting(seen, "at its end", partial(_end, connection))


class _Echo(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512


class _GiveBack(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _talk(kept: list[socket.socket], seen: Load, enough: threading.Event) -> None:
    while not enough.wait(_BETWEEN_WORDS_S):
        for number, connection in enumerate(list(kept)):
            if _noting(seen, f"long connection {number}", partial(_exchange, connection)):
                seen.words += 1
            else:
                kept.remove(connection)


def _visit(where: tuple[str, int], seen: Load, enough: threading.Event) -> None:
    def visit() -> None:
        with socket.create_connection(where, timeout=_PATIENCE_S) as connection:
            _exchange(connection)
            _end(connection)

    while not enough.wait(_BETWEEN_VISITS_S):
        seen.visits += _noting(seen, "new connection", visit)


def _exchange(connection: socket.socket) -> None:
    connection.sendall(_WORD)
    missing = len(_WORD)
    while missing:
        got = len(connection.recv(missing))
        if not got:
            raise ConnectionError("ended")
        missing -= got


def _end(connection: socket.socket) -> None:
    with connection:
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(1):
            raise ConnectionError("more than was said")


def _noting(seen: Load, what: str, act: Callable[[], None]) -> bool:
    try:
        act()
    except OSError as error:
        seen.lost.append(f"{what}: {str(error) or type(error).__name__}")
        return False
    return True

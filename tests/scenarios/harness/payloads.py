"""Large payloads: written and hashed as a stream, so that no test holds one in memory."""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

_BLOCK = 1 << 20


def write(path: Path, size: int) -> str:
    """Write a file of `size` bytes, a multiple of 1 MiB, no two blocks of which are alike; give its SHA-256.

    The blocks share random content, as that costs time, and each begins with its number: one that is lost, doubled or
    out of place changes the sum.
    """
    assert size % _BLOCK == 0, size
    content, digest = os.urandom(_BLOCK - 8), hashlib.sha256()
    with path.open("wb") as file:
        for number in range(size // _BLOCK):
            block = number.to_bytes(8, "big") + content
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


def sha256(path: Path) -> str:
    """Give the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def http_sink() -> Iterator[int]:
    """Serve on a port of 127.0.0.1, which it gives: a PUT is answered with the SHA-256 of its body."""
    with HTTPServer(("127.0.0.1", 0), _Sink) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            serving.join()


class _Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        digest, left, buffer = hashlib.sha256(), int(self.headers["Content-Length"]), memoryview(bytearray(_BLOCK))
        while left:
            size = self.rfile.readinto(buffer[: min(left, _BLOCK)])
            digest.update(buffer[:size])
            left -= size
            if not size:
                break  # cut short; the sum will tell
        answer = digest.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the gateway's log tells of the session."""

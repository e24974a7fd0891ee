"""One session as the bench's own loads hold it: a plain socket that asks the HTTP origin and knows its answer's size.

The answer of the origin always has the same size, so counting bytes is enough to tell answers apart.
"""

import socket
from dataclasses import dataclass

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
_BIND_ADDRESS_NO_PORT = (
    24  # IP_BIND_ADDRESS_NO_PORT, linux/in.h: connect() chooses the port, so one may serve many peers
)
_ANSWER_S = 10.0
_ANSWER_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Session:
    """An open session; the holder closes the socket.

    Attributes:
        answer_size: bytes of one whole answer, head and body.
    """

    sock: socket.socket
    answer_size: int

    def close(self) -> None:
        """End the session in the normal way, by FIN."""
        self.sock.close()


def open_session(port: int, *, source: str = "127.0.0.1") -> Session:
    """Open a session from address `source` that has carried one request and its answer: both of its legs stand.

    Raises:
        OSError: nobody took it, or the answer did not come in time.
    """
    sock = socket.socket()
    sock.settimeout(_ANSWER_S)
    sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", port))
        sock.sendall(REQUEST)
        return Session(sock, _answer_size(sock))
    except OSError:
        sock.close()
        raise


def _answer_size(sock: socket.socket) -> int:
    answer = b""
    while len(answer) < (size := expected_size(answer)):
        part = sock.recv(_ANSWER_LIMIT)
        if not part:
            raise ConnectionError(f"the session ended after {len(answer)} bytes of an answer")
        answer += part
    return size


def expected_size(answer: bytes) -> int:
    """Give the size of the whole answer that begins with these bytes; the limit of 4096 while its head is not whole."""
    head, end, _ = answer.partition(b"\r\n\r\n")
    if not end:
        return _ANSWER_LIMIT
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return len(head) + len(end) + int(fields[b"content-length"])

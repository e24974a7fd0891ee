"""The lab's origin: an HTTP/1.1 server that answers GET /N with N bytes. A process of its own.

`python -m gateway.lab.origin ADDRESS PORT`
"""

import socket
import sys
import threading
from typing import Final

import h11

from gateway.lab.payload import payload

_BACKLOG: Final = 128
_READ_BYTES: Final = 65_536
_AT_ONCE: Final = 1_000_000
_MOST_BYTES: Final = 1_000_000_000
_DIGITS: Final = 10


def serve(server: socket.socket) -> None:
    """Take clients in for ever, each on a thread of its own."""
    while True:
        sock, _ = server.accept()
        threading.Thread(target=_attend, args=(sock,), daemon=True).start()


def _attend(sock: socket.socket) -> None:
    try:
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _converse(sock, h11.Connection(h11.SERVER))
    except (OSError, h11.ProtocolError):
        return  # the client has left, or is none


def _converse(sock: socket.socket, connection: h11.Connection) -> None:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(sock.recv(_READ_BYTES))
        elif isinstance(event, h11.Request):
            size = event.target.removeprefix(b"/")
        elif isinstance(event, h11.EndOfMessage):
            _answer(sock, connection, size)
            connection.start_next_cycle()
        elif isinstance(event, h11.ConnectionClosed):
            return


def _answer(sock: socket.socket, connection: h11.Connection, size: bytes) -> None:
    """Send the whole answer: its head with what follows, or it would take a packet of the first window for itself.

    What is far behind is not copied, which would hold up what is in front.
    """
    found = size.isdigit() and len(size) <= _DIGITS and int(size) <= _MOST_BYTES
    body = payload(int(size)) if found else b"expected GET /N, N being how many bytes to send\n"
    head = connection.send(
        h11.Response(status_code=200 if found else 404, headers=[("content-length", str(len(body)))])
    )
    connection.send_with_data_passthrough(h11.Data(data=body))
    connection.send(h11.EndOfMessage())
    sock.sendall((head or b"") + body[:_AT_ONCE])
    sock.sendall(memoryview(body)[_AT_ONCE:])


def main(argv: list[str]) -> int:
    """Serve on the address and port that follow."""
    with socket.create_server((argv[1], int(argv[2])), backlog=_BACKLOG) as server:
        print("listening", flush=True)
        serve(server)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""A destination for thousands of sessions, in a process of its own: says its port, then sends back whatever comes.

`python -m tests.scenarios.echo_sink`; ends when its standard input does.
"""

import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.scenarios.harness.programs import ROOT


@contextmanager
def echo_sink() -> Iterator[int]:
    """Run one in a process of its own, which needs as many descriptors as its test; gives its port of 127.0.0.1."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.scenarios.echo_sink"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


class EchoSink:
    """One epoll over the listening socket, standard input, and every connection."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._connections: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)
        self._epoll.register(sys.stdin, select.EPOLLIN)

    def run(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                if fd == sys.stdin.fileno():
                    return
                if fd == self._listener.fileno():
                    self._accept()
                else:
                    self._echo(self._connections[fd])

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        self._connections[connection.fileno()] = connection
        self._epoll.register(connection, select.EPOLLIN)

    def _echo(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65_536)
            connection.sendall(data)
        except ConnectionError:  # EPIPE, too: reset after its end
            data = b""
        if not data:
            del self._connections[connection.fileno()]
            connection.close()


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        print(listener.getsockname()[1], flush=True)
        EchoSink(listener).run()


if __name__ == "__main__":
    main()

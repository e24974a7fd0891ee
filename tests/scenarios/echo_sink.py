"""A destination for thousands of sessions, in a process of its own: says its port, then sends back whatever comes.

`python -m tests.scenarios.echo_sink [HOST [PORT ...]]`; ends when its standard input does.
"""

import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.scenarios.harness.programs import ROOT


@contextmanager
def echo_sink(host: str = "127.0.0.1", *ports: int) -> Iterator[int]:
    """Run one in a process of its own, which needs as many descriptors as its test; gives its port, or its first."""
    argv = [sys.executable, "-m", "tests.scenarios.echo_sink", host, *map(str, ports)]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


class EchoSink:
    """One epoll over the listening sockets, standard input, and every connection."""

    def __init__(self, *listeners: socket.socket) -> None:
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._connections: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        for listener in listeners:
            self._epoll.register(listener, select.EPOLLIN)
        self._epoll.register(sys.stdin, select.EPOLLIN)

    def run(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                if fd == sys.stdin.fileno():
                    return
                if fd in self._listeners:
                    self._accept(self._listeners[fd])
                else:
                    self._echo(self._connections[fd])

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
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
    host, *ports = sys.argv[1:] or ["127.0.0.1"]
    with ExitStack() as held:
        found = [held.enter_context(socket.create_server((host, int(port)), backlog=4096)) for port in ports or ["0"]]
        print(found[0].getsockname()[1], flush=True)
        EchoSink(*found).run()


if __name__ == "__main__":
    main()

"""The ways of relaying that are compared, ready for use: none, a gateway that copies, one that splices, a sockmap.

All on one host, whose loopback device nobody else uses.
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Final, Self

import psutil

from gateway.lab.bulk import Ends
from gateway.lab.network_namespace import entered
from gateway.lab.programs import Programs
from gateway.lab.sockmap import Sockmap
from gateway.lab.wan import Wan
from pools.net.clock import monotonic_s

DIRECT: Final = "no relay"
COPY: Final = "copy"
SPLICE: Final = "splice"
SOCKMAP: Final = "sockmap"
_SITE: Final = "relay"
_HOST: Final = "127.0.0.1"
_SINK_PORT: Final = 8080
_SOCKMAP_PORT: Final = 8403
_GATEWAYS: Final = {COPY: (8401, "false"), SPLICE: (8402, "true")}
_READY_S: Final = 30.0
_PATIENCE_S: Final = 10.0
_CONFIGURATION: Final = """\
[gateway]
name = "{name}"
workers = 1
runtime_dir = "{directory}/{name}"
[admin]
http = "off"
[timeouts]
drain = 1
[relay]
splice = {splice}
[[listen]]
name = "bulk"
mode = "forward"
bind = "{host}:{port}"
to = "{host}:{sink_port}"
"""


class RelayWays:
    """All of them, on a host of their own. A context manager.

    Raises:
        StartError: a right is missing, or something of the system.
    """

    def __init__(self) -> None:
        with ExitStack() as undo:
            self._wan = undo.enter_context(Wan([_SITE], {}))
            self._programs = undo.enter_context(Programs())
            self._sink = undo.enter_context(self._server(_SINK_PORT))
            self._pids = {name: self._start(name, port, splice) for name, (port, splice) in _GATEWAYS.items()}
            for name in _GATEWAYS:
                self._programs.wait_said(name, "supervisor info: ready: ", until_s=monotonic_s() + _READY_S)
            self._undo = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._undo.close()

    @contextmanager
    def open(self, how: str) -> Iterator[Ends]:
        """Open a session that is relayed in this way, for as long as the block lasts.

        Raises:
            SockmapUnavailable: this host does not have that.
        """
        with ExitStack() as held:
            if how == SOCKMAP:
                sender = self._joined(held)
            else:
                sender = self._connected(_GATEWAYS[how][0] if how in _GATEWAYS else _SINK_PORT)
            yield held.enter_context(Ends(sender, _accepted(self._sink)))

    def own_cpu_s(self, how: str) -> float | None:
        """Give the processor time that the processes of a way have used so far; None for one that has none."""
        if how not in self._pids:
            return None
        root = psutil.Process(self._pids[how])
        return sum(sum(each.cpu_times()[:2]) for each in (root, *root.children(recursive=True)))

    def _start(self, name: str, port: int, splice: str) -> int:
        terms = {"name": name, "port": port, "splice": splice, "host": _HOST, "sink_port": _SINK_PORT}
        text = _CONFIGURATION.format(directory=self._programs.directory, **terms)
        file = self._programs.write(f"{name}.toml", text)
        argv = [sys.executable, "-m", "gateway.cli", "start", "--config", str(file)]
        return self._programs.start(name, argv, self._wan.namespace(_SITE))

    def _joined(self, held: ExitStack) -> socket.socket:
        """Do by hand what a relay does to set up a session, and leave the rest to the kernel."""
        with self._server(_SOCKMAP_PORT) as server:
            sender = self._connected(_SOCKMAP_PORT)
            inbound = held.enter_context(_accepted(server))
        outbound = held.enter_context(self._connected(_SINK_PORT))
        try:
            held.enter_context(Sockmap(inbound, outbound))
        except BaseException:
            sender.close()
            _accepted(self._sink).close()
            raise
        return sender

    def _server(self, port: int) -> socket.socket:
        with entered(self._wan.namespace(_SITE)):
            return socket.create_server((_HOST, port))

    def _connected(self, port: int) -> socket.socket:
        with entered(self._wan.namespace(_SITE)):
            return socket.create_connection((_HOST, port), timeout=_PATIENCE_S)


def _accepted(server: socket.socket) -> socket.socket:
    server.settimeout(_PATIENCE_S)
    sock, _ = server.accept()
    return sock

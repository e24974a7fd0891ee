"""The supervisor's end of the control socket: one request and one reply a connection, never waiting for an operator.

What a request means is in `answers`. Only the gateway's own user and root are heard, whoever may open the socket.
"""

import errno
import logging
import math
import os
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.peer_process import peer_process
from pools.net.clock import monotonic_s
from pools.net.errors import ProtocolError, StartError
from workers.operator_wire import FrameReader, frame

REQUEST_LIMIT: Final = 4096
REQUEST_S: Final = 5.0
"""How long an operator may take to say what is wanted."""

CONNECTIONS_LIMIT: Final = 16

PAUSE_S: Final = 0.5
"""How long nobody is let in after there was no descriptor for one; workers wait as long."""

_log = logging.getLogger(__name__)

Reply = dict[str, Any]


class Later:
    """A reply that is not known yet. Whoever answers keeps it and gives the reply once there is one."""

    def __init__(self) -> None:
        self._known: Reply | None = None
        self._send: Callable[[Reply], None] | None = None

    def reply(self, reply: Reply) -> None:
        """Give the reply, once. An operator who has left meanwhile is no error."""
        self._known = reply
        if self._send is not None:
            self._send(reply)

    def attach(self, send: Callable[[Reply], None]) -> None:
        """Say who sends it: for the server."""
        self._send = send
        if self._known is not None:
            send(self._known)


Answer = Callable[[Any, socket.socket], Reply | Later | None]
"""Takes a request and its connection; gives the reply, now or later, or None where the connection was passed on."""


class ControlServer:
    """Reads requests and writes replies. Owns the listening socket and every connection.

    Args:
        listener: from `open_listener`.
        selector: each key's data is called without arguments when its descriptor is ready. Borrowed.

    Attributes:
        answer: who answers; must not wait. Set before `start`.
    """

    answer: Answer

    def __init__(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        self._listener = listener
        self._selector = selector
        self._deadlines_s: dict[socket.socket, float] = {}
        self._resume_s: float | None = None  # while there was no descriptor for who came last

    def start(self) -> None:
        """Let operators in."""
        self._listener.listen(CONNECTIONS_LIMIT)  # once more: who did last is whom operators take for the supervisor
        self._selector.register(self._listener, selectors.EVENT_READ, self._on_connection)

    def retire(self) -> None:
        """Let in nobody more: another supervisor does. Whoever waits for an answer still gets it."""
        if self._resume_s is None:
            self._selector.unregister(self._listener)
        self._resume_s = None
        self._listener.close()

    def fileno(self) -> int:
        """Give the listening socket's descriptor."""
        return self._listener.fileno()

    def turn(self, now_s: float) -> None:
        """Drop connections whose operator took too long; those that wait for us may wait. Let in who had to wait."""
        if self._resume_s is not None and self._resume_s <= now_s:
            self._resume_s = None
            self._selector.register(self._listener, selectors.EVENT_READ, self._on_connection)
        for connection in [each for each, deadline_s in self._deadlines_s.items() if deadline_s <= now_s]:
            self._drop(connection)

    def close(self) -> None:
        """Close every descriptor and nothing else, so that a forked child may call it too."""
        self._listener.close()
        for connection in self._deadlines_s:
            connection.close()

    def _on_connection(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:  # gone again, or no descriptor left: the operator sees it, the gateway goes on
            _log.warning("control socket: cannot accept: %s", error)
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._pause()
            return
        if not _is_trusted(connection) or len(self._deadlines_s) >= CONNECTIONS_LIMIT:
            connection.close()
            return
        connection.setblocking(False)
        self._deadlines_s[connection] = monotonic_s() + REQUEST_S
        on_bytes = partial(self._on_bytes, connection, FrameReader(REQUEST_LIMIT))
        self._selector.register(connection, selectors.EVENT_READ, on_bytes)

    def _pause(self) -> None:
        """Look away for a while: who came is still there, and would be announced at every turn of the loop."""
        self._selector.unregister(self._listener)
        self._resume_s = monotonic_s() + PAUSE_S

    def _on_bytes(self, connection: socket.socket, reader: FrameReader) -> None:
        if connection not in self._deadlines_s:
            return  # dropped earlier in this turn of the loop
        if self._waits(connection):  # and says something or leaves, which is all the same: it is out of turn
            self._drop(connection)
            return
        try:
            received = connection.recv(REQUEST_LIMIT)
            request = next(reader.feed(received), None)
        except (OSError, ProtocolError) as error:
            _log.warning("control socket: %s", error)
            self._drop(connection)
            return
        if request is not None:
            self._answered(connection, self.answer(request, connection))
        elif not received:
            self._drop(connection)

    def _answered(self, connection: socket.socket, reply: Reply | Later | None) -> None:
        if isinstance(reply, Later):
            self._deadlines_s[connection] = math.inf
            reply.attach(partial(self._reply, connection))
        elif reply is None:
            self._drop(connection)
        else:
            self._reply(connection, reply)

    def _reply(self, connection: socket.socket, reply: Reply) -> None:
        if connection not in self._deadlines_s:
            return  # the operator has left
        with suppress(OSError):  # the operator left; a reply always fits an empty socket's buffer
            connection.send(frame(reply))
        self._drop(connection)

    def _waits(self, connection: socket.socket) -> bool:
        return self._deadlines_s[connection] == math.inf

    def _drop(self, connection: socket.socket) -> None:
        del self._deadlines_s[connection]
        self._selector.unregister(connection)
        connection.close()


def open_listener(path: Path) -> socket.socket:
    """Listen on `path`, for this user alone. The caller owns the socket, and the file.

    Raises:
        StartError: the path is too long (107 bytes, unix(7)), or the directory does not let us.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
        listener.listen(CONNECTIONS_LIMIT)
    except OSError as error:
        listener.close()
        raise StartError(f"control socket {path}: {error}") from error
    finally:
        os.umask(before)
    return listener


def _is_trusted(connection: socket.socket) -> bool:
    peer = peer_process(connection)
    if peer.uid in (0, os.geteuid()):
        return True
    _log.warning("control socket: refused %s", peer)
    return False

"""Writes the live sessions to an operator's connection without holding up the sessions themselves."""

import logging
import socket
from collections.abc import Sequence
from typing import Final

import gevent

from pools.net.readiness import Readiness
from pools.net.sockopts import Socket
from pools.net.stream import StreamFailed
from workers.operator_wire import ROWS_PER_FRAME, row_frames
from workers.session import Session
from workers.session_record import row_of

_log = logging.getLogger(__name__)

_PATIENCE_S: Final = 10.0


def send_listing(descriptor: int, sessions: Sequence[Session], *, readiness: Readiness) -> None:
    """Write one row for each of `sessions` that still lives when its turn comes; in a greenlet of its own.

    Args:
        descriptor: a connected AF_UNIX stream, ours from here on.
    """
    sock = Socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0, descriptor)
    sock.setblocking(False)
    stream = readiness.open(sock)
    try:
        with gevent.Timeout(_PATIENCE_S):
            for start in range(0, len(sessions), ROWS_PER_FRAME):
                portion = [row_of(session) for session in sessions[start : start + ROWS_PER_FRAME] if session.lives]
                for piece in row_frames(portion):
                    stream.send_all(piece)
                readiness.take_turns()
    except (StreamFailed, gevent.Timeout) as error:
        _log.info("the operator's list of sessions ended early: %s", error)
    finally:
        stream.close()

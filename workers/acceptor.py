"""Accepts what the kernel deals to this worker's shard, and stops while there is no room for more.

A paused worker leaves connections in the kernel's queue, where they wait; nothing is refused. What becomes of a
connection is the session's affair.
"""

import errno
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final

import gevent

from pools.net.clock import monotonic_s
from pools.net.listening import AcceptError, NothingToAccept, accept, has_descriptors_left
from pools.net.rate_limit import OncePer
from pools.net.readiness import Readiness
from pools.net.scoreboard import Cell, Row
from workers.sessions import Sessions

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 64  # accepted before the sessions there are have their turn
_PAUSE_S: Final = 0.5  # after the kernel ran out of something; nginx waits as long (accept_mutex_delay)
_WARN_EVERY_S: Final = 10.0


class Acceptor:
    """The listening sockets of one worker, which it owns from here on; sessions go to `sessions`.

    Args:
        room: sessions this worker may hold.
        row: where pauses and errors are counted.
    """

    def __init__(
        self, sockets: Sequence[socket.socket], *, sessions: Sessions, readiness: Readiness, room: int, row: Row
    ) -> None:
        self._sockets = tuple(sockets)
        self._sessions = sessions
        self._readiness = readiness
        self._room = room
        self._row = row
        self._stops: list[Callable[[], None]] = []
        self._resume = gevent.get_hub().loop.timer(_PAUSE_S, _PAUSE_S)
        self._resting = False
        self._closed = False
        self._warn = OncePer(_WARN_EVERY_S)
        sessions.on_end = self._room_again
        sessions.on_exhausted = self._exhausted
        row[Cell.SESSIONS_LIMIT] = room

    def start(self) -> None:
        """Accept from now on; in the hub or before it runs."""
        self._stops = [
            self._readiness.watch(sock.fileno(), lambda index=index: self._accept(index))  # type: ignore[misc]
            for index, sock in enumerate(self._sockets)
        ]
        self._row[Cell.ACCEPT_PAUSED] = 0

    def close(self) -> None:
        """Take what already waits in the queues, then accept nothing more and close this worker's listeners.

        Newcomers are refused once the supervisor has closed its copies, instead of being accepted by the kernel and
        reset with the last copy.
        """
        for index in range(len(self._sockets)) if self._stops else ():
            self._accept(index)
        self._closed = True
        self._stop()
        for listener in self._sockets:
            listener.close()
        self._resume.stop()
        self._resume.close()

    def _accept(self, index: int) -> None:
        listener = self._sockets[index]
        for _ in range(_AT_ONCE):
            if self._sessions.live >= self._room:
                self._pause(f"{self._room} sessions, as many as this worker may hold")
                return
            try:
                sock, client = accept(listener)
            except NothingToAccept:
                return
            except AcceptError as error:
                self._failed(error)
                return
            self._sessions.begin(self._readiness.open(sock), client=client, listen_index=index)
            if self._resting:
                return

    def _failed(self, error: AcceptError) -> None:
        self._row.add(Cell.ACCEPT_ERRORS)
        if error.exhausted:
            self._rest(str(error))

    def _exhausted(self, number: int) -> None:
        """Stop before all who wait are accepted only to be reset, because a leg could not be dialled."""
        self._rest(f"cannot dial: {errno.errorcode[number]}")

    def _rest(self, reason: str) -> None:
        if not self._resting and not self._closed:
            self._resting = True
            self._pause(reason)
            self._resume.again(self._rested)  # `start` would go on with what was left of the last time: nothing

    def _pause(self, reason: str) -> None:
        self._stop()
        self._row.add(Cell.ACCEPT_PAUSES)
        self._row[Cell.ACCEPT_PAUSED] = 1
        if self._warn.allow(monotonic_s()):
            _log.warning("accepts nothing for now: %s (%d such pauses not shown)", reason, self._warn.suppressed)

    def _stop(self) -> None:
        while self._stops:
            self._stops.pop()()

    def _rested(self) -> None:
        if has_descriptors_left():
            self._resume.stop()
            self._resting = False
            self._room_again()

    def _room_again(self) -> None:
        if not self._stops and not self._resting and not self._closed and self._sessions.live < self._room:
            self.start()

"""Accepts what the kernel deals to this worker's shard, and stops while there is no room for more.

A paused worker leaves connections in the kernel's queue, where they wait; nothing is refused. What becomes of a
connection is the session's affair, or the overlay's where another gateway comes in.
"""

import errno
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import gevent

from pools.leg import PoolLeg
from pools.net.clock import monotonic_s
from pools.net.listening import AcceptError, NothingToAccept, accept, has_descriptors_left
from pools.net.rate_limit import OncePer
from pools.net.readiness import Readiness
from pools.net.resolver import SocketAddress
from pools.net.scoreboard import Cell, Row
from pools.net.sockopts import Socket
from workers.overlay import Overlay
from workers.sessions import Sessions
from workers.settings import Mode

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 64  # accepted before the sessions there are have their turn
_PAUSE_S: Final = 0.5  # after the kernel ran out of something; nginx waits as long (accept_mutex_delay)
_WARN_EVERY_S: Final = 10.0


class Acceptor:
    """The listening sockets of one worker, which it owns from here on; sessions go to `sessions`.

    Peers are let in also while there is no room for sessions: they hear so when they ask for one.

    Args:
        sockets: one for each of the listeners that `sessions` has.
        room: sessions this worker may hold.
        row: where pauses and errors are counted.
        overlay: takes what comes in where the mode is Mode.OVERLAY; None where there is no such listener.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        *,
        sessions: Sessions,
        readiness: Readiness,
        room: int,
        row: Row,
        overlay: Overlay | None = None,
    ) -> None:
        self._sockets = tuple(sockets)
        self._sessions = sessions
        self._overlay = overlay
        self._gates = frozenset(index for index, listen in enumerate(sessions.listens) if listen.mode is Mode.OVERLAY)
        self._readiness = readiness
        self._room = room
        self._row = row
        self._stops: dict[int, Callable[[], None]] = {}  # of the listeners that are watched, by their index
        self._resume = gevent.get_hub().loop.timer(_PAUSE_S, _PAUSE_S)
        self._paused = False
        self._resting = False
        self._closed = False
        self._warn = OncePer(_WARN_EVERY_S)
        sessions.on_end = self._room_again
        sessions.on_exhausted = self._exhausted
        row[Cell.SESSIONS_LIMIT] = room

    def start(self) -> None:
        """Accept from now on; in the hub or before it runs."""
        self._watch(range(len(self._sockets)))
        self._paused = False
        self._row[Cell.ACCEPT_PAUSED] = 0

    def takes(self, index: int, besides: int) -> bool:
        """Tell whether a session at the listener `index` would be accepted now, `besides` so many that are to come."""
        return index in self._stops and self._sessions.live + besides < self._room

    def close(self) -> None:
        """Take what already waits in the queues, then accept nothing more and close this worker's listeners.

        Newcomers are refused once the supervisor has closed its copies, instead of being accepted by the kernel and
        reset with the last copy.
        """
        for index in tuple(self._stops):
            self._accept(index)
        self._closed = True
        self._stop(range(len(self._sockets)))
        for listener in self._sockets:
            listener.close()
        self._resume.stop()
        self._resume.close()

    def _accept(self, index: int) -> None:
        listener = self._sockets[index]
        for _ in range(_AT_ONCE):
            if self._sessions.live >= self._room and index not in self._gates:
                self._full()
                return
            try:
                sock, client = accept(listener)
            except NothingToAccept:
                return
            except AcceptError as error:
                self._failed(error)
                return
            if index in self._gates:
                self._let_in(sock, client)
            else:
                self._sessions.begin(self._readiness.open(sock), client=client, listen_index=index)
            if self._resting:
                return

    def _let_in(self, sock: Socket, client: SocketAddress) -> None:
        if self._overlay is None:
            sock.close()
        else:
            self._overlay.accept(self._readiness.open(sock, PoolLeg), client)

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
            self._pause(reason, range(len(self._sockets)))
            self._resume.again(self._rested)  # `start` would go on with what was left of the last time: nothing

    def _full(self) -> None:
        reason = f"{self._room} sessions, as many as this worker may hold"
        self._pause(reason, [index for index in self._stops if index not in self._gates])

    def _pause(self, reason: str, indices: Iterable[int]) -> None:
        self._stop(indices)
        self._paused = True
        self._row.add(Cell.ACCEPT_PAUSES)
        self._row[Cell.ACCEPT_PAUSED] = 1
        if self._warn.allow(monotonic_s()):
            _log.warning("accepts nothing for now: %s (%d such pauses not shown)", reason, self._warn.suppressed)

    def _watch(self, indices: Iterable[int]) -> None:
        for index in indices:
            if index not in self._stops:
                self._stops[index] = self._readiness.watch(self._sockets[index].fileno(), partial(self._accept, index))

    def _stop(self, indices: Iterable[int]) -> None:
        for index in indices:
            if index in self._stops:
                self._stops.pop(index)()

    def _rested(self) -> None:
        if has_descriptors_left():
            self._resume.stop()
            self._resting = False
            self._watch(self._gates)
            self._room_again()

    def _room_again(self) -> None:
        if self._paused and not self._resting and not self._closed and self._sessions.live < self._room:
            self.start()

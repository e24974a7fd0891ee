"""Accepts what the kernel deals to this worker's shard, and stops while there is no room for more.

A paused worker leaves connections in the kernel's queue, where they wait; nothing is refused. So does one that retires:
it goes on until nobody waits any more. What becomes of a connection is the session's affair, or the overlay's where
another gateway comes in.
"""

import errno
import logging
import socket
from collections.abc import Callable, Container, Iterable, Sequence
from functools import partial
from typing import Any, Final

import gevent

from pools.leg import PoolLeg
from pools.net.clock import monotonic_s
from pools.net.listening import AcceptError, NothingToAccept, accept, has_descriptors_left, has_waiting
from pools.net.rate_limit import OncePer
from pools.net.readiness import Readiness
from pools.net.resolver import SocketAddress
from pools.net.scoreboard import Cell, Row
from pools.net.sockopts import Socket
from workers.overlay import Overlay
from workers.sessions import Sessions
from workers.settings import Mode
from workers.tally import Tally

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 64  # accepted before the sessions there are have their turn
_PAUSE_S: Final = 0.5  # after the kernel ran out of something; nginx waits as long (accept_mutex_delay)
_WARN_EVERY_S: Final = 10.0


class Acceptor:
    """The listening sockets of one service, which it owns from here on; sessions go to `sessions`.

    Peers are let in also while there is no room for sessions: they hear so when they ask for one.

    Args:
        sockets: one for each of the listeners that `sessions` has.
        tally: knows how many sessions the worker has, whoever accepted them.
        room: sessions this worker may hold.
        row: where pauses and errors are counted.
        overlay: takes what comes in where the mode is Mode.OVERLAY; None where there is no such listener.
    """

    def __init__(  # noqa: PLR0913  # where connections come from, where they go, and how many may
        self,
        sockets: Sequence[socket.socket],
        *,
        sessions: Sessions,
        tally: Tally,
        readiness: Readiness,
        room: int,
        row: Row,
        overlay: Overlay | None = None,
    ) -> None:
        self._sockets = dict(enumerate(sockets))  # those that are open
        self._sessions = sessions
        self._tally = tally
        self._overlay = overlay
        self._gates = frozenset(index for index, listen in enumerate(sessions.listens) if listen.mode is Mode.OVERLAY)
        self._readiness = readiness
        self._room = room
        self._row = row
        self._take: Callable[[int], None] = self._accept
        self._stops: dict[int, Callable[[], None]] = {}  # of the listeners that are watched, by their index
        self._resume = gevent.get_hub().loop.timer(_PAUSE_S, _PAUSE_S)
        self._ending: Any = None  # the timer of one that retires
        self._paused = False
        self._resting = False
        self._warn = OncePer(_WARN_EVERY_S)
        sessions.on_end = self.room_again
        sessions.on_exhausted = self._exhausted
        row[Cell.SESSIONS_LIMIT] = room

    def start(self) -> None:
        """Accept from now on; in the hub or before it runs."""
        self._watch(self._sockets)
        self._set_paused(False)

    def takes(self, index: int, besides: int) -> bool:
        """Tell whether a session at the listener `index` would be accepted now, `besides` so many that are to come."""
        return index in self._stops and self._tally.live + besides < self._room

    @property
    def is_closed(self) -> bool:
        """Whether nothing is accepted any more, nor will be."""
        return not self._sockets

    def room_again(self) -> None:
        """Go on if there is room again for a session; after each that ends."""
        if self._paused and not self._resting and self._sockets and self._tally.live < self._room:
            self.start()

    def retire(self, *, linger_s: float, elsewhere: Container[int] = ()) -> None:
        """Give the listeners up; `is_closed` says when it is done. Sessions that were accepted are not touched.

        Those at the indices `elsewhere`, and all of them without `linger_s`, live on in other processes, or in another
        service of this one: they are left at once, with whoever waits there. From the others all that comes is accepted
        for `linger_s` seconds, as handshakes end that had begun; then all that still waits, as there is room for it.
        Nobody is refused so, if whoever has the other copies sees to it that no new ones come.
        """
        for index in tuple(self._sockets):
            if linger_s <= 0 or index in elsewhere:
                self._leave(index)
        if self._sockets and self._ending is None:
            self._ending = gevent.get_hub().loop.timer(linger_s, _PAUSE_S)
            self._ending.start(self._take_last)
        elif not self._sockets:
            self.close()

    def close(self) -> None:
        """Accept nothing more, not even what waits, and close the listeners. Harmless when repeated."""
        for index in tuple(self._sockets):
            self._leave(index)
        for timer in (self._resume, self._ending):
            if timer is not None:
                timer.stop()
                timer.close()

    def _accept(self, index: int) -> None:
        listener = self._sockets[index]
        for _ in range(_AT_ONCE):
            if self._tally.live >= self._room and index not in self._gates:
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

    def _take_last(self) -> None:
        """Leave each listener where nobody waits any more; every now and then, once the lingering is over."""
        if self._take != self._finish:
            watched = tuple(self._stops)
            self._take = self._finish
            self._stop(watched)
            self._watch(watched)
        self.room_again()
        for index in tuple(self._sockets):
            if index in self._stops:
                self._finish(index)
            else:
                self._leave_if_empty(index)

    def _finish(self, index: int) -> None:
        self._accept(index)
        self._leave_if_empty(index)

    def _leave_if_empty(self, index: int) -> None:
        if not has_waiting(self._sockets[index]):
            self._leave(index)
            if not self._sockets:
                self.close()

    def _leave(self, index: int) -> None:
        self._stop([index])
        self._sockets.pop(index).close()

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
        if not self._resting and self._sockets:
            self._resting = True
            self._pause(reason, tuple(self._stops))
            self._resume.again(self._rested)  # `start` would go on with what was left of the last time: nothing

    def _full(self) -> None:
        reason = f"{self._room} sessions, as many as this worker may hold"
        self._pause(reason, [index for index in self._stops if index not in self._gates])

    def _pause(self, reason: str, indices: Iterable[int]) -> None:
        self._stop(indices)
        self._row.add(Cell.ACCEPT_PAUSES)
        self._set_paused(True)
        if self._warn.allow(monotonic_s()):
            _log.warning("accepts nothing for now: %s (%d such pauses not shown)", reason, self._warn.suppressed)

    def _set_paused(self, paused: bool) -> None:
        self._paused = paused
        if self._ending is None:  # else it is the successor's to say
            self._row[Cell.ACCEPT_PAUSED] = paused

    def _watch(self, indices: Iterable[int]) -> None:
        for index in indices:
            if index not in self._stops and index in self._sockets:
                self._stops[index] = self._readiness.watch(self._sockets[index].fileno(), partial(self._take, index))

    def _stop(self, indices: Iterable[int]) -> None:
        for index in indices:
            if index in self._stops:
                self._stops.pop(index)()

    def _rested(self) -> None:
        if has_descriptors_left():
            self._resume.stop()
            self._resting = False
            self._watch(self._gates)
            self.room_again()

"""Begins sessions when their client's SYN is seen, a round trip before it can be accepted.

What is begun waits here for `claim`. It is bounded before anything is done: see `workers.pairing`. Where a limit is
met no SYN is looked at for a while; sessions then begin when they are accepted, as they would without all this.
"""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from pools.frame_bodies import TRACE_BYTES, Open
from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.rate_limit import OncePer
from pools.net.resolver import SocketAddress
from pools.net.scoreboard import Cell, Row
from pools.net.stream import Stream
from workers.head_start import HeadStart, HeadStarts
from workers.pairing import Key, Pairing, Pauses, Verdict
from workers.parting import Partings
from workers.places import Places
from workers.routing import Routes
from workers.settings import WorkerSettings
from workers.syn_packet import Syn

if TYPE_CHECKING:
    from workers.sessions import Sessions

_log = logging.getLogger(__name__)

_WARN_EVERY_S: Final = 10.0


class Capture(Protocol):
    """Where SYNs come from; see `workers.syn_capture.SynCapture`."""

    def start(self) -> None:
        """Begin to tell of SYNs."""

    def drain(self) -> None:
        """Tell of all that have come by now."""

    def pause(self) -> None:
        """Tell of none until `resume`."""

    def resume(self) -> None:
        """Tell of those that come from now on."""

    def close(self) -> None:
        """Tell of none any more."""


class EarlySyn:
    """What one worker has begun for clients that it has not accepted yet. Owns it until it is claimed.

    Args:
        places: where the listeners are that want it.
        routes: the paths of each listener.
        starts: what begins sessions.
        partings: where cancelled ones end; owned from here on.
        pairing: what waits, and the limits.
        row: where it is counted.

    Attributes:
        capture: where SYNs come from; owned from `start` on.
        takes: asked whether a session at a listener, so many others being begun already, would be accepted now.
        welcomes: asked whether a session of a client's address would be, as far as its source goes.
    """

    def __init__(
        self,
        places: Places,
        *,
        routes: Routes,
        starts: HeadStarts,
        partings: Partings,
        pairing: Pairing[HeadStart],
        row: Row,
    ) -> None:
        self.takes: Callable[[int, int], bool] = lambda _index, _besides: True
        self.welcomes: Callable[[str], bool] = lambda _host: True
        self._places = places
        self._routes = routes
        self._starts = starts
        self._partings = partings
        self._pairing = pairing
        self._row = row
        self._pauses = Pauses()
        self._is_paused = False
        self.capture: Capture | None = None
        self._warn = OncePer(_WARN_EVERY_S)

    def __len__(self) -> int:
        return len(self._pairing) + len(self._partings)

    def start(self) -> None:
        """Begin sessions from now on, at the SYNs that `capture` tells `seen` of."""
        if self.capture is not None:
            self.capture.start()

    def seen(self, syn: Syn) -> None:
        """Begin a session, if it may be; in the hub."""
        index = self._places.of(syn)
        if index is None or self._is_paused or self.capture is None:
            return
        now_s, key = monotonic_s(), self._places.key_of_syn(syn)
        match self._pairing.judge(key, besides=len(self._partings), now_s=now_s):
            case Verdict.BEGIN if self.takes(index, len(self)) and self.welcomes(syn.client[0]):
                self._begin(index, syn, key, now_s)
            case Verdict.SOURCE_FULL:
                self._row.add(Cell.EARLY_SKIPPED)
            case Verdict.TOO_MANY:
                self._pause(f"{len(self)} sessions wait for their clients, as many as may", now_s)
            case Verdict.TOO_FAST:
                self._pause("more SYNs come than it may heed", now_s)

    def claim(self, inbound: Stream, client: SocketAddress, listen_index: int) -> HeadStart | None:
        """Give what was begun for a client just accepted; it is the caller's. None where nothing was, or in vain."""
        if self.capture is None or not self._places.is_early(listen_index):
            return None
        self.capture.drain()  # its SYN was here before it was: begin for it now, rather than for nobody afterwards
        if not self._pairing:
            return None
        started = self._pairing.take(self._places.key_of(listen_index, inbound.socket, client))
        if started is None:
            return None
        if started.is_of_use and started.path == self._routes.paths(listen_index)[0]:
            self._row.add(Cell.EARLY_JOINED)
            return started
        self._drop([started], Cell.EARLY_CANCELLED if started.is_of_use else Cell.EARLY_FAILED)
        return None

    def look(self) -> None:
        """Cancel what nobody came for, and look at SYNs again after a pause; in the hub, once a tick."""
        now_s = monotonic_s()
        self._drop(self._pairing.weed(lambda started: started.is_of_use), Cell.EARLY_FAILED)
        self._drop(self._pairing.expired(now_s), Cell.EARLY_CANCELLED)
        self._partings.look(now_s)
        self._row[Cell.EARLY_PENDING] = len(self)
        if self._is_paused and self.capture is not None and now_s >= self._pauses.until_s:
            self._is_paused = False
            self.capture.resume()

    def close(self) -> None:
        """Begin nothing more, and cut off what nobody has claimed: nobody can be accepted any more."""
        capture, self.capture = self.capture, None
        if capture is not None:
            capture.close()
        self._drop(self._pairing.clear(), Cell.EARLY_CANCELLED)
        self._partings.close()
        self._row[Cell.EARLY_PENDING] = 0

    def _begin(self, index: int, syn: Syn, key: Key, now_s: float) -> None:
        path, destination = self._routes.paths(index)[0], self._places.destination(index, syn)
        if path:
            message = Open(destination, path[1:], Endpoint(*syn.client), os.urandom(TRACE_BYTES))
            started: HeadStart | None = self._starts.through(path, message, now_s=now_s)
        elif self._places.is_dialled_early(index) and self._starts.may_help(destination):
            started = self._starts.from_here(destination, now_s=now_s)
        else:
            return
        self._row.add(Cell.EARLY_STARTED)
        if started is None:
            self._row.add(Cell.EARLY_FAILED)
        else:
            self._pairing.add(key, started, now_s=now_s)

    def _drop(self, dropped: list[HeadStart], cell: Cell) -> None:
        for started in dropped:
            started.cancel()
        if dropped:
            self._row.add(cell, len(dropped))

    def _pause(self, reason: str, now_s: float) -> None:
        assert self.capture is not None  # it is what tells
        length_s = self._pauses.begin(now_s)
        self._is_paused = True
        self._row.add(Cell.EARLY_SKIPPED)
        self._row.add(Cell.EARLY_PAUSES)
        self.capture.pause()
        if self._warn.allow(now_s):
            shown = "begins no session at its SYN for %g s: %s (%d such pauses not shown)"
            _log.warning(shown, length_s, reason, self._warn.suppressed)


def make(sessions: "Sessions", settings: WorkerSettings, *, listeners: Sequence[socket.socket], row: Row) -> EarlySyn:
    """Put together what begins the `sessions` of the worker whose `listeners` these are; it has no capture yet."""
    limits, lifetime_s = settings.limits, settings.timeouts.early_syn
    partings = Partings(readiness=sessions.room.readiness, resets=sessions.resets, patience_s=lifetime_s)
    starts = HeadStarts(
        egress=sessions.egress,
        legs=sessions.legs,
        room=sessions.room,
        partings=partings,
        connect_s=settings.timeouts.connect,
    )
    pairing: Pairing[HeadStart] = Pairing(
        pending=limits.early_syn_pending,
        per_source=limits.early_syn_per_source,
        rate=limits.early_syn_rate,
        lifetime_s=lifetime_s,
        now_s=monotonic_s(),
    )
    places = Places(settings.listens, [listener.getsockname() for listener in listeners])
    early = EarlySyn(places, routes=sessions.routes, starts=starts, partings=partings, pairing=pairing, row=row)
    early.welcomes = sessions.welcomes
    return early

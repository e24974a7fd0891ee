"""What one configuration makes of a worker: where it accepts, what sessions there are told, how their legs are made.

A worker has one service that accepts. Those of configurations before retire: they take nothing new, but for who had
come already, and are over with their last session, which keeps its route, its timeouts and its rules until then.
"""

import math
import os
import socket
from collections.abc import Callable, Iterable
from typing import Final

from pools.net.clock import monotonic_s
from pools.net.orders import LINGER_S
from pools.net.scoreboard import Cell
from workers import early_syn
from workers.acceptor import Acceptor
from workers.access_log import AccessLog
from workers.capacity import sessions_within, share_of
from workers.early_syn import EarlySyn
from workers.egress import Egress
from workers.ground import Ground
from workers.peering import Peering
from workers.post import Post
from workers.preconnect import Preconnect, shares
from workers.sessions import Sessions
from workers.settings import WorkerSettings
from workers.source_limit import SourceCounts
from workers.syn_capture import SynCapture

_PARTING_S: Final = LINGER_S  # for peers that were told to go, before idle legs are closed under them


class Service:
    """See the module. Owns its sockets, its sessions, and its legs to and of peers that no successor has taken over.

    Args:
        post: what the worker has from this configuration on; its sockets are owned here.
        ground: what all services of the worker share; lent.
        before: the service that this one succeeds; None for the first.

    Attributes:
        sessions: those that it began.
        is_over: it has retired, and nothing of it is left but to `close` it.
        on_change: called when there is room again for a session, and when it may be over.
    """

    def __init__(self, post: Post, ground: Ground, *, before: "Service | None" = None) -> None:
        settings = post.settings
        self._post = post
        self._ground = ground
        self.is_over = False
        self.on_change: Callable[[], None] = lambda: None
        self._leaves_at_s = math.inf  # from then on it does not wait for peers
        limit = sessions_limit(settings, descriptors=ground.descriptors)
        self.peering = self._make_peering(limit, before)
        egress = self._make_egress()
        self._preconnect = Preconnect(settings, egress=egress, readiness=ground.readiness, row=post.row)
        self.sessions = self._make_sessions(egress)
        self.sessions.limit = limit
        if self.peering is not None:
            self.peering.on_open = self.sessions.begin_for_peer
        self._acceptor = self._make_acceptor(limit)
        self._early = self._make_early()

    def start(self) -> None:
        """Accept."""
        self._acceptor.start()
        if self._early is not None:
            self._early.start()
        self._preconnect.start()

    def tick(self) -> None:
        """Look after what goes by the clock; in the hub, several times a second."""
        self.sessions.watch.look()
        if self._early is not None:
            self._early.look()
        self._look_whether_over()

    def room_again(self) -> None:
        """Go on accepting if there was no room, and now there is."""
        self._acceptor.room_again()

    def retire(self, successor: Post) -> None:
        """Leave it to the service made of `successor` to accept; what the two have in common goes on there."""
        stay = frozenset(map(_identity, successor.listeners))
        elsewhere = [index for index, sock in enumerate(self._post.listeners) if _identity(sock) in stay]
        if self.peering is not None:
            self.peering.retire()
        self._leave(elsewhere, linger_s=LINGER_S)

    def drain(self, *, linger_s: float) -> None:
        """Accept nothing more once `linger_s` seconds are over, without a successor; see `Acceptor.retire`."""
        if self.peering is not None:
            self.peering.drain()
        self._leave((), linger_s=linger_s)

    def kill(self) -> None:
        """Accept nothing more, reset what is left, and wait for nobody; in the hub."""
        self._leaves_at_s = 0.0
        self._acceptor.close()
        self.sessions.kill_all()
        self._look_whether_over()

    def close(self) -> None:
        """Put away what is left of one that is over."""
        if self.peering is not None:
            self.peering.close()

    def _leave(self, elsewhere: Iterable[int], *, linger_s: float) -> None:
        self._leaves_at_s = min(self._leaves_at_s, monotonic_s() + _PARTING_S)
        if self._early is not None:
            self._early.close()
        self._early = self.sessions.early = None  # a successor shows its own numbers
        self._preconnect.close()
        self.sessions.on_end = self._session_ended
        self._acceptor.retire(linger_s=linger_s, elsewhere=frozenset(elsewhere))
        self._look_whether_over()

    def _session_ended(self) -> None:
        self._acceptor.room_again()
        self._look_whether_over()
        self.on_change()

    def _look_whether_over(self) -> None:
        if self._leaves_at_s == math.inf or self.is_over or self.sessions.live or not self._acceptor.is_closed:
            return
        if self.peering is None or self.peering.is_left or monotonic_s() >= self._leaves_at_s:
            self.is_over = True
            self.on_change()

    def _make_peering(self, limit: int, before: "Service | None") -> Peering | None:
        if not self._post.settings.key_file:
            return None
        return Peering(
            self._post,
            room=self._ground.room,
            resolver=self._ground.resolver,
            serials=self._ground.leg_serials,
            sessions_limit=limit,
            before=None if before is None else before.peering,
        )

    def _make_egress(self) -> Egress:
        return Egress(
            readiness=self._ground.readiness,
            resolver=self._ground.resolver,
            settings=self._post.settings.outbound,
            on_retry=lambda: self._post.row.add(Cell.RETRIES),
        )

    def _make_sessions(self, egress: Egress) -> Sessions:
        ground, settings, peering = self._ground, self._post.settings, self.peering
        log = settings.access_log
        return Sessions(
            settings,
            slot=self._post.slot,
            room=ground.room,
            resets=ground.resets,
            egress=egress,
            tally=ground.tally,
            sources=self._source_counts(),
            log=AccessLog(ground.lines, log.format) if log.enabled else None,
            routes=None if peering is None else peering.routes,
            legs=None if peering is None else peering.legs,
            numbers=ground.numbers,
        )

    def _source_counts(self) -> SourceCounts | None:
        post, settings = self._post, self._post.settings
        limit = settings.limits.sessions_per_source
        return post.sources.of(post.slot, workers=settings.workers, limit=limit) if limit else None

    def _make_acceptor(self, limit: int) -> Acceptor:
        return Acceptor(
            self._post.listeners,
            sessions=self.sessions,
            tally=self._ground.tally,
            readiness=self._ground.readiness,
            room=limit,
            row=self._post.row,
            overlay=None if self.peering is None else self.peering.overlay,
        )

    def _make_early(self) -> EarlySyn | None:
        """Have sessions begin at their client's SYN, where that can be captured."""
        post, capture = self._post, self._post.capture
        if capture is None:
            return None
        early = early_syn.make(self.sessions, post.settings, listeners=post.listeners, row=post.row)
        early.takes = self._acceptor.takes
        self.sessions.early = early
        early.capture = SynCapture(capture, readiness=self._ground.readiness, on_syn=early.seen, row=post.row)
        return early


def sessions_limit(settings: WorkerSettings, *, descriptors: int) -> int:
    """Give how many sessions one worker may hold: its share of the limit, as far as descriptors go.

    Args:
        descriptors: the process's limit; a session takes two, and a connection that is kept ready one.
    """
    share = share_of(settings.limits.sessions, workers=settings.workers)
    return max(1, min(share, sessions_within(descriptors - sum(shares(settings).values()))))


def _identity(sock: socket.socket) -> int:
    """Tell one socket from another, whoever has copies of it. Source: sockfs gives each an inode of its own."""
    return os.fstat(sock.fileno()).st_ino

"""A worker's whole life: the composition root of everything that runs on one core."""

import gc
import logging
import resource
from typing import Final

import gevent
from gevent.event import Event

from pools.net.fd_passing import ChannelError, close_all, receive_message, send_message
from pools.net.greenlet_pool import GreenletPool
from pools.net.orders import Order, OrderMessage, Report, ReportMessage
from pools.net.pipes import PipeCache
from pools.net.pump import PumpRoom
from pools.net.readiness import Readiness
from pools.net.resets import Resets
from pools.net.resolver import Resolver
from pools.net.scoreboard import Cell, ChildState
from pools.net.stream import Stream
from workers import early_syn
from workers.acceptor import Acceptor
from workers.access_log import AccessLog
from workers.capacity import sessions_within, share_of
from workers.early_syn import EarlySyn
from workers.egress import Egress
from workers.peering import Peering
from workers.post import Post
from workers.preconnect import Preconnect, shares
from workers.pulse import Pulse
from workers.session_listing import send_listing
from workers.sessions import Sessions
from workers.settings import WorkerSettings
from workers.syn_capture import SynCapture
from workers.tally import Tally
from workers.watch import TICK_S

_log = logging.getLogger(__name__)

_STDERR: Final = 2
_COLLECT_AFTER: Final = 100_000  # sessions free themselves by counting references; the collector only finds our bugs


def run(post: Post) -> int:
    """Serve one shard until told to stop; the whole life of a freshly forked, pinned process.

    Returns:
        The exit code: 0 after a drain or a stop.
    """
    gc.set_threshold(_COLLECT_AFTER, 50, 100)
    worker = Worker(post)
    worker.start()
    worker.wait()
    return 0


class Worker:
    """What lives in one worker process, built from the bottom up. Owns all of it but what `post` lends."""

    def __init__(self, post: Post) -> None:
        settings = post.settings
        self._post = post
        self._over = Event()
        self._readiness = Readiness(on_fault=_report_fault)
        self._resets = Resets()
        self._pipes = PipeCache()
        self._room = PumpRoom(
            readiness=self._readiness, greenlets=GreenletPool(), pipes=self._pipes, splice=settings.relay.splice
        )
        self._tally = Tally(post.row)
        limit = sessions_limit(settings, descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        resolver = Resolver(
            again_after_s=settings.outbound.resolve_every, on_failure=lambda: post.row.add(Cell.LOOKUPS_FAILED)
        )
        self._peering = self._make_peering(settings, resolver, limit)
        egress = self._make_egress(settings, resolver)
        self._preconnect = Preconnect(settings, egress=egress, readiness=self._readiness, row=post.row)
        self._sessions = self._make_sessions(settings, egress)
        self._sessions.limit = limit
        if self._peering is not None:
            self._peering.on_open = self._sessions.begin_for_peer
        self._acceptor = Acceptor(
            post.listeners,
            sessions=self._sessions,
            readiness=self._readiness,
            room=limit,
            row=post.row,
            overlay=None if self._peering is None else self._peering.overlay,
        )
        self._early = self._make_early(settings)
        self._pulse = Pulse(
            post.row,
            tally=self._tally,
            room=self._room,
            setting_up=lambda: self._sessions.setting_up,
            on_beat=self._sessions.flush_log,
        )
        loop = gevent.get_hub().loop
        self._orders = loop.io(post.channel.fileno(), 1)
        self._ticks = loop.timer(TICK_S, TICK_S)
        self._limit = loop.timer(0.0)

    def _make_peering(self, settings: WorkerSettings, resolver: Resolver, limit: int) -> Peering | None:
        if not settings.key_file:
            return None
        return Peering(self._post, room=self._room, resolver=resolver, sessions_limit=limit)

    def _make_egress(self, settings: WorkerSettings, resolver: Resolver) -> Egress:
        return Egress(
            readiness=self._readiness,
            resolver=resolver,
            settings=settings.outbound,
            on_retry=lambda: self._post.row.add(Cell.RETRIES),
        )

    def _make_sessions(self, settings: WorkerSettings, egress: Egress) -> Sessions:
        peering = self._peering
        limit, workers = settings.limits.sessions_per_source, settings.workers
        sources = self._post.sources.of(self._post.slot, workers=workers, limit=limit) if limit else None
        return Sessions(
            settings,
            slot=self._post.slot,
            room=self._room,
            resets=self._resets,
            egress=egress,
            tally=self._tally,
            sources=sources,
            log=AccessLog(_STDERR, settings.access_log.format) if settings.access_log.enabled else None,
            routes=None if peering is None else peering.routes,
            legs=None if peering is None else peering.legs,
        )

    def _make_early(self, settings: WorkerSettings) -> EarlySyn | None:
        """Have sessions begin at their client's SYN, where that can be captured."""
        capture = self._post.capture
        if capture is None:
            return None
        early = early_syn.make(self._sessions, settings, listeners=self._post.listeners, row=self._post.row)
        early.takes = self._acceptor.takes
        self._sessions.early = early
        early.capture = SynCapture(capture, readiness=self._readiness, on_syn=early.seen, row=self._post.row)
        return early

    def start(self) -> None:
        """Accept, and say so."""
        self._acceptor.start()
        if self._early is not None:
            self._early.start()
        self._preconnect.start()
        self._pulse.start()
        self._ticks.start(self._tick)
        self._orders.start(self._obey)
        self._post.row[Cell.STATE] = ChildState.READY
        self._report(Report.READY)

    def wait(self) -> None:
        """Live until the last session is over, then put everything away."""
        self._over.wait()
        self._sessions.flush_log()
        self._resets.wait()
        for watcher in (self._orders, self._ticks, self._limit):
            watcher.stop()
            watcher.close()
        self._pulse.stop()
        if self._peering is not None:
            self._peering.close()
        self._resets.close()
        self._pipes.close()
        self._readiness.close()
        self._report(Report.DRAINED)

    def _tick(self) -> None:
        self._sessions.watch.look()
        if self._early is not None:
            self._early.look()

    def _obey(self) -> None:
        """Take one message from the supervisor; its death counts as the order to drain."""
        try:
            payload, descriptors = receive_message(self._post.channel)
        except BlockingIOError:
            return
        except ChannelError as error:
            _log.error("the channel to the supervisor failed: %s", error)
            payload, descriptors = b"", []
        if not payload:
            self._orders.stop()
            self._drain(self._post.settings.timeouts.drain)
            return
        self._follow(OrderMessage.decode(payload), descriptors)

    def _follow(self, message: OrderMessage, descriptors: list[int]) -> None:
        match message.order:
            case Order.DRAIN:
                self._drain(message.limit_s)
            case Order.STOP:
                self._drain(0.0)
            case Order.SESSIONS if len(descriptors) == 1:
                gevent.spawn(send_listing, descriptors.pop(), list(self._sessions), readiness=self._readiness)
            case Order.CHANNEL if len(descriptors) == 1 and self._peering is not None:
                self._peering.join_broker(descriptors.pop())
        close_all(descriptors)

    def _drain(self, limit_s: float) -> None:
        """Accept nothing more; end with the last session, or all of them when `limit_s` seconds are over."""
        self._post.row[Cell.STATE] = ChildState.DRAINING
        self._acceptor.close()
        if self._early is not None:
            self._early.close()
        self._sessions.draining = True
        self._preconnect.close()
        if self._peering is not None:
            self._peering.drain()
        self._sessions.on_end = self._end_when_empty
        self._limit.stop()
        if limit_s > 0:
            self._limit = gevent.get_hub().loop.timer(limit_s)
            self._limit.start(self._kill_all)
        else:
            self._kill_all()
        self._end_when_empty()

    def _kill_all(self) -> None:
        self._sessions.kill_all()
        self._resets.hurry()

    def _end_when_empty(self) -> None:
        if not self._sessions.live:
            self._over.set()

    def _report(self, report: Report) -> None:
        try:
            send_message(self._post.channel, ReportMessage(report).encode())
        except (ChannelError, BlockingIOError) as error:
            _log.warning("cannot tell the supervisor %s: %s", report, error)


def sessions_limit(settings: WorkerSettings, *, descriptors: int) -> int:
    """Give how many sessions one worker may hold: its share of the limit, as far as descriptors go.

    Args:
        descriptors: the process's limit; a session takes two, and a connection that is kept ready one.
    """
    share = share_of(settings.limits.sessions, workers=settings.workers)
    return max(1, min(share, sessions_within(descriptors - sum(shares(settings).values()))))


def _report_fault(stream: Stream | None) -> None:
    _log.exception("an event on %r: an error nobody expected", stream or "what had been put off")

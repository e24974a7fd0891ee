"""The broker's whole life: the composition root of the process that keeps legs to other gateways ready."""

import logging
import socket
from typing import Final

import gevent
from gevent.event import Event

from pools.broker_post import BrokerPost, BrokerSettings
from pools.key_file import KeyFile
from pools.leg_dial import HANDSHAKE_S, LegDialler
from pools.net.clock import monotonic_ns, monotonic_s
from pools.net.fd_passing import ChannelError, MessageCut, close_all, receive_message, send_message
from pools.net.orders import Order, OrderMessage, Report, ReportMessage
from pools.net.readiness import Readiness
from pools.net.resolver import Resolver
from pools.net.scoreboard import Cell, ChildState
from pools.net.sealed import unseal
from pools.net.stream import Stream
from pools.peer import Peer, PoolKey
from pools.peer_desk import PeerDesk, Surroundings
from pools.refill import DEMAND_INTERVAL_S
from pools.worker_lines import WorkerLines

_log = logging.getLogger(__name__)

BEAT_S: Final = 0.2
_READ: Final = 1


def run(post: BrokerPost) -> int:
    """Keep legs ready until told to stop; the whole life of a freshly forked process.

    Returns:
        The exit code: 0 after a drain or a stop.
    """
    broker = Broker(post)
    broker.start()
    broker.wait()
    return 0


class Broker:
    """What lives in the broker process. Owns all of it but what `post` lends."""

    def __init__(self, post: BrokerPost) -> None:
        self._post = post
        self._over = Event()
        self._failure: Exception | None = None
        self._due_ns = monotonic_ns()
        self._readiness = Readiness(on_fault=_report_fault)
        self._lines = WorkerLines(self._readiness)
        self._resolver = Resolver(again_after_s=post.settings.resolve_every_s, on_failure=self._count_failed_lookup)
        self._dialler = LegDialler(
            post.settings.gateway,
            keys=KeyFile(post.settings.key_file),
            readiness=self._readiness,
            resolver=self._resolver,
            origin=post.origin,
        )
        self._desks: dict[PoolKey, PeerDesk] = {}
        loop = gevent.get_hub().loop
        self._orders = loop.io(post.channel.fileno(), _READ)
        self._beats = loop.timer(BEAT_S, BEAT_S)
        self._intervals = loop.timer(DEMAND_INTERVAL_S, DEMAND_INTERVAL_S)

    def start(self) -> None:
        """Begin to dial and to listen to workers, and say so; legs come in time."""
        self._live_by(self._post.settings)
        self._beat()
        self._beats.start(self._beat)
        self._intervals.start(self._end_interval)
        self._orders.start(self._obey)
        self._post.row[Cell.STATE] = ChildState.READY
        self._report(Report.READY)

    def wait(self) -> None:
        """Live until told to end, then put everything away.

        Raises:
            Exception: what it could not be reconfigured for, when that ended this life; nothing is put away.
        """
        self._over.wait()
        if self._failure is not None:
            raise self._failure
        self._post.row[Cell.STATE] = ChildState.DRAINING
        for watcher in (self._orders, self._beats, self._intervals):
            watcher.stop()
            watcher.close()
        self._lines.close()
        for desk in self._desks.values():
            desk.close()
        self._readiness.close()
        self._report(Report.DRAINED)

    def _beat(self) -> None:
        now_ns = monotonic_ns()
        self._post.row.beat(now_ns, due_ns=self._due_ns)
        self._due_ns = now_ns + round(BEAT_S * 1e9)
        for desk in self._desks.values():
            desk.turn()

    def _end_interval(self) -> None:
        for desk in self._desks.values():
            desk.end_interval()

    def _obey(self) -> None:
        """Take one message from the supervisor; its death counts as the order to stop."""
        try:
            payload, descriptors = receive_message(self._post.channel)
            order = OrderMessage.decode(payload) if payload else OrderMessage(Order.STOP)
        except BlockingIOError:
            return
        except MessageCut as error:
            _log.error("an order of the supervisor is lost: %s", error)
            return
        except ChannelError as error:
            _log.error("the channel to the supervisor failed: %s", error)
            self._over.set()
            return
        self._follow(order, descriptors)

    def _follow(self, message: OrderMessage, descriptors: list[int]) -> None:
        match message.order:
            case Order.CHANNEL if len(descriptors) == 1:
                sock = socket.socket(fileno=descriptors.pop())
                sock.setblocking(False)
                self._lines.join(message.slot, sock, now_s=monotonic_s())
            case Order.CONFIGURE if len(descriptors) == 1:
                self._configure(descriptors[0])
            case Order.DRAIN | Order.STOP:
                self._over.set()
        close_all(descriptors)

    def _configure(self, sealed: int) -> None:
        """Go on by other settings. Where that fails there is no way back: a successor begins with them."""
        try:
            self._live_by(unseal(sealed, BrokerSettings))
        except Exception as error:  # noqa: BLE001  # the child's main gets it, and logs it with its traceback
            self._failure = error
            self._over.set()

    def _live_by(self, settings: BrokerSettings) -> None:
        """Keep legs to these peers: the desks of those whose settings are the same go on, with all that they have."""
        self._resolver.again_after_s = settings.resolve_every_s
        around, before = self._surroundings(settings), self._desks
        self._desks = {peer.pool: before.get(peer.pool) or self._new_desk(peer, around) for peer in settings.peers}
        for key in before.keys() - self._desks.keys():  # first: another one may go on in the same row of the board
            before[key].close()
        self._lines.serve(self._desks)
        for key, desk in self._desks.items():
            if key in before:
                desk.follow(around)
            else:
                desk.start()

    def _new_desk(self, peer: Peer, around: Surroundings) -> PeerDesk:
        return PeerDesk(peer, self._post.links.link(peer.number), around)

    def _surroundings(self, settings: BrokerSettings) -> Surroundings:
        return Surroundings(
            readiness=self._readiness,
            dialler=self._dialler,
            dial_s=settings.connect_s + HANDSHAKE_S,
            lines=self._lines,
            workers=settings.workers,
        )

    def _count_failed_lookup(self) -> None:
        self._post.row.add(Cell.LOOKUPS_FAILED)

    def _report(self, report: Report) -> None:
        try:
            send_message(self._post.channel, ReportMessage(report).encode())
        except (ChannelError, BlockingIOError) as error:
            _log.warning("cannot tell the supervisor %s: %s", report, error)


def _report_fault(stream: Stream | None) -> None:
    _log.exception("an event on %r: an error nobody expected", stream or "what had been put off")

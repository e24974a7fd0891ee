"""The broker's whole life: the composition root of the process that keeps legs to other gateways ready."""

import logging
import socket
from typing import Final

import gevent
from gevent.event import Event

from pools.broker_post import BrokerPost
from pools.key_file import KeyFile
from pools.leg_dial import HANDSHAKE_S, LegDialler
from pools.net.clock import monotonic_ns, monotonic_s
from pools.net.fd_passing import ChannelError, MessageCut, close_all, receive_message, send_message
from pools.net.orders import Order, OrderMessage, Report, ReportMessage
from pools.net.readiness import Readiness
from pools.net.resolver import Resolver
from pools.net.scoreboard import Cell, ChildState
from pools.net.stream import Stream
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
        self._due_ns = monotonic_ns()
        self._readiness = Readiness(on_fault=_report_fault)
        self._lines = WorkerLines(self._readiness)
        around = Surroundings(
            readiness=self._readiness,
            dialler=self._make_dialler(),
            dial_s=post.connect_s + HANDSHAKE_S,
            lines=self._lines,
            workers=post.workers,
        )
        self._desks = [PeerDesk(peer, post.links.link(peer.number), around) for peer in post.peers]
        self._lines.desks = {desk.peer.name: desk for desk in self._desks}
        loop = gevent.get_hub().loop
        self._orders = loop.io(post.channel.fileno(), _READ)
        self._beats = loop.timer(BEAT_S, BEAT_S)
        self._intervals = loop.timer(DEMAND_INTERVAL_S, DEMAND_INTERVAL_S)

    def _make_dialler(self) -> LegDialler:
        row = self._post.row
        resolver = Resolver(again_after_s=self._post.resolve_every_s, on_failure=lambda: row.add(Cell.LOOKUPS_FAILED))
        return LegDialler(
            self._post.gateway,
            keys=KeyFile(self._post.key_file),
            readiness=self._readiness,
            resolver=resolver,
            origin=self._post.origin,
        )

    def start(self) -> None:
        """Begin to dial and to listen to workers, and say so; legs come in time."""
        for desk in self._desks:
            desk.start()
        self._beat()
        self._beats.start(self._beat)
        self._intervals.start(self._end_interval)
        self._orders.start(self._obey)
        self._post.row[Cell.STATE] = ChildState.READY
        self._report(Report.READY)

    def wait(self) -> None:
        """Live until told to end, then put everything away."""
        self._over.wait()
        self._post.row[Cell.STATE] = ChildState.DRAINING
        for watcher in (self._orders, self._beats, self._intervals):
            watcher.stop()
            watcher.close()
        self._lines.close()
        for desk in self._desks:
            desk.close()
        self._readiness.close()
        self._report(Report.DRAINED)

    def _beat(self) -> None:
        now_ns = monotonic_ns()
        self._post.row.beat(now_ns, due_ns=self._due_ns)
        self._due_ns = now_ns + round(BEAT_S * 1e9)
        for desk in self._desks:
            desk.turn()

    def _end_interval(self) -> None:
        for desk in self._desks:
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
            case Order.DRAIN | Order.STOP:
                self._over.set()
        close_all(descriptors)

    def _report(self, report: Report) -> None:
        try:
            send_message(self._post.channel, ReportMessage(report).encode())
        except (ChannelError, BlockingIOError) as error:
            _log.warning("cannot tell the supervisor %s: %s", report, error)


def _report_fault(stream: Stream | None) -> None:
    _log.exception("an event on %r: an error nobody expected", stream or "what had been put off")

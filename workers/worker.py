"""A worker's whole life: what it is told, and which service of it does what.

What it has all its life is its `Ground`; what one configuration makes of it is a `Service`.
"""

import gc
import logging
from typing import Final

import gevent
from gevent.event import Event

from pools.net.fd_passing import ChannelError, MessageCut, close_all, receive_message, send_message
from pools.net.orders import Order, OrderMessage, Report, ReportMessage
from pools.net.scoreboard import Cell, ChildState
from workers.configured import configured
from workers.ground import Ground
from workers.post import Post
from workers.pulse import Pulse
from workers.service import Service
from workers.session_listing import send_listing
from workers.watch import TICK_S

_log = logging.getLogger(__name__)

_COLLECT_AFTER: Final = 100_000  # sessions free themselves by counting references; the collector only finds our bugs
_ORPHAN_LINGER_S: Final = 0.01  # who waits already is taken; a new gateway needs the addresses


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
    """What lives in one worker process. Owns all of it but what `post` lends."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._over = Event()
        self._failure: Exception | None = None
        self._is_held, self._is_draining = post.held, False
        self._ground = Ground(post)
        self._services: list[Service] = []  # the last one accepts, the others have retired
        self._pulse = Pulse(
            post.row,
            tally=self._ground.tally,
            room=self._ground.room,
            setting_up=lambda: sum(service.sessions.setting_up for service in self._services),
            on_beat=self._ground.flush_log,
        )
        self._add_service(post)
        loop = gevent.get_hub().loop
        self._orders = loop.io(post.channel.fileno(), 1)
        self._ticks = loop.timer(TICK_S, TICK_S)
        self._limit = loop.timer(0.0)

    def start(self) -> None:
        """Accept, and say so; or say that this worker could, and wait until it is told, where it is held."""
        self._pulse.start()
        self._ticks.start(self._tick)
        self._orders.start(self._obey)
        if self._is_held:
            self._report(Report.HELD)
        else:
            self._begin()

    def _begin(self) -> None:
        self._is_held = False
        self._services[-1].start()
        self._post.row[Cell.STATE] = ChildState.READY
        self._report(Report.READY)

    def wait(self) -> None:
        """Live until the last session is over, then put everything away.

        Raises:
            Exception: what a configuration could not be made for, when that ended this life; nothing is put away.
        """
        self._over.wait()
        if self._failure is not None:
            raise self._failure
        self._ground.flush_log()
        self._ground.resets.wait()
        for watcher in (self._orders, self._ticks, self._limit):
            watcher.stop()
            watcher.close()
        self._pulse.stop()
        for service in self._services:
            service.close()
        self._ground.close()
        self._report(Report.DRAINED)

    def _add_service(self, post: Post) -> Service:
        service = Service(post, self._ground, before=self._services[-1] if self._services else None)
        service.on_change = self._look_round
        self._services.append(service)
        return service

    def _tick(self) -> None:
        for service in tuple(self._services):
            service.tick()

    def _obey(self) -> None:
        """Take one message from the supervisor; its death counts as the order to drain."""
        try:
            payload, descriptors = receive_message(self._post.channel)
        except BlockingIOError:
            return
        except MessageCut as error:  # no descriptor left for what it carried, not even for an operator's connection
            _log.error("an order of the supervisor is lost: %s", error)
            return
        except ChannelError as error:
            _log.error("the channel to the supervisor failed: %s", error)
            payload, descriptors = b"", []
        if not payload:
            self._orders.stop()
            self._drain(self._post.settings.timeouts.drain, _ORPHAN_LINGER_S)
            return
        self._follow(OrderMessage.decode(payload), descriptors)

    def _follow(self, message: OrderMessage, descriptors: list[int]) -> None:
        peering = self._services[-1].peering
        match message.order:
            case Order.BEGIN if self._is_held and not self._is_draining:
                self._begin()
            case Order.DRAIN:
                self._drain(message.limit_s, message.linger_s)
            case Order.STOP:
                self._drain(0.0, 0.0)
            case Order.SESSIONS if len(descriptors) == 1:
                sessions = [session for service in self._services for session in service.sessions]
                gevent.spawn(send_listing, descriptors.pop(), sessions, readiness=self._ground.readiness)
            case Order.CHANNEL if len(descriptors) == 1 and peering is not None:
                peering.join_broker(descriptors.pop())
            case Order.CONFIGURE if not self._is_draining:
                self._configure(message, descriptors)
                return
        close_all(descriptors)

    def _configure(self, message: OrderMessage, descriptors: list[int]) -> None:
        """Go on by other settings. Where that fails there is no way back: a successor begins with them."""
        try:
            post = configured(self._post, message, descriptors)
            before, service = self._services[-1], self._add_service(post)
            self._post = post
            self._ground.follow(post.settings)
            before.retire(post)  # first: packet sockets that both have are silenced by it
            if not self._is_held:
                service.start()
        except Exception as error:  # noqa: BLE001  # the child's main gets it, and logs it with its traceback
            self._failure = error
            self._over.set()
        else:
            self._report(Report.CONFIGURED)

    def _drain(self, limit_s: float, linger_s: float) -> None:
        """Accept nothing more; end with the last session, or all of them when `limit_s` seconds are over."""
        self._is_draining = True
        self._post.row[Cell.STATE] = ChildState.DRAINING
        self._services[-1].drain(linger_s=0.0 if self._is_held else linger_s)
        self._limit.stop()
        if limit_s > 0:
            self._limit = gevent.get_hub().loop.timer(limit_s)
            self._limit.start(self._kill_all)
        else:
            self._kill_all()

    def _kill_all(self) -> None:
        for service in tuple(self._services):
            service.kill()
        self._ground.resets.hurry()

    def _look_round(self) -> None:
        """See to services that are over, and use the room that there may be."""
        accepting = self._services[-1]
        for service in [service for service in self._services if service.is_over and service is not accepting]:
            self._services.remove(service)
            service.close()
        accepting.room_again()
        if self._is_draining and accepting.is_over and len(self._services) == 1:
            self._over.set()

    def _report(self, report: Report) -> None:
        try:
            send_message(self._post.channel, ReportMessage(report).encode())
        except (ChannelError, BlockingIOError) as error:
            _log.warning("cannot tell the supervisor %s: %s", report, error)

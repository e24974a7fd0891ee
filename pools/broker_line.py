"""A worker's end of the channel to the broker, and which of its pools may be spoken of there.

A broker lives through reloads, and so does a worker's line to it; pools come and go. One that the broker has not spoken
of on this channel is not known there, be it not yet or not any more: nothing is said of it. So neither of the two needs
to know when the other is told of a reload.
"""

import logging
import socket
from collections.abc import Iterable, Sequence
from typing import Protocol

from pools import idle_leg
from pools.broker_messages import FromBroker, FromWorker, Give, Stats, decode_from_broker
from pools.channel import Channel
from pools.leg import PoolLeg
from pools.net.errors import MidmileError
from pools.net.readiness import Readiness
from pools.peer import PoolKey

_log = logging.getLogger(__name__)


class Pool(Protocol):
    """A worker's part of one pool."""

    @property
    def key(self) -> PoolKey:
        """Which pool it is."""

    def broker_came(self) -> None:
        """Tell a broker that has just spoken of this pool for the first time all that it must know."""

    def broker_left(self) -> None:
        """Go on alone."""

    def hear(self, message: FromBroker, legs: Sequence[PoolLeg]) -> None:
        """Do what a message about this pool wants; `legs` are the pool's."""


class BrokerLine:
    """The way to the broker, one channel after another: a `pools.leg_account.Line`. Owns the channel.

    Args:
        readiness: where legs that arrive are registered.
    """

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._channel: Channel[FromBroker] | None = None
        self._pools: dict[PoolKey, Pool] = {}
        self._known: set[PoolKey] = set()  # of them, those that the broker has spoken of on this channel

    @property
    def is_connected(self) -> bool:
        """Whether there is a channel, as far as is known."""
        return self._channel is not None

    def serve(self, pools: Iterable[Pool]) -> None:
        """Speak and hear of these pools from now on, and of no others."""
        self._pools = {pool.key: pool for pool in pools}
        self._known &= self._pools.keys()

    def connect(self, sock: socket.socket) -> None:
        """Go on with a new broker, whose channel this is; it is owned here from now on."""
        if self._channel is not None:
            self._channel.read_out()
        self.leave()
        self._channel = Channel(
            sock, readiness=self._readiness, decode=decode_from_broker, hear=self._hear, end=self._ended
        )

    def say(self, message: FromWorker) -> bool:
        """Send a message, in order; False for what nobody would hear, and for a report that would have to wait."""
        if self._channel is None or message.pool not in self._known:
            return False
        if isinstance(message, Stats) and self._channel.is_congested:
            return False
        self._channel.say(message.encode())
        return True

    def give(self, message: Give, legs: Sequence[PoolLeg]) -> bool:
        """Send legs, now or not at all; if not, they stay the caller's."""
        if self._channel is None or message.pool not in self._known:
            return False
        return self._channel.say_now(message.encode(), legs)

    def stop_hearing(self) -> None:
        """Hear all that has arrived, and nothing more: what the broker sends from now on stays with it."""
        if self._channel is not None:
            self._channel.stop_hearing()

    def leave(self) -> None:
        """End the channel."""
        channel, self._channel = self._channel, None
        self._known.clear()
        if channel is not None:
            channel.close()
        for pool in self._pools.values():
            pool.broker_left()

    def _hear(self, message: FromBroker, legs: Sequence[PoolLeg]) -> None:
        pool = self._pools.get(message.pool)
        if pool is None:  # by settings that hold no longer, or not yet
            idle_leg.retire_all(legs)
            return
        if message.pool not in self._known:
            self._known.add(message.pool)
            pool.broker_came()
        pool.hear(message, legs)

    def _ended(self, error: MidmileError | None, _unsent: Sequence[PoolLeg]) -> None:
        # legs are given at once or not at all: none is unsent
        if error is not None:
            _log.error("the channel to the broker has ended: %s", error)
        self.leave()

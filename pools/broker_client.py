"""What a worker has of the pools: its legs to every peer, and its end of the channel to the broker.

Taking a leg never waits for the broker, and nothing here needs one: without it a miss dials, and idle legs go on.
"""

import itertools
import logging
import socket
from collections.abc import Callable, Iterable, Sequence

from pools.broker_messages import FromBroker, FromWorker, Give, Stats, decode_from_broker
from pools.channel import Channel
from pools.depot import largest_size
from pools.frame_bodies import Link
from pools.leg import PoolLeg
from pools.leg_dial import LegDialler
from pools.net.errors import Fault, LegError, MidmileError, ProtocolError
from pools.net.readiness import Readiness
from pools.path_choice import PathSample, chained
from pools.peer import Peer
from pools.peer_legs import UNKNOWN, PeerLegs

_log = logging.getLogger(__name__)


class BrokerClient:
    """All pool legs of one worker. Make it in the worker, after the fork.

    Args:
        peers: the gateways there are legs to.
        workers: how many workers this gateway has.
        readiness: where legs are registered.
        dialler: for sessions that find no leg.
        on_peer_down: see the attribute.

    Attributes:
        on_peer_down: called in the hub with the name of a peer that is down from now on.
    """

    def __init__(
        self,
        peers: Iterable[Peer],
        *,
        workers: int,
        readiness: Readiness,
        dialler: LegDialler,
        on_peer_down: Callable[[str], object],
    ) -> None:
        self.on_peer_down = on_peer_down
        self._readiness = readiness
        self._dialler = dialler
        self._channel: Channel[FromBroker] | None = None
        self._legs: dict[str, PeerLegs] = {}
        for peer in peers:
            size = min(peer.magazine, largest_size(pool_max=peer.pool_max, workers=workers))
            self._legs[peer.name] = PeerLegs(peer, size=size, readiness=readiness, line=self, on_down=self._down)

    def __repr__(self) -> str:
        return f"<BrokerClient {'connected' if self._channel else 'alone'} {list(self._legs.values())}>"

    def connect(self, sock: socket.socket) -> None:
        """Go on with a new broker, whose channel this is; it is owned here from now on."""
        if self._channel is not None:
            self._channel.read_out()
        self._leave()
        self._channel = Channel(
            sock, readiness=self._readiness, decode=decode_from_broker, hear=self._hear, end=self._ended
        )
        for legs in self._legs.values():
            legs.broker_came()

    def take(self, peer: str) -> PoolLeg | None:
        """Lend an idle leg at once; None where there is none that is fit: then dial. Raises KeyError for no peer.

        A leg may be lent to a peer that is down: whoever chooses a path looks at its `state`.

        Returns:
            A leg that nobody else holds. `finish` gives it back, `close` strikes it out.
        """
        return self._legs[peer].take()

    def dial(self, peer: str, *, limit_s: float) -> PoolLeg:
        """Make a leg, parking this greenlet, for a session that found none. It is lent as by `take`.

        Raises:
            LegError: see `LegDialler.dial`.
        """
        legs = self._legs[peer]
        legs.account.dialling += 1
        try:
            leg = self._dialler.dial(legs.peer, limit_s=limit_s)
        except LegError:
            legs.account.dial_failures += 1
            raise
        finally:
            legs.account.dialling -= 1
        legs.adopt(leg)
        return leg

    def state(self, peer: str) -> PathSample:
        """Tell what is known of the link to `peer`; one that nobody has spoken of may well be up."""
        return self._legs[peer].sample

    def path(self, gateways: Sequence[str]) -> PathSample:
        """Tell what is known of a path through `gateways`, of which the first is a peer.

        What lies behind a peer is known from its own words, so the links from the third gateway on are known only
        where it is a peer of ours, too.
        """
        links = [self.state(gateways[0])]
        for near, far in itertools.pairwise(gateways):
            beyond = self._legs[near].beyond if near in self._legs else {}
            links.append(beyond.get(far, UNKNOWN))
        return chained(links)

    def links(self) -> tuple[Link, ...]:
        """Give what is known of each peer, for other gateways."""
        return tuple(_link(name, legs.sample) for name, legs in self._legs.items())

    def beat(self) -> None:
        """Put away what is too old, and report; call it every `pools.refill.DEMAND_INTERVAL_S`."""
        for legs in self._legs.values():
            legs.beat()

    def close(self) -> None:
        """Give the idle legs to the broker, or close them. No session has one any more."""
        if self._channel is not None:
            self._channel.stop_hearing()
        for legs in self._legs.values():
            legs.surrender()
        self._leave()

    def retire(self) -> None:
        """Give the idle legs to the broker, or close them; those that sessions have are closed as they end.

        A session that wants another leg dials for it.
        """
        if self._channel is not None:
            self._channel.stop_hearing()
        for legs in self._legs.values():
            legs.retire()
        self._leave()

    # What the legs' keepers say, see `pools.leg_account.Line`.

    def say(self, message: FromWorker) -> bool:
        """Send a message to the broker, in order; a report that would have to wait is left out."""
        if self._channel is None or (isinstance(message, Stats) and self._channel.is_congested):
            return False
        self._channel.say(message.encode())
        return True

    def give(self, message: Give, legs: Sequence[PoolLeg]) -> bool:
        """Send legs to the broker, now or not at all."""
        return self._channel is not None and self._channel.say_now(message.encode(), legs)

    # How.

    def _hear(self, message: FromBroker, legs: Sequence[PoolLeg]) -> None:
        if message.peer not in self._legs:
            raise ProtocolError(f"expected the name of a peer from the broker; found {message.peer}", fault=Fault.OURS)
        self._legs[message.peer].hear(message, legs)

    def _down(self, peer: str) -> None:
        self.on_peer_down(peer)

    def _ended(self, error: MidmileError | None, _unsent: Sequence[PoolLeg]) -> None:
        # legs are given at once or not at all: none is unsent
        if error is not None:
            _log.error("the channel to the broker has ended: %s", error)
        self._leave()

    def _leave(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        for legs in self._legs.values():
            legs.broker_left()


def _link(name: str, sample: PathSample) -> Link:
    rtt_us = 0 if sample.rtt_s is None else min(round(sample.rtt_s * 1e6), (1 << 32) - 1)
    return Link(name, sample.is_up, rtt_us, round(sample.loss * 1e6))

"""What a worker has of the pools: its legs to every peer, and its line to the broker.

Taking a leg never waits for the broker, and nothing here needs one: without it a miss dials, and idle legs go on.
"""

import itertools
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from pools.broker_line import BrokerLine
from pools.depot import largest_size
from pools.frame_bodies import Link
from pools.leg import PoolLeg
from pools.leg_dial import LegDialler
from pools.net.errors import LegError
from pools.net.readiness import Readiness
from pools.path_choice import PathSample, chained
from pools.peer import Peer
from pools.peer_legs import UNKNOWN, PeerLegs


class BrokerClient:
    """All pool legs of one worker, by one configuration. Make it in the worker, after the fork.

    Args:
        peers: the gateways there are legs to.
        workers: how many workers this gateway has.
        readiness: where legs are registered.
        dialler: for sessions that find no leg.
        on_peer_down: see the attribute.
        before: whom this one succeeds: its line to the broker goes on here, and so do its legs to peers whose settings
            are the same. To sessions that began with it they stay lent as they are.

    Attributes:
        on_peer_down: called in the hub with the name of a peer that is down from now on.
    """

    def __init__(  # what legs are made of, and whose go on
        self,
        peers: Iterable[Peer],
        *,
        workers: int,
        readiness: Readiness,
        dialler: LegDialler,
        on_peer_down: Callable[[str], object],
        before: "BrokerClient | None" = None,
    ) -> None:
        self.on_peer_down = on_peer_down
        self._readiness = readiness
        self._dialler = dialler
        self._line: BrokerLine = before._line if before else BrokerLine(readiness)
        self._is_succeeded = False
        own = [(before and before._hand_on(peer)) or self._make(peer, workers) for peer in peers]
        self._own = {legs.peer.name: legs for legs in own}  # those that have gone on elsewhere excepted
        self._legs = dict(self._own)  # sessions find them here as long as they live
        for legs in own:
            legs.on_down = self._down
        if before:
            before._is_succeeded = True
        self._line.serve(own)

    def __repr__(self) -> str:
        return f"<BrokerClient {'connected' if self._line.is_connected else 'alone'} {list(self._legs.values())}>"

    def connect(self, sock: socket.socket) -> None:
        """Go on with a new broker, whose channel this is; it is owned here from now on."""
        self._line.connect(sock)

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
        with self._parting():
            for legs in self._own.values():
                legs.surrender()

    def retire(self) -> None:
        """Give the idle legs to the broker, or close them; those that sessions have are closed as they end.

        A session that wants another leg dials for it. What a successor has taken over is not concerned; where there is
        one, the broker hears no more of the others, and they are closed.
        """
        with self._parting():
            for legs in self._own.values():
                legs.retire()

    # How.

    def _make(self, peer: Peer, workers: int) -> PeerLegs:
        size = min(peer.magazine, largest_size(pool_max=peer.pool_max, workers=workers))
        return PeerLegs(peer, size=size, readiness=self._readiness, line=self._line, on_down=self._down)

    def _hand_on(self, peer: Peer) -> PeerLegs | None:
        """Give a successor the legs to a peer, which are its own from then on; None where its settings are others."""
        legs = self._own.get(peer.name)
        return self._own.pop(peer.name) if legs is not None and legs.peer == peer else None

    @contextmanager
    def _parting(self) -> Iterator[None]:
        """Leave the broker, unless the line to it is a successor's."""
        if not self._is_succeeded:
            self._line.stop_hearing()
        yield
        if not self._is_succeeded:
            self._line.leave()

    def _down(self, peer: str) -> None:
        self.on_peer_down(peer)


def _link(name: str, sample: PathSample) -> Link:
    rtt_us = 0 if sample.rtt_s is None else min(round(sample.rtt_s * 1e6), (1 << 32) - 1)
    return Link(name, sample.is_up, rtt_us, round(sample.loss * 1e6))

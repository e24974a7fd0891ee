"""What one worker has to do with other gateways: legs to them, legs of theirs, and which paths sessions take.

Built where the configuration names other gateways, and only there.
"""

import logging
import resource
import socket
from collections.abc import Callable
from typing import Final

import gevent

from pools.broker_client import BrokerClient
from pools.frame_bodies import Link, Open
from pools.key_file import KeyFile
from pools.leg import PoolLeg
from pools.leg_dial import LegDialler
from pools.net.pump import PumpRoom
from pools.net.resolver import Resolver
from pools.path_choice import PathSample
from pools.refill import DEMAND_INTERVAL_S
from workers.capacity import legs_within
from workers.door import Door
from workers.overlay import Overlay
from workers.post import Post
from workers.routing import Path, Routes
from workers.settings import Mode

_log = logging.getLogger(__name__)

_DOWN: Final = PathSample(is_up=False)


class Peering:
    """The legs and the paths of one worker. Owns all of it.

    Args:
        sessions_limit: how many sessions this worker may hold.
        resolver: who knows the peers' addresses.

    Attributes:
        legs: legs to peers; None where there are none.
        overlay: legs of peers; None where they cannot come in.
        routes: the paths of each listener.
        on_open: called with each session that a peer asks for, and the leg that it asks on.
    """

    def __init__(self, post: Post, *, room: PumpRoom, resolver: Resolver, sessions_limit: int) -> None:
        settings = post.settings
        keys = KeyFile(settings.key_file)
        self.on_open: Callable[[PoolLeg, Open], None] = lambda leg, _: leg.close()
        self.legs = self._make_legs(post, keys, room, resolver) if settings.peers else None
        self.overlay: Overlay | None = None
        if any(listen.mode is Mode.OVERLAY for listen in settings.listens):
            self.overlay = self._make_overlay(post, keys, room, sessions_limit)
        self.routes = Routes(settings.listens, self._sample)
        self._beats = gevent.get_hub().loop.timer(DEMAND_INTERVAL_S, DEMAND_INTERVAL_S)
        self._beats.start(self._beat)

    def join_broker(self, descriptor: int) -> None:
        """Go on with a new broker, by the channel that `descriptor` is, which is owned here from now on."""
        channel = socket.socket(fileno=descriptor)
        channel.setblocking(False)
        if self.legs is None:
            channel.close()
        else:
            self.legs.connect(channel)

    def drain(self) -> None:
        """Take no new leg of a peer, and tell those that have one to go elsewhere."""
        if self.overlay is not None:
            self.overlay.drain()

    def close(self) -> None:
        """End all legs; no session has one any more."""
        self._beats.stop()
        self._beats.close()
        if self.overlay is not None:
            self.overlay.close()
        if self.legs is not None:
            self.legs.close()

    def _make_legs(self, post: Post, keys: KeyFile, room: PumpRoom, resolver: Resolver) -> BrokerClient:
        settings = post.settings
        dialler = LegDialler(
            settings.gateway, keys=keys, readiness=room.readiness, resolver=resolver, origin=post.origin
        )
        return BrokerClient(
            settings.peers,
            workers=settings.workers,
            readiness=room.readiness,
            dialler=dialler,
            on_peer_down=self._peer_down,
        )

    def _make_overlay(self, post: Post, keys: KeyFile, room: PumpRoom, sessions_limit: int) -> Overlay:
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        door = Door(post.settings.gateway, keys=keys, greenlets=room.greenlets, row=post.row)
        return Overlay(
            door,
            readiness=room.readiness,
            room=legs_within(descriptors, sessions=sessions_limit),
            row=post.row,
            on_open=self._opened,
            links=self._links,
            congestions={peer.name: peer.congestion for peer in post.settings.peers if peer.congestion},
        )

    def _opened(self, leg: PoolLeg, message: Open) -> None:
        self.on_open(leg, message)

    def _sample(self, path: Path) -> PathSample:
        return _DOWN if self.legs is None else self.legs.path(path)

    def _links(self) -> tuple[Link, ...]:
        return () if self.legs is None else self.legs.links()

    def _peer_down(self, peer: str) -> None:
        _log.info("gateway %s does not answer", peer)
        self.routes.look()

    def _beat(self) -> None:
        if self.legs is not None:
            self.legs.beat()
        self.routes.look()

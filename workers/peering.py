"""What one service has to do with other gateways: legs to them, legs of theirs, and which paths sessions take.

Built where the configuration names other gateways, and only there.
"""

import logging
import resource
import socket
from collections.abc import Callable, Iterator
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
from workers.settings import Mode, WorkerSettings

_log = logging.getLogger(__name__)

_DOWN: Final = PathSample(is_up=False)


class Peering:
    """The legs and the paths of one service. Owns all of it, until its successor takes over what stays as it is.

    Where this gateway's name and its key file are the same, legs to each peer stay whose settings are the same, and
    legs of peers where there still is an overlay.

    Args:
        post: what its worker has by the configuration that it is made of.
        resolver: who knows the peers' addresses.
        serials: counts the legs that this worker dials, all its life.
        sessions_limit: how many sessions this worker may hold.
        before: whose legs are taken over; None for nobody's.

    Attributes:
        legs: legs to peers; None where there are none.
        overlay: legs of peers; None where they cannot come in.
        routes: the paths of each listener.
        on_open: called with each session that a peer asks for, and the leg that it asks on.
    """

    def __init__(
        self,
        post: Post,
        *,
        room: PumpRoom,
        resolver: Resolver,
        serials: Iterator[int],
        sessions_limit: int,
        before: "Peering | None" = None,
    ) -> None:
        settings = post.settings
        self.on_open: Callable[[PoolLeg, Open], None] = lambda leg, _: leg.close()
        self._terms = (settings.gateway, settings.key_file)
        if before is None or before._terms != self._terms:
            before = None
        self._keys: KeyFile = before._keys if before else KeyFile(settings.key_file)
        self._dialler: LegDialler = before._dialler if before else self._make_dialler(post, room, resolver, serials)
        self.legs: BrokerClient | None = self._make_legs(settings, room, before=before.legs if before else None)
        self.overlay: Overlay | None = None
        if any(listen.mode is Mode.OVERLAY for listen in settings.listens):
            handed_on = before._hand_on_overlay() if before else None
            self.overlay = self._make_overlay(post, room) if handed_on is None else handed_on
        self._has_overlay = self.overlay is not None
        self._take_over(post, sessions_limit)
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

    @property
    def is_left(self) -> bool:
        """Whether no peer has a leg here any more that would have to be closed under it."""
        return self.overlay is None or not self._has_overlay or not len(self.overlay)

    def drain(self) -> None:
        """Tell peers that have legs here to go elsewhere. What sessions need goes on."""
        if self.overlay is not None and self._has_overlay:
            self.overlay.drain()

    def retire(self) -> None:
        """Drain, and keep no leg to a peer any more that no session has. What was handed on is its new owner's."""
        self._beats.stop()
        self.drain()
        if self.legs is not None:
            self.legs.retire()

    def close(self) -> None:
        """End all legs; no session has one any more."""
        self._beats.stop()
        self._beats.close()
        if self.overlay is not None and self._has_overlay:
            self.overlay.close()
        if self.legs is not None:
            self.legs.close()

    def _hand_on_overlay(self) -> Overlay | None:
        self._has_overlay = False
        return self.overlay  # its sessions go on to use it

    def _take_over(self, post: Post, sessions_limit: int) -> None:
        """Be told of what becomes of legs of peers from now on, and say what holds for them."""
        if self.overlay is not None:
            descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            self.overlay.room = legs_within(descriptors, sessions=sessions_limit)
            self.overlay.on_open = self._opened
            self.overlay.links = self._links
            self.overlay.choose({peer.name: peer.congestion for peer in post.settings.peers if peer.congestion})

    def _make_dialler(self, post: Post, room: PumpRoom, resolver: Resolver, serials: Iterator[int]) -> LegDialler:
        return LegDialler(
            post.settings.gateway,
            keys=self._keys,
            readiness=room.readiness,
            resolver=resolver,
            origin=post.origin,
            serials=serials,
        )

    def _make_legs(
        self, settings: WorkerSettings, room: PumpRoom, *, before: BrokerClient | None
    ) -> BrokerClient | None:
        if not settings.peers:
            return None
        return BrokerClient(
            settings.peers,
            workers=settings.workers,
            readiness=room.readiness,
            dialler=self._dialler,
            on_peer_down=self._peer_down,
            before=before,
        )

    def _make_overlay(self, post: Post, room: PumpRoom) -> Overlay:
        door = Door(post.settings.gateway, keys=self._keys, greenlets=room.greenlets, row=post.row)
        return Overlay(door, readiness=room.readiness, room=0, row=post.row, on_open=self._opened)

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

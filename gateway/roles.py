"""Which children a gateway has, and what each is handed at its fork."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from gateway.arrangement import Arrangement
from gateway.child import AdminPost, Kind, Role
from gateway.sockets.holdings import Holdings
from pools.broker_post import BrokerPost
from pools.net.scoreboard import Scoreboard
from workers.post import Post
from workers.settings import WorkerSettings
from workers.source_limit import SourceTable


@dataclass(frozen=True, slots=True)
class Mains:
    """What children of each kind live by after the fork; each returns the exit code."""

    worker: Callable[[Post], int]
    broker: Callable[[BrokerPost], int]
    admin: Callable[[AdminPost], int]


@dataclass(frozen=True, slots=True)
class Roles:
    """What children have a part in, by one configuration. All of it is the gateway's.

    Attributes:
        arrangement: what they are told.
        holdings: the sockets that outlive children, as they are by that configuration.
        scoreboard: everybody's numbers.
        sources: counts per client address, with room for every worker there may be.
        held: whether a child of a kind, born now, waits for the order BEGIN.
    """

    arrangement: Arrangement
    holdings: Holdings
    scoreboard: Scoreboard
    sources: SourceTable
    mains: Mains
    held: Callable[[Kind], bool] = lambda _: False

    def cast(self) -> list[Role]:
        """Give every role: the workers' in slot order, the broker's if there are peers, the admin child's if wanted."""
        return [*self.workers(), *filter(None, (self.broker(), self.admin()))]

    def workers(self) -> list[Role]:
        """Give the workers' roles, in slot order."""
        return [self._worker(position) for position in range(self._told.workers)]

    def broker(self) -> Role | None:
        """Give the broker's role; None where there are no peers."""
        if not self._told.peers:
            return None
        return Role(
            kind=Kind.BROKER,
            name="broker",
            number=0,
            process_name="gateway-broker",
            core=None,
            row=self.scoreboard.broker,
            sockets=(),
            main=lambda channel, origin: self.mains.broker(self._broker_post(channel, origin)),
            after_death=self.scoreboard.links.clear_gauges,
        )

    def admin(self) -> Role | None:
        """Give the admin child's role; None where nothing is told over HTTP."""
        listener = self.holdings.admin
        if listener is None:
            return None
        return Role(
            kind=Kind.ADMIN,
            name="admin",
            number=0,
            process_name="gateway-admin",
            core=None,
            row=self.scoreboard.admin,
            sockets=(listener,),
            main=lambda channel, _origin: self.mains.admin(self._admin_post(listener, channel)),
            after_death=lambda: None,
        )

    @property
    def _told(self) -> WorkerSettings:
        return self.arrangement.told

    def _worker(self, position: int) -> Role:
        number, core = self.arrangement.places[position], self.arrangement.cores[position]
        listeners, row = self.holdings.of_worker(position), self.scoreboard.row(number)
        capture = self.holdings.capture_of_worker(position)

        def live(channel: socket.socket, origin: int) -> int:
            post = Post(number, core, self._told, listeners, row, self.sources, origin, channel, capture)
            return self.mains.worker(replace(post, held=self.held(Kind.WORKER)))

        return Role(
            kind=Kind.WORKER,
            name=f"worker {number}",
            number=number,
            process_name=f"gateway-w{number}",
            core=core,
            row=row,
            sockets=listeners if capture is None else (*listeners, *capture.sockets),
            main=live,
            after_death=partial(self.sources.clear, number),
        )

    def _broker_post(self, channel: socket.socket, origin: int) -> BrokerPost:
        board = self.scoreboard
        return BrokerPost(self._told.for_broker(), origin, board.links, board.broker, channel)

    def _admin_post(self, listener: socket.socket, channel: socket.socket) -> AdminPost:
        settings = self.arrangement.settings
        filled = settings.ready_when_filled
        held = self.held(Kind.ADMIN)
        return AdminPost(listener, self._told, self.scoreboard, filled, settings.health, channel, held)

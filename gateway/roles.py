"""Which children a gateway has, and what each is handed at its fork."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.child import AdminPost, Kind, Role
from gateway.holdings import Holdings
from gateway.reasons import Thresholds
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
    """What children have a part in. All of it is the gateway's.

    Attributes:
        told: what every worker is told; the broker gets its share of it.
        cores: each worker's.
        holdings: the sockets that outlive children.
        scoreboard: everybody's numbers.
        sources: counts per client address, with room for every worker there may be.
        ready_when_filled: readiness waits until the pools of peers were filled once.
        health: from where on the gateway is degraded.
    """

    told: WorkerSettings
    cores: tuple[int, ...]
    holdings: Holdings
    scoreboard: Scoreboard
    sources: SourceTable
    ready_when_filled: bool
    health: Thresholds

    def cast(self, mains: Mains) -> list[Role]:
        """Give every role: the workers' in slot order, the broker's if there are peers, the admin child's if wanted."""
        roles = [self._worker(slot, mains.worker) for slot in range(self.told.workers)]
        if self.told.peers:
            roles.append(self._broker(mains.broker))
        if self.holdings.admin is not None:
            roles.append(self._admin(self.holdings.admin, mains.admin))
        return roles

    def _worker(self, slot: int, main: Callable[[Post], int]) -> Role:
        listeners, row, core = self.holdings.of_worker(slot), self.scoreboard.row(slot), self.cores[slot]
        capture = self.holdings.capture_of_worker(slot)

        def live(channel: socket.socket, origin: int) -> int:
            return main(Post(slot, core, self.told, listeners, row, self.sources, origin, channel, capture))

        return Role(
            kind=Kind.WORKER,
            name=f"worker {slot}",
            process_name=f"gateway-w{slot}",
            core=core,
            row=row,
            sockets=listeners if capture is None else (*listeners, *capture.sockets),
            main=live,
            after_death=partial(self.sources.clear, slot),
        )

    def _broker(self, main: Callable[[BrokerPost], int]) -> Role:
        return Role(
            kind=Kind.BROKER,
            name="broker",
            process_name="gateway-broker",
            core=None,
            row=self.scoreboard.broker,
            sockets=(),
            main=lambda channel, origin: main(self._broker_post(channel, origin)),
            after_death=self.scoreboard.links.clear_gauges,
        )

    def _broker_post(self, channel: socket.socket, origin: int) -> BrokerPost:
        told = self.told
        return BrokerPost(
            gateway=told.gateway,
            peers=told.peers,
            workers=told.workers,
            key_file=told.key_file,
            origin=origin,
            connect_s=told.timeouts.connect,
            resolve_every_s=told.outbound.resolve_every,
            keepalive=told.keepalive,
            links=self.scoreboard.links,
            row=self.scoreboard.broker,
            channel=channel,
        )

    def _admin(self, listener: socket.socket, main: Callable[[AdminPost], int]) -> Role:
        row = self.scoreboard.admin

        def live(channel: socket.socket, _origin: int) -> int:
            return main(AdminPost(listener, self.told, self.scoreboard, self.ready_when_filled, self.health, channel))

        return Role(
            kind=Kind.ADMIN,
            name="admin",
            process_name="gateway-admin",
            core=None,
            row=row,
            sockets=(listener,),
            main=live,
            after_death=lambda: None,
        )

"""Connections kept ready to destinations that are known beforehand: a session that goes there need not wait for one.

Here is which destinations; what is done for one of them is in `workers.stock`.
"""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import gevent

from pools.net.endpoint import Endpoint
from pools.net.readiness import Readiness
from pools.net.resolver import Address
from pools.net.scoreboard import Cell, Row
from workers.capacity import share_of
from workers.egress import Egress, Ready
from workers.settings import WorkerSettings
from workers.stock import Stock

if TYPE_CHECKING:
    from workers.session import Session

_LOOK_S: Final = 0.25

ForPeer: TypeAlias = bool


class Preconnect:
    """All that one worker keeps ready. Make it, and close it, in the hub or before it runs.

    Args:
        egress: who dials; it hands out what is ready from here on.
        row: where hits, misses and the like are counted.
    """

    def __init__(self, settings: WorkerSettings, *, egress: Egress, readiness: Readiness, row: Row) -> None:
        self._row = row
        self._stocks = {
            (to, for_peer): Stock(
                to,
                share,
                egress=egress,
                readiness=readiness,
                keepalive=settings.keepalive,
                connect_s=settings.timeouts.connect,
                allowed=_judge(settings, to) if for_peer else _any,
                row=row,
            )
            for (to, for_peer), share in shares(settings).items()
        }
        self._looks = gevent.get_hub().loop.timer(_LOOK_S, _LOOK_S)
        egress.preconnect = self

    def start(self) -> None:
        """Begin to dial."""
        if self._stocks:
            self._look()
            self._looks.start(self._look)

    def take(self, destination: Endpoint, *, for_peer: ForPeer) -> Ready | None:
        """Give a connection that is ready; None where there is none."""
        stock = self._stocks.get((destination, for_peer))
        return None if stock is None else stock.take()

    def has(self, destination: Endpoint, *, for_peer: ForPeer) -> bool:
        """Tell whether there is one that `take` would give."""
        stock = self._stocks.get((destination, for_peer))
        return stock is not None and len(stock) > 0

    def close(self) -> None:
        """Close all, and dial no more."""
        self._looks.stop()
        self._looks.close()
        for stock in self._stocks.values():
            stock.close()
        self._stocks.clear()
        self._row[Cell.PRECONNECT_IDLE] = 0

    def _look(self) -> None:
        for stock in self._stocks.values():
            stock.look()
        self._row[Cell.PRECONNECT_IDLE] = sum(len(stock) for stock in self._stocks.values())


def ready_for(session: "Session", destination: Endpoint) -> Ready | None:
    """Give a connection to `destination` that `session` may have, without waiting; None where there is none."""
    if session.listen.preserve_source:  # whoever it was made for, it came from an address of this host
        return None
    return session.egress.ready(destination, for_peer=session.origin is not None)


def shares(settings: WorkerSettings) -> dict[tuple[Endpoint, ForPeer], int]:
    """Give how many connections one worker keeps, by destination and whether they are for peers' sessions.

    What two listeners want of one destination adds up. A share is rounded up, so that no worker goes without.
    """
    wanted: Counter[tuple[Endpoint, ForPeer]] = Counter()
    for listen in settings.listens:
        if listen.to is not None and listen.preconnect:
            wanted[listen.to, False] += listen.preconnect
    for each in settings.preconnect:
        wanted[each.to, True] += each.connections
    return {key: share_of(count, workers=settings.workers) for key, count in wanted.items()}


def _judge(settings: WorkerSettings, to: Endpoint) -> Callable[[Address], bool]:
    return lambda address: settings.egress.allows(to.host, address.sockaddr[0], to.port)


def _any(_address: Address) -> bool:
    return True

"""The connections that one worker keeps ready to one destination.

When to dial and how long one keeps is decided in `workers.standby`. Whoever takes a connection owns it, as if it had
dialled; what the destination has said on it meanwhile (ssh, SMTP) is there to be read.

The destination may end a connection in the moment in which a session takes it: its FIN is on the way, and no look shows
it. That session breaks, as it would on any connection that breaks. So the youngest is lent first, and none is kept for
as long as the destination was seen to bear.
"""

import errno
import logging
import socket
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

import gevent
from gevent.pool import Group

from pools.net import sockopts
from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, Phase, Side
from pools.net.keepalive import Keepalive
from pools.net.rate_limit import OncePer
from pools.net.readiness import Readiness
from pools.net.resolver import Address
from pools.net.scoreboard import Cell, Row
from pools.net.stream import Stream
from workers.egress import Egress, Ready
from workers.standby import EARLY_S, Standby

_log = logging.getLogger(__name__)

_WARN_EVERY_S: Final = 60.0


class Stock:
    """See the module. Owns each connection until it is taken. Called in the hub or a session's greenlet.

    Args:
        wanted: how many to keep.
        connect_s: how long a dial may take, the lookup of the name included.
        allowed: which of the destination's addresses may be dialled.
        row: where hits, misses and the like are counted.
    """

    def __init__(  # noqa: PLR0913  # where connections come from, how they are kept, and what is told of them
        self,
        destination: Endpoint,
        wanted: int,
        *,
        egress: Egress,
        readiness: Readiness,
        keepalive: Keepalive,
        connect_s: float,
        row: Row,
        allowed: Callable[[Address], bool],
    ) -> None:
        self._destination = destination
        self._standby = Standby(wanted)
        self._egress = egress
        self._readiness = readiness
        self._keepalive = keepalive
        self._connect_s = connect_s
        self._row = row
        self._allowed = allowed
        self._ready: list[Ready] = []  # the oldest first
        self._dials = Group()
        self._refill_is_due = False
        self._is_closed = False
        self._warn = OncePer(_WARN_EVERY_S)
        self._chance = Random()

    def __len__(self) -> int:
        return len(self._ready)

    def __repr__(self) -> str:
        return f"<Stock {self._destination} {len(self._ready)} ready, {len(self._dials)} dialling>"

    def take(self) -> Ready | None:
        """Give the youngest connection that is fit, and have another one dialled; None where there is none."""
        self._refill_soon()
        while self._ready:
            ready = self._ready.pop()
            if _is_fit(ready.stream):
                ready.stream.on_readable = None
                self._row.add(Cell.PRECONNECT_HITS)
                return ready
            self._ended(ready)
        self._row.add(Cell.PRECONNECT_MISSES)
        return None

    def look(self) -> None:
        """Replace what is too old, and dial what is missing; a few times a second, and whenever one is gone."""
        self._refill_is_due = False
        if self._is_closed:
            return
        now_s = monotonic_s()
        born_by_s = now_s - self._standby.keep_s(now_s)
        while self._ready and self._ready[0].born_s <= born_by_s:
            self._retire(self._ready.pop(0))
        for _ in range(self._standby.dials(ready=len(self._ready), dialling=len(self._dials), now_s=now_s)):
            self._dials.spawn(self._dial)

    def close(self) -> None:
        """Close all, in order, and dial no more."""
        self._is_closed = True
        self._dials.kill(block=False)
        while self._ready:
            self._retire(self._ready.pop())

    def _dial(self) -> None:
        try:
            ready = self._connected()
        except LegError as error:
            self._row.add(Cell.PRECONNECT_FAILED)
            self._standby.failed(now_s=monotonic_s(), jitter=self._chance.random())
            self._tell(logging.WARNING, "cannot keep connections ready: %s", error)
            return
        self._row.add(Cell.PRECONNECT_DIALLED)
        self._standby.connected(ready.born_s)
        self._keep(ready)
        self._refill_soon()

    def _connected(self) -> Ready:
        timeout = gevent.Timeout.start_new(self._connect_s)
        target = self._destination
        try:
            addresses = tuple(filter(self._allowed, self._egress.resolve(target)))
            if not addresses:
                raise LegError(Side.OUTBOUND, Phase.RESOLVE, errno.EACCES, str(target))
            stream, sockaddr = self._egress.connect(target, addresses, deadline_s=monotonic_s() + self._connect_s)
        except gevent.Timeout as fired:
            if fired is not timeout:
                raise
            raise LegError(Side.OUTBOUND, Phase.CONNECT, errno.ETIMEDOUT, str(target), retryable=True) from None
        finally:
            timeout.close()
        k = self._keepalive  # now and not at a session's first look: what lies idle must not be forgotten on the way
        sockopts.keepalive(stream.socket, idle_s=k.idle, interval_s=k.interval, probes=k.probes)
        return Ready(monotonic_s(), stream, sockaddr)

    def _keep(self, ready: Ready) -> None:
        if self._is_closed:
            self._retire(ready)
            return
        self._ready.append(ready)
        ready.stream.on_readable = partial(self._stirs, ready)
        if ready.stream.readable:
            self._stirs(ready)

    def _stirs(self, ready: Ready) -> None:
        """Look at a connection on which something came: an end, or words for whoever will have it."""
        if not _is_fit(ready.stream):
            self._ready.remove(ready)
            self._ended(ready)

    def _ended(self, ready: Ready) -> None:
        now_s = monotonic_s()
        age_s = now_s - ready.born_s
        self._standby.ended(age_s, now_s=now_s, jitter=self._chance.random())
        level = logging.WARNING if age_s < EARLY_S else logging.INFO
        self._tell(level, "%s ended a connection that was kept ready, after %.1f s", self._destination, age_s)
        self._retire(ready)
        self._refill_soon()

    def _retire(self, ready: Ready) -> None:
        self._row.add(Cell.PRECONNECT_CLOSED)
        ready.stream.on_readable = None
        ready.stream.finish()

    def _refill_soon(self) -> None:
        if not self._refill_is_due and not self._is_closed:
            self._refill_is_due = True
            self._readiness.defer(self.look)

    def _tell(self, level: int, line: str, *values: object) -> None:
        if self._warn.allow(monotonic_s()):
            _log.log(level, line + " (%d such lines not shown)", *values, self._warn.suppressed)


def _is_fit(stream: Stream) -> bool:
    """Tell whether a session can have it: open in both directions, whatever was said."""
    if stream.fd < 0 or stream.ending:
        return False
    try:
        return bool(stream.socket.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False

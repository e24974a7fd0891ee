"""Where strangers stand until they have proved that they are gateways of this overlay.

Before a valid HELLO nothing is said, and after anything wrong the connection is closed without a word. A stranger
costs a descriptor and a greenlet, for as long as a handshake may take; what it says is held to the size of a frame
that a handshake can have.
"""

import logging
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Final

import gevent

from pools.frame_bodies import NONCE_BYTES
from pools.frames import Role
from pools.handshake import Handshake
from pools.introduction import introduce
from pools.key_file import KeyFile
from pools.leg import PoolLeg
from pools.leg_dial import HANDSHAKE_S
from pools.net.clock import monotonic_s
from pools.net.errors import MidmileError, ProtocolError
from pools.net.greenlet_pool import GreenletPool
from pools.net.rate_limit import OncePer
from pools.net.resolver import SocketAddress
from pools.net.scoreboard import Cell, Row
from pools.net.stream import StreamClosed
from workers.capacity import HANDSHAKES
from workers.greeting import endpoint_of
from workers.source_limit import source_of

_log = logging.getLogger(__name__)

_WARN_EVERY_S: Final = 10.0


class Door:
    """The handshakes under way in one worker. Owns a leg from `knock` until `on_peer` gets it, or closes it.

    At most `room` at once. When there are more, the source with the most of them loses its oldest. So one source, or
    a few, only push out their own; those who use very many still leave everybody the time that `room` newcomers take
    to come. To turn away newcomers instead would let anybody lock all peers out with `room` silent connections.

    Args:
        gateway: our name.
        keys: the overlay's, read anew when they change.
        greenlets: one is held for each handshake.
        row: where strangers are counted.
        limit_s: for one handshake, seconds.
        room: how many at once.

    Attributes:
        on_peer: called in the handshake's greenlet with each leg that has proved itself and its gateway's name.
    """

    def __init__(
        self,
        gateway: str,
        *,
        keys: KeyFile,
        greenlets: GreenletPool,
        row: Row,
        limit_s: float = HANDSHAKE_S,
        room: int = HANDSHAKES,
    ) -> None:
        self.on_peer: Callable[[PoolLeg, str], None] = lambda leg, _: leg.close()
        self._gateway = gateway
        self._keys = keys
        self._greenlets = greenlets
        self._row = row
        self._limit_s = limit_s
        self._room = room
        self._newcomers: dict[PoolLeg, SocketAddress] = {}  # the oldest first
        self._warn = OncePer(_WARN_EVERY_S)

    def __len__(self) -> int:
        return len(self._newcomers)

    def knock(self, leg: PoolLeg, client: SocketAddress) -> None:
        """Begin the handshake with who is at the other end of a leg just accepted; in the hub."""
        if len(self._newcomers) >= self._room:
            self._turn_away(self._one_too_many(), "pushed out by newer ones before it had proved anything")
        self._newcomers[leg] = client
        self._greenlets.run(self._greet, leg)

    def close(self) -> None:
        """Close all that have not proved themselves yet; in the hub."""
        while self._newcomers:
            self._newcomers.popitem()[0].close()

    def _greet(self, leg: PoolLeg) -> None:
        try:
            peer = self._introduce(leg)
        except StreamClosed:  # pushed out, or the door was closed
            return
        except MidmileError as error:
            self._turn_away(leg, str(error))
            return
        except BaseException:
            self._newcomers.pop(leg, None)
            leg.close()
            raise
        del self._newcomers[leg]
        self.on_peer(leg, peer)

    def _introduce(self, leg: PoolLeg) -> str:
        nonce = secrets.token_bytes(NONCE_BYTES)
        handshake = Handshake(Role.ACCEPTOR, self._gateway, keys=self._keys.keys(), nonce=nonce)
        timeout = gevent.Timeout.start_new(self._limit_s)
        try:
            return introduce(leg, handshake)
        except gevent.Timeout as fired:
            if fired is not timeout:
                raise
            raise ProtocolError(f"expected a handshake within {self._limit_s:g} s; found none") from None
        finally:
            timeout.close()

    def _one_too_many(self) -> PoolLeg:
        sources = {leg: source_of(client[0]) for leg, client in self._newcomers.items()}
        [(most, _)] = Counter(sources.values()).most_common(1)  # of equal ones, the one that was here first
        return next(leg for leg, source in sources.items() if source == most)

    def _turn_away(self, leg: PoolLeg, reason: str) -> None:
        client = self._newcomers.pop(leg, None)
        if client is None:  # it was closed while this was on its way
            return
        leg.close()
        self._row.add(Cell.STRANGERS)
        if self._warn.allow(monotonic_s()):
            source, hidden = endpoint_of(client), self._warn.suppressed
            _log.warning("%s is no gateway of this overlay: %s (%d such lines not shown)", source, reason, hidden)

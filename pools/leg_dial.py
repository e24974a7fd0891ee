"""Makes a leg to a peer: resolves, connects, proves who is who. When and how many is decided elsewhere."""

import errno
import secrets
from collections.abc import Iterator
from itertools import count
from random import Random

import gevent

from pools.frame_bodies import NONCE_BYTES
from pools.frames import Role
from pools.handshake import Handshake
from pools.introduction import introduce
from pools.key_file import KeyFile
from pools.ledger import leg_id
from pools.leg import PoolLeg
from pools.message_rules import LegCard
from pools.net import dial, sockopts
from pools.net.clock import monotonic_s
from pools.net.errors import ConfigurationError, LegError, Phase, ProtocolError, Side
from pools.net.readiness import Readiness
from pools.net.resolver import Address, ResolveError, Resolver
from pools.net.stream import StreamFailed
from pools.net.transport import is_mptcp
from pools.peer import Peer

HANDSHAKE_S = 5.0
"""For a whole handshake, at either end."""

KEEPALIVE_IDLE_S = 15
"""Far below the 240 s after which the strictest of the clouds forgets a flow."""

_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_PROBES = 3
USER_TIMEOUT_S = 20.0
"""How long another gateway may leave unacknowledged what was sent to it."""

_AGE_SPREAD = 0.25  # of the age that a leg may lose by chance, so that those dialled together do not leave together


class LegDialler:
    """Dials legs for one process.

    Args:
        gateway: our name.
        keys: the overlay's, read anew when they change.
        readiness: where legs are registered.
        resolver: who knows the peers' addresses.
        origin: this process's number for its legs, see `pools.ledger.leg_id`.
        serials: counts its legs; where this process has had other diallers, they share it.
    """

    def __init__(
        self,
        gateway: str,
        *,
        keys: KeyFile,
        readiness: Readiness,
        resolver: Resolver,
        origin: int,
        serials: Iterator[int] | None = None,
    ) -> None:
        self._gateway = gateway
        self._keys = keys
        self._readiness = readiness
        self._resolver = resolver
        self._origin = origin
        self._serials = serials or count()
        self._chance = Random(origin)  # spreads ages, keeps no secret

    def dial(self, peer: Peer, *, limit_s: float) -> PoolLeg:
        """Make a leg, parking this greenlet; tries the peer's addresses in order.

        Args:
            peer: where to; whoever answers must prove that this is its name.
            limit_s: for all of it, seconds.

        Returns:
            An authenticated, idle leg with its card, the caller's.

        Raises:
            LegError: no address, no connection, no proof (EKEYREJECTED), or too late (ETIMEDOUT). Nothing stays open.
        """
        timeout = gevent.Timeout.start_new(limit_s)
        try:
            return self._first_that_answers(peer)
        except gevent.Timeout as fired:
            if fired is not timeout:
                raise
            raise _failed(peer, Phase.CONNECT, errno.ETIMEDOUT) from None
        finally:
            timeout.close()

    def _first_that_answers(self, peer: Peer) -> PoolLeg:
        try:
            addresses = self._resolver.addresses(peer.address.host, peer.address.port)
        except ResolveError as error:
            raise _failed(peer, Phase.RESOLVE, error.errno) from error
        for address in addresses[:-1]:
            try:
                return self._attempt(peer, address)
            except LegError as error:
                if not error.retryable:  # thrown in from outside: nobody wants the leg any more
                    raise
        return self._attempt(peer, addresses[-1])

    def _attempt(self, peer: Peer, address: Address) -> PoolLeg:
        try:
            leg = dial.dial(
                address,
                readiness=self._readiness,
                congestion=peer.congestion,
                kind=PoolLeg,
                window_bytes=peer.window_bytes,
                transport=peer.transport,
            )
        except StreamFailed as error:
            raise _failed(peer, Phase.CONNECT, error.errno) from error
        try:
            self._introduce(leg, peer)
        except BaseException as error:
            leg.close()
            if isinstance(error, StreamFailed | ProtocolError | ConfigurationError):  # not what was thrown in
                number = error.errno if isinstance(error, StreamFailed) else errno.EKEYREJECTED
                raise _failed(peer, Phase.CONNECT, number, step="handshake with ") from error
            raise
        return leg

    def _introduce(self, leg: PoolLeg, peer: Peer) -> None:
        keep_alive(leg)
        nonce = secrets.token_bytes(NONCE_BYTES)
        introduce(leg, Handshake(Role.OPENER, self._gateway, keys=self._keys.keys(), nonce=nonce, peer=peer.name))
        if leg.rest:
            raise ProtocolError("expected nothing behind the handshake; found more")
        leg.begin(Role.OPENER, peer.name, card=self._card(peer))

    def _card(self, peer: Peer) -> LegCard:
        born_s = monotonic_s()
        age_s = peer.max_age * (1 - _AGE_SPREAD * self._chance.random())
        return LegCard(leg_id(self._origin, next(self._serials)), born_s, born_s + age_s)


def keep_alive(leg: PoolLeg) -> None:
    """Have the kernel find out that a leg leads nowhere, and reset its session: 20 s after data, 25 s where it is idle.

    The user timeout counts for keepalive probes, too (tcp_keepalive_timer() in the kernel's net/ipv4/tcp_timer.c).
    MPTCP has none: there it takes 30 s where the leg is idle, and `workers.watch` looks after those in use.
    """
    sockopts.keepalive(leg.socket, idle_s=KEEPALIVE_IDLE_S, interval_s=_KEEPALIVE_INTERVAL_S, probes=_KEEPALIVE_PROBES)
    try:
        sockopts.user_timeout(leg.socket, USER_TIMEOUT_S)
    except sockopts.OptionError:
        if not is_mptcp(leg.socket):
            raise


def _failed(peer: Peer, phase: Phase, number: int, *, step: str = "") -> LegError:
    return LegError(Side.OUTBOUND, phase, number, f"{step}gateway {peer.name} at {peer.address}", retryable=True)

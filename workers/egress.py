"""The way out: from a destination's name to a connected outbound leg. Who wants to go there is the session's affair."""

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import gevent

from pools.net import dial
from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, Phase, Side
from pools.net.readiness import Readiness
from pools.net.resolver import Address, ResolveError, Resolver, SocketAddress
from pools.net.stream import Stream, StreamFailed
from workers.preserved_source import reachable
from workers.settings import Outbound

if TYPE_CHECKING:
    from workers.preconnect import Preconnect

_ATTEMPT_MIN_S = 1.0
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class Ready(NamedTuple):
    """A connection to a destination that is there before anybody needs it.

    Attributes:
        born_s: when it was made, on the monotonic clock.
        stream: whose it is says who has the whole.
        sockaddr: the address that it leads to.
    """

    born_s: float
    stream: Stream
    sockaddr: SocketAddress


class Egress:
    """Dials destinations for the sessions of one worker.

    Args:
        readiness: where outbound legs are registered.
        resolver: who knows the addresses.
        settings: how legs are made.
        on_retry: called for each further address tried, for a counter.

    Attributes:
        preconnect: who keeps connections ready; None for nobody.
    """

    __slots__ = ("_on_retry", "_readiness", "_resolver", "_settings", "preconnect")

    def __init__(
        self, *, readiness: Readiness, resolver: Resolver, settings: Outbound, on_retry: Callable[[], None]
    ) -> None:
        self._readiness = readiness
        self._resolver = resolver
        self._settings = settings
        self._on_retry = on_retry
        self.preconnect: Preconnect | None = None

    def ready(self, destination: Endpoint, *, for_peer: bool) -> Ready | None:
        """Give a connection to `destination` without waiting, where one is kept ready; the caller's.

        Args:
            for_peer: it is another gateway that asks. Only addresses that it may open are kept for it.
        """
        return None if self.preconnect is None else self.preconnect.take(destination, for_peer=for_peer)

    def is_ready(self, destination: Endpoint, *, for_peer: bool) -> bool:
        """Tell whether `ready` would give one, as far as is known without asking the kernel."""
        return self.preconnect is not None and self.preconnect.has(destination, for_peer=for_peer)

    def resolve(self, destination: Endpoint) -> tuple[Address, ...]:
        """Give the addresses of `destination`, best first, waiting for the resolver when they are not known yet.

        Raises:
            LegError: it has none.
        """
        try:
            return self._resolver.addresses(destination.host, destination.port)
        except ResolveError as error:
            raise LegError(Side.OUTBOUND, Phase.RESOLVE, error.errno, str(destination), retryable=True) from error

    def only_address(self, destination: Endpoint) -> Address | None:
        """Give the address of a destination that has one, known and fresh: there is nothing to wait for or choose."""
        addresses = self._resolver.at_hand(destination.host, destination.port)
        return addresses[0] if len(addresses) == 1 else None

    def foreseen(self, destination: Endpoint) -> Address | None:
        """Give what `only_address` gives, and have it known soon where it is not, without waiting."""
        try:
            addresses = self._resolver.foresee(destination.host, destination.port)
        except ResolveError:
            return None
        return addresses[0] if len(addresses) == 1 else None

    def begin(self, destination: Endpoint, address: Address, *, source: str = "") -> Stream:
        """Start to connect to `address`; its `on_writable` tells when to `finish`.

        Args:
            source: the address that it comes from; empty for one of this host's.

        Raises:
            LegError: it failed at once.
        """
        if source:
            reachable((address,), source, destination)
        congestion = self._settings.congestion
        try:
            return dial.begin(address, readiness=self._readiness, congestion=congestion, kind=Stream, source=source)
        except StreamFailed as error:
            raise _failed(error, destination) from error

    def finish(self, destination: Endpoint, leg: Stream) -> None:
        """Raise LegError if `leg` is not connected after all; closing it is the caller's."""
        try:
            dial.finish(leg)
        except StreamFailed as error:
            raise _failed(error, destination) from error

    def connect(
        self, destination: Endpoint, addresses: tuple[Address, ...], *, deadline_s: float, source: str = ""
    ) -> tuple[Stream, SocketAddress]:
        """Connect to the first address that answers, trying them in order.

        An address that is not the last gets its share of the time that is left, one second at least.

        Args:
            destination: for the error's text.
            addresses: not empty.
            deadline_s: monotonic clock; the caller ends the last attempt then by an exception thrown in here.
            source: the address that it comes from; empty for one of this host's.

        Returns:
            The leg, which is the caller's, and the address it leads to.

        Raises:
            LegError: what the last address said, or that none can be reached from `source`.
        """
        if source:
            addresses = reachable(addresses, source, destination)
        for tries_left in range(len(addresses), 1, -1):
            share_s = max(_ATTEMPT_MIN_S, (deadline_s - monotonic_s()) / tries_left)
            try:
                return self._attempt(destination, addresses[-tries_left], share_s, source)
            except LegError as error:
                if not error.retryable:
                    raise
                self._on_retry()
        return self._dial(destination, addresses[-1], source)

    def _attempt(
        self, destination: Endpoint, address: Address, share_s: float, source: str
    ) -> tuple[Stream, SocketAddress]:
        timeout = gevent.Timeout.start_new(share_s)
        try:
            return self._dial(destination, address, source)
        except gevent.Timeout as fired:
            if fired is not timeout:
                raise
            raise LegError(Side.OUTBOUND, Phase.CONNECT, errno.ETIMEDOUT, str(destination), retryable=True) from None
        finally:
            timeout.close()

    def _dial(self, destination: Endpoint, address: Address, source: str) -> tuple[Stream, SocketAddress]:
        congestion = self._settings.congestion
        try:
            stream = dial.dial(address, readiness=self._readiness, congestion=congestion, kind=Stream, source=source)
        except StreamFailed as error:
            raise _failed(error, destination) from error
        return stream, address.sockaddr


def _failed(error: StreamFailed, destination: Endpoint) -> LegError:
    retryable = error.errno not in _OURS
    return LegError(Side.OUTBOUND, Phase.CONNECT, error.errno, str(destination), retryable=retryable)

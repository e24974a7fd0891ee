"""Names to addresses without stopping the loop, remembered for a while and longer when the resolver fails.

The system's resolver is asked in gevent's thread pool, so /etc/hosts, nsswitch.conf and resolv.conf mean what they
mean elsewhere. It tells no TTL, hence a fixed time after which a name is asked for again.
"""

import errno
import logging
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import gevent
from gevent.event import AsyncResult

from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint, is_address
from pools.net.errors import MidmileError
from pools.net.rate_limit import OncePer

_log = logging.getLogger(__name__)

_NAMES_MAX: Final = 4096
_STALE_PERIODS: Final = 2  # an answer this many periods old is used only when the resolver fails, or hangs
_PATIENCE_S: Final = 1.0  # with the resolver, when an old answer is at hand
_WARN_EVERY_S: Final = 30.0

SocketAddress = tuple[Any, ...]
"""What connect(2) wants: (host, port) for IPv4, (host, port, flow, scope) for IPv6."""


@dataclass(frozen=True, slots=True)
class Address:
    """One way to a destination: the address family and what the kernel wants for it."""

    family: int
    sockaddr: SocketAddress


def literal(destination: Endpoint) -> Address:
    """Give the address of a destination whose host is one, without a zone; asks nobody, and nothing is remembered."""
    host, port = destination.host, destination.port
    family = destination.family
    return Address(family, (host, port) if family == socket.AF_INET else (host, port, 0, 0))


class ResolveError(MidmileError):
    """A name has no address, and never had one here.

    Attributes:
        errno: EHOSTUNREACH when the name does not exist, EAGAIN when the resolver could not say.
    """

    def __init__(self, name: str, error: socket.gaierror) -> None:
        super().__init__(f"cannot resolve {name}: {error.strerror}")
        self.errno = errno.EAGAIN if error.errno == socket.EAI_AGAIN else errno.EHOSTUNREACH


@dataclass(slots=True)
class _Answer:
    addresses: tuple[Address, ...] = ()
    asked_s: float = float("-inf")
    pending: "AsyncResult[tuple[Address, ...]] | None" = None


class Resolver:
    """A cache before the system's resolver. Make it in the process that uses it, after the fork.

    Args:
        again_after_s: seconds after which a name is asked for again.
        on_failure: called each time the resolver fails, for a counter.
        lookup: getaddrinfo(3), or what stands for it; may wait, in a greenlet of its own.

    Attributes:
        again_after_s: may be changed at any time.
    """

    def __init__(
        self,
        *,
        again_after_s: float,
        on_failure: Callable[[], None],
        lookup: Callable[..., Sequence[Any]] | None = None,
    ) -> None:
        self.again_after_s = again_after_s
        self._on_failure = on_failure
        self._lookup = lookup or gevent.get_hub().resolver.getaddrinfo
        self._answers: OrderedDict[tuple[str, int], _Answer] = OrderedDict()
        self._warn = OncePer(_WARN_EVERY_S)

    def addresses(self, host: str, port: int) -> tuple[Address, ...]:
        """Give the addresses of a destination, best first; waits only for a name not known yet, or long not asked for.

        Raises:
            ResolveError: no address, now or earlier.
        """
        answer = self._answers.get((host, port))
        if answer is None:
            answer = self._remember(host, port)
        age_s = monotonic_s() - answer.asked_s
        if age_s > self.again_after_s:
            pending = self._ask(host, port, answer)
            if not answer.addresses:
                addresses: tuple[Address, ...] = pending.get()
                return addresses
            if age_s > self.again_after_s * _STALE_PERIODS:
                pending.wait(_PATIENCE_S)
        return answer.addresses

    def at_hand(self, host: str, port: int) -> tuple[Address, ...]:
        """Give the addresses of a destination if they are fresh and nobody has to wait for them; else none."""
        answer = self._answers.get((host, port))
        if answer is None or monotonic_s() - answer.asked_s > self.again_after_s:
            return ()
        return answer.addresses

    def foresee(self, host: str, port: int) -> tuple[Address, ...]:
        """Give what `at_hand` gives, and have it at hand soon where there is nothing, without waiting.

        Raises:
            ResolveError: an address with a zone that this host does not have.
        """
        answer = self._answers.get((host, port)) or self._remember(host, port)
        if monotonic_s() - answer.asked_s > self.again_after_s:
            self._ask(host, port, answer)
        return self.at_hand(host, port)

    def _remember(self, host: str, port: int) -> _Answer:
        if is_address(host):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            answer = _Answer(_numeric(host, port, family), asked_s=float("inf"))
        else:
            answer = _Answer()
        self._answers[(host, port)] = answer
        if len(self._answers) > _NAMES_MAX:
            self._answers.popitem(last=False)
        return answer

    def _ask(self, host: str, port: int, answer: _Answer) -> "AsyncResult[tuple[Address, ...]]":
        """Begin a lookup unless one is under way; all who ask for one name share one."""
        if answer.pending is None:
            answer.pending = AsyncResult()
            self._answers.move_to_end((host, port))  # what is in use is forgotten last
            gevent.spawn(self._look_up, host, port, answer, answer.pending)
        return answer.pending

    def _look_up(self, host: str, port: int, answer: _Answer, result: "AsyncResult[tuple[Address, ...]]") -> None:
        try:
            answer.addresses = _addresses(self._lookup(host, port, 0, socket.SOCK_STREAM))
            answer.asked_s = monotonic_s()
            result.set(answer.addresses)
        except (OSError, UnicodeError) as error:  # gaierror is one; EMFILE and its like come as they are
            self._failed(host, answer, result, _as_gaierror(error))
        finally:
            answer.pending = None

    def _failed(
        self,
        host: str,
        answer: _Answer,
        result: "AsyncResult[tuple[Address, ...]]",
        failure: socket.gaierror,
    ) -> None:
        self._on_failure()
        if not answer.addresses:
            result.set_exception(ResolveError(host, failure))
            return
        result.set(answer.addresses)
        answer.asked_s = monotonic_s()
        if self._warn.allow(monotonic_s()):
            _log.warning("cannot resolve %s again (%s); going on with its last addresses", host, failure.strerror)


def _as_gaierror(error: OSError | UnicodeError) -> socket.gaierror:
    """A name that cannot be written as one does not exist; a kernel that refuses says nothing about the name."""
    if isinstance(error, socket.gaierror):
        return error
    return socket.gaierror(socket.EAI_NONAME if isinstance(error, UnicodeError) else socket.EAI_AGAIN, str(error))


def _numeric(host: str, port: int, family: int) -> tuple[Address, ...]:
    try:
        return _addresses(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST))
    except socket.gaierror as error:  # a zone (%eth0) that this host does not have
        raise ResolveError(host, error) from error


def _addresses(info: Sequence[Any]) -> tuple[Address, ...]:
    return tuple(Address(int(family), sockaddr) for family, _, _, _, sockaddr in info)

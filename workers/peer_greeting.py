"""What is said to another gateway about a session that it asked for: whether it may be, whether it is, why it is not.

The counterpart of `workers.greeting`, where the inbound leg leads to a client.
"""

import errno
from typing import Final

from pools.egress_rules import EgressRules, Verdict
from pools.frame_bodies import Open, Opened, Refused, Where
from pools.leg import PoolLeg
from pools.net.clock import monotonic_s
from pools.net.errors import LegError, Phase, ProtocolError, Side
from pools.net.resolver import Address
from pools.net.stream import StreamFailed
from workers.crossing import OpenRefused
from workers.ingress.conversation import Request

_U32: Final = (1 << 32) - 1
_REQUEST_BYTES: Final = 4096  # more than most requests have, and far less than an upload begins with: a window of 14 KB


class Refusal(LegError):
    """This gateway does not do what another one asks for.

    Attributes:
        where: what it does not allow, or has not.
    """

    def __init__(self, where: Where, number: int, target: str) -> None:
        super().__init__(Side.OUTBOUND, Phase.CONNECT, number, target)
        self.where = where


class PeerGreeting:
    """The words about one session that a peer opened. Borrows the leg.

    Args:
        gateway: our name.
        rules: what peers may open from here.
        began_s: when the OPEN came, on the monotonic clock.
        full: the errno of why nobody may open anything now; 0 where they may.
    """

    __slots__ = ("_began_s", "_full", "_gateway", "_inbound", "_message", "_rules")

    def __init__(
        self, inbound: PoolLeg, message: Open, *, gateway: str, rules: EgressRules, full: int, began_s: float
    ) -> None:
        self._inbound = inbound
        self._message = message
        self._gateway = gateway
        self._rules = rules
        self._full = full
        self._began_s = began_s

    def hear(self) -> Request:
        """Give what the peer asks for, if it may.

        Raises:
            Refusal: it may not, there is no room, or its path leads in a circle.
        """
        message = self._message
        target = str(message.destination)
        if self._full:
            raise Refusal(Where.LIMIT, self._full, target)
        if message.returns(self._gateway, self._inbound.peer):
            raise Refusal(Where.PATH, errno.ELOOP, target)
        if not message.via:
            destination = message.destination
            if self._rules.judge_name(destination.host, destination.port) is Verdict.DENIED:
                raise Refusal(Where.POLICY, errno.EACCES, target)
        return Request(message.destination)

    def allowed(self, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
        """Give those of a destination's addresses that peers may open from here.

        Raises:
            Refusal: there is none.
        """
        asked = self._message.destination
        allowed = tuple(each for each in addresses if self._rules.allows(asked.host, each.sockaddr[0], asked.port))
        if not allowed:
            raise Refusal(Where.POLICY, errno.EACCES, str(asked))
        return allowed

    def grant(self, opened: Opened | None = None, *, is_followed: bool = False) -> None:
        """Say that the session is open; with the words of the gateway that dialled, where that is not this one.

        Args:
            is_followed: payload goes out behind it at once.

        Raises:
            LegError: the inbound leg is broken.
        """
        try:
            self._inbound.say(
                opened or Opened(self._gateway, self._elapsed_us()), may_wait=is_followed or self._has_asked()
            )
        except (StreamFailed, ProtocolError) as error:
            number = error.errno or errno.EPROTO
            raise LegError(Side.INBOUND, Phase.CONNECT, number, f"gateway {self._inbound.peer}") from error

    def _has_asked(self) -> bool:
        """Tell whether the client has sent a request, and so waits for the answer and not for our word.

        Both then leave in one packet, and the whole first window is the answer's: 43 kB came 180 ms sooner over a
        fresh leg of 214 ms. Who has sent more than a request may be sending on, and needs our word for that.
        """
        return 0 < self._inbound.unread_bytes(at_most=_REQUEST_BYTES) < _REQUEST_BYTES

    def refuse(self, error: LegError) -> bool:
        """Say why the session is not to be, and give the leg back: it can carry another one.

        Returns:
            False where that cannot be said any more: then a reset tells.
        """
        if error.side is Side.INBOUND or self._inbound.fd < 0:
            return False
        try:
            self._inbound.say(self._refused(error))
        except (StreamFailed, ProtocolError):
            return False
        self._inbound.finish()
        return True

    def _refused(self, error: LegError) -> Refused:
        if isinstance(error, OpenRefused):
            return error.refused
        if isinstance(error, Refusal):
            where = error.where
        else:
            where = Where.RESOLVE if error.phase is Phase.RESOLVE else Where.CONNECT
        return Refused(self._gateway, error.errno or errno.EIO, self._elapsed_us(), where)

    def _elapsed_us(self) -> int:
        return min(_U32, round((monotonic_s() - self._began_s) * 1_000_000))

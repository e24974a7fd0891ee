"""SOCKS 5 and HTTP on one port, told apart by the first byte."""

from collections.abc import Mapping

from pools.net.endpoint import Endpoint
from pools.net.errors import Fault, LegError, ProtocolError
from workers.ingress.connect import Connect
from workers.ingress.conversation import Conversation
from workers.ingress.socks5 import Socks5

_SOCKS_VERSIONS = b"\x04\x05"  # no HTTP method begins with a control character (RFC 9110 section 5.6.2)


class Mixed(Conversation):
    """Whatever the client's first byte makes of it; an error never fixes the choice."""

    __slots__ = ("_chosen", "_users")

    def __init__(self, users: Mapping[str, str]) -> None:
        super().__init__()
        self._users = users
        self._chosen: Conversation | None = None

    def _receive(self, data: bytes) -> bytes:
        if not data:
            return b""
        chosen = self._chosen or (Socks5 if data[0] in _SOCKS_VERSIONS else Connect)(self._users)
        replies = chosen.receive(data)
        self._chosen, self.request = chosen, chosen.request
        return replies

    def granted(self, bound: Endpoint) -> bytes:
        """Tell the client that the destination is connected, in the protocol it chose."""
        return self._spoken().granted(bound)

    def denied(self, error: LegError) -> bytes:
        """Tell the client why the destination is not connected, in the protocol it chose."""
        return self._spoken().denied(error)

    def _spoken(self) -> Conversation:
        if self._chosen is None:
            raise ProtocolError("expected an answer to a request; found no byte received yet", fault=Fault.OURS)
        return self._chosen

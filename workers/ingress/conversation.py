"""What every protocol has in common by which a client says where it wants to go.

A conversation lives from the first byte of an inbound leg until the client has been told how its request went. It
takes bytes and gives bytes; sockets, clocks and logs stay with its owner.
"""

import errno
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from pools.net.endpoint import Endpoint, is_host, unmapped
from pools.net.errors import Fault, LegError, ProtocolError


@dataclass(frozen=True, slots=True)
class Request:
    """What the client asked for.

    Attributes:
        destination: where to dial; the port is never 0.
        early: bytes that came with the request and belong to the destination, to be sent there before any other.
    """

    destination: Endpoint
    early: bytes = field(default=b"", repr=False)  # clients send passwords and tokens here


class NotCaptured(ProtocolError):
    """A connection to a listener for captured ones that was made straight to it: there is nowhere to go but here."""

    def __init__(self, local: Endpoint) -> None:
        message = f"expected a connection that the firewall led here; found one made to {local}, the listener itself"
        super().__init__(message, number=errno.ELOOP)


def destination(host: str, port: int) -> Endpoint:
    """Judge a destination that a client names, and give an IPv4-mapped address as the IPv4 address it is.

    Raises:
        ValueError: the host is no address or DNS name, the port is 0, or the address has a zone: zones name
            interfaces of this gateway (RFC 4007 section 6), which are no client's business.
    """
    if "%" in host or not is_host(host):
        raise ValueError("must name a host by address, without a zone, or by a DNS name")
    if port == 0:
        raise ValueError("must have a port from 1 to 65535")
    return Endpoint(unmapped(host), port)


class Conversation(ABC):
    """One client's handshake, without I/O.

    Until `request` is known a conversation holds a bounded number of bytes, which its module names. Afterwards it
    holds what the last `receive` brought beyond the request, and wants no more.

    Attributes:
        request: None until the client has said all.
    """

    __slots__ = ("request",)

    def __init__(self) -> None:
        self.request: Request | None = None

    def receive(self, data: bytes) -> bytes:
        """Take what arrived and give what must be sent back now, which may be nothing.

        Raises:
            ProtocolError: the bytes are not what the protocol allows, and nothing has changed; send `reply` and close.
        """
        if self.request is not None:
            raise ProtocolError("expected no bytes after the request; found more given", fault=Fault.OURS)
        return self._receive(data)

    @abstractmethod
    def _receive(self, data: bytes) -> bytes:
        """Do the work of `receive`, the request being unknown."""

    @abstractmethod
    def granted(self, bound: Endpoint) -> bytes:
        """Tell the client that the destination is connected, from the local address `bound`."""

    @abstractmethod
    def denied(self, error: LegError) -> bytes:
        """Tell the client why the destination is not connected; EACCES and EPERM stand for "not allowed here"."""

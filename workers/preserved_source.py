"""As whom outbound legs go out that are to come from the client's own address. Decisions only; who dials asks."""

import errno
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

from pools.net.endpoint import Endpoint, unmapped
from pools.net.errors import LegError, Phase, Side
from pools.net.resolver import Address

if TYPE_CHECKING:
    from workers.session import Session


def source_of(session: "Session") -> str:
    """Give the address that the session's outbound leg is to come from; empty for one of this host's.

    It is the client's by its PROXY header, where it has one; for a peer's session the one that the peer names.
    """
    if not session.listen.preserve_source:
        return ""
    return unmapped(session.proxied.host if session.proxied is not None else session.client[0])


def reachable(addresses: Sequence[Address], source: str, destination: Endpoint) -> tuple[Address, ...]:
    """Give those addresses of `destination` to which a connection can come from `source`: of its family.

    Raises:
        LegError: none is (EAFNOSUPPORT), or `source` is no address of a host (EADDRNOTAVAIL): the kernel would take an
            address of this one instead.
    """
    host = ip_address(source)
    if host.is_unspecified or host.is_multicast or source == "255.255.255.255":
        raise _refused(errno.EADDRNOTAVAIL, destination)
    family = Endpoint(source, 0).family
    same = tuple(address for address in addresses if address.family == family)
    if not same:
        raise _refused(errno.EAFNOSUPPORT, destination)
    return same


def _refused(number: int, destination: Endpoint) -> LegError:
    return LegError(Side.OUTBOUND, Phase.CONNECT, number, str(destination))

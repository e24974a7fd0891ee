"""The first packet of a connection, read from its bytes as they start at the IP header. Pure.

The kernel's filter (`workers.syn_filter`) has already chosen; nothing here relies on that, since whoever can reach this
host wrote these bytes.
"""

import socket
from typing import Final, NamedTuple

Address = tuple[str, int]
"""Host and port, the first two fields of what accept(2), getsockname(2) and getpeername(2) say of the same end."""

SNAPSHOT_BYTES: Final = 80
"""As much of a packet as is looked at: the longest IPv4 header and TCP's own 20 bytes (RFC 791, RFC 9293)."""

_IPV4_MIN: Final = 20
_IPV6_BYTES: Final = 40
_TCP_MIN: Final = 20
_TCP: Final = 6  # protocol number, IANA
_FLAGS_AT: Final = 13  # in the TCP header
_SYN: Final = 0x02
_SYN_ACK_RST_FIN: Final = 0x17
_OFFSET_MASK: Final = 0x1FFF  # RFC 791 section 3.1: where in the datagram a fragment belongs
_IPV4, _IPV6 = int(socket.AF_INET), int(socket.AF_INET6)  # as an enum's members they cost half a microsecond a packet


class Syn(NamedTuple):
    """Somebody asks for a connection: its 4-tuple, as both ends will name themselves once it stands.

    Attributes:
        client: where it comes from. IPv4 is written as such, also where an IPv6 listener will show it mapped.
        local: where it wants to go: an address of this host, or what was captured on its way through.
    """

    client: Address
    local: Address


def parse(packet: bytes) -> Syn | None:
    """Read the 4-tuple of a SYN; None for whatever else the bytes may be.

    A SYN may carry options, data and ECN's two flags (RFC 3168). IPv6 must have TCP right behind its header.

    Args:
        packet: from the IP header on; SNAPSHOT_BYTES of it are enough.
    """
    if len(packet) < _IPV4_MIN:
        return None
    version = packet[0] >> 4
    if version == 4:
        return _of_ipv4(packet)
    return _of_ipv6(packet) if version == 6 else None


def _of_ipv4(packet: bytes) -> Syn | None:
    start = (packet[0] & 0x0F) * 4
    if start < _IPV4_MIN or packet[9] != _TCP or (packet[6] << 8 | packet[7]) & _OFFSET_MASK:
        return None
    return _of_tcp(packet, start, _IPV4, packet[12:16], packet[16:20])


def _of_ipv6(packet: bytes) -> Syn | None:
    if len(packet) < _IPV6_BYTES or packet[6] != _TCP:
        return None
    return _of_tcp(packet, _IPV6_BYTES, _IPV6, packet[8:24], packet[24:40])


def _of_tcp(packet: bytes, start: int, family: int, source: bytes, destination: bytes) -> Syn | None:
    if len(packet) < start + _TCP_MIN or packet[start + _FLAGS_AT] & _SYN_ACK_RST_FIN != _SYN:
        return None
    name = socket.inet_ntop
    return Syn(
        (name(family, source), packet[start] << 8 | packet[start + 1]),
        (name(family, destination), packet[start + 2] << 8 | packet[start + 3]),
    )

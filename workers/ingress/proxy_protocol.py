"""The PROXY protocol, versions 1 and 2: who a client of the gateway in front of this one is.

Source: Willy Tarreau and others, "The PROXY protocol, versions 1 & 2", HAProxy's doc/proxy-protocol.txt; sections
below are its own. Reading and writing headers is here; when one is due, and from whom it is believed, is not.
"""

import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address

from pools.net.endpoint import Endpoint, unmapped
from pools.net.errors import ProtocolError

V1_LIMIT = 107  # bytes with the line's end, section 2.1
V2_LENGTH_LIMIT = 2048  # bytes after the first 16: addresses take at most 216, the rest is room for TLVs
HEADER_LIMIT = 16 + V2_LENGTH_LIMIT

_V1_START = b"PROXY "
_V1_UNKNOWN = b"PROXY UNKNOWN\r\n"
_V1_LINE = re.compile(rb"PROXY TCP([46]) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})\r\n\Z")
_V2_START = b"\r\n\r\n\0\r\nQUIT\n"
_V2_LOCAL, _V2_PROXY = 0x20, 0x21
_V2_TCP4, _V2_TCP6 = 0x11, 0x21
_V2_ADDRESS_BYTES = {0x00: 0, _V2_TCP4: 12, 0x12: 12, _V2_TCP6: 36, 0x22: 36, 0x31: 216, 0x32: 216}  # section 2.2
_FAMILIES = {b"4": socket.AF_INET, b"6": socket.AF_INET6, _V2_TCP4: socket.AF_INET, _V2_TCP6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class ProxyInfo:
    """The ends of the connection that the sender accepted, IPv4-mapped addresses as IPv4.

    Attributes:
        source: the client; None means that the real addresses of this connection count (LOCAL, UNKNOWN, not TCP).
        destination: where the client connected to; None together with `source`.
    """

    source: Endpoint | None = None
    destination: Endpoint | None = None


def parse(buffer: bytes) -> tuple[ProxyInfo, int] | None:
    """Read the header at the start of `buffer`, which must hold the connection's first bytes.

    Returns:
        What it says and how many bytes it takes, or None while it is incomplete; it never takes more than
        `HEADER_LIMIT` bytes, so neither need a caller hold more.

    Raises:
        ProtocolError: no header can begin like this; close without an answer (section 2).
    """
    if _agree(buffer, _V2_START):
        return _parse_v2(buffer)
    if _agree(buffer, _V1_START):
        return _parse_v1(buffer)
    raise ProtocolError(f"expected a PROXY protocol header; found {buffer[:12]!r}")


def build_v1(source: Endpoint, destination: Endpoint) -> bytes:
    """Write a version 1 line; UNKNOWN when the two addresses are of different families.

    Raises:
        ValueError: a host is not an address.
    """
    ends = _packed(source), _packed(destination)
    if len(ends[0]) != len(ends[1]):
        return _V1_UNKNOWN
    version, family = (4, socket.AF_INET) if len(ends[0]) == 4 else (6, socket.AF_INET6)
    hosts = " ".join(socket.inet_ntop(family, end) for end in ends)
    return f"PROXY TCP{version} {hosts} {source.port} {destination.port}\r\n".encode()


def build_v2(source: Endpoint, destination: Endpoint) -> bytes:
    """Write a version 2 header; of two families both go as IPv6, the IPv4 address mapped (RFC 4291 section 2.5.5.2).

    Raises:
        ValueError: a host is not an address.
    """
    ends = _packed(source), _packed(destination)
    kind, size = (_V2_TCP4, 4) if len(ends[0]) == len(ends[1]) == 4 else (_V2_TCP6, 16)
    hosts = b"".join(end if len(end) == size else b"\0" * 10 + b"\xff\xff" + end for end in ends)
    block = hosts + source.port.to_bytes(2) + destination.port.to_bytes(2)
    return _V2_START + bytes([_V2_PROXY, kind]) + len(block).to_bytes(2) + block


def _agree(buffer: bytes, start: bytes) -> bool:
    """Tell whether `buffer` begins with `start`, as far as it goes."""
    return start.startswith(buffer[: len(start)])


def _packed(end: Endpoint) -> bytes:
    return ip_address(unmapped(end.host)).packed


def _parse_v1(buffer: bytes) -> tuple[ProxyInfo, int] | None:
    size = buffer.find(b"\r\n", 0, V1_LIMIT) + 2
    if size >= 2:
        return _read_line(buffer[:size]), size
    if len(buffer) >= V1_LIMIT:
        raise ProtocolError(f"expected a PROXY line of at most {V1_LIMIT} bytes; found no end of it")
    return None


def _read_line(line: bytes) -> ProxyInfo:
    if line.startswith((b"PROXY UNKNOWN ", _V1_UNKNOWN)):
        return ProxyInfo()
    found = _V1_LINE.match(line)
    ports = [int(port) for port in found.group(4, 5)] if found else [65536]
    if found is None or max(ports) > 65535:
        raise ProtocolError(f"expected PROXY TCP4|TCP6|UNKNOWN with addresses and ports; found {line!r}")
    family = _FAMILIES[found[1]]
    try:
        hosts = [socket.inet_pton(family, host.decode("ascii")) for host in found.group(2, 3)]
    except OSError:  # inet_pton(3) asks no kernel; this is its word for "no such address"
        raise ProtocolError(f"expected two TCP{found[1].decode()} addresses; found {line!r}") from None
    return _info(family, hosts, ports)


def _parse_v2(buffer: bytes) -> tuple[ProxyInfo, int] | None:
    if len(buffer) < 16:
        return None
    length = int.from_bytes(buffer[14:16])
    if length > V2_LENGTH_LIMIT:
        raise ProtocolError(f"expected a PROXY header of at most 16 + {V2_LENGTH_LIMIT} bytes; found 16 + {length}")
    if len(buffer) < 16 + length:
        return None
    return _read_block(command=buffer[12], kind=buffer[13], block=buffer[16 : 16 + length]), 16 + length


def _read_block(*, command: int, kind: int, block: bytes) -> ProxyInfo:
    if command == _V2_LOCAL:
        return ProxyInfo()  # the sender's own connection, a health check: the rest must be skipped unread
    if command != _V2_PROXY:
        raise ProtocolError(f"expected PROXY version 2 with LOCAL (0x20) or PROXY (0x21); found {command:#04x}")
    size = _V2_ADDRESS_BYTES.get(kind)
    if size is None or len(block) < size:
        raise ProtocolError(f"expected a known family and its addresses; found {kind:#04x} and {len(block)} bytes")
    if kind not in _FAMILIES:
        return ProxyInfo()  # a receiver falls back to UNSPEC for families that it does not support
    _check_tlvs(block, start=size)
    return _read_addresses(_FAMILIES[kind], block[:size])


def _check_tlvs(block: bytes, *, start: int) -> None:
    """Walk the type-length-value vectors, section 2.2.1: they must end exactly where the header does."""
    while start < len(block):
        end = start + 3 + int.from_bytes(block[start + 1 : start + 3])
        if end > len(block):
            raise ProtocolError(f"expected a TLV to end within {len(block)} bytes; found one that ends at {end}")
        start = end


def _read_addresses(family: socket.AddressFamily, addresses: bytes) -> ProxyInfo:
    size = (len(addresses) - 4) // 2
    ports = [int.from_bytes(addresses[-4:-2]), int.from_bytes(addresses[-2:])]
    return _info(family, [addresses[:size], addresses[size : 2 * size]], ports)


def _info(family: socket.AddressFamily, hosts: list[bytes], ports: list[int]) -> ProxyInfo:
    named = [unmapped(socket.inet_ntop(family, host)) for host in hosts]
    return ProxyInfo(Endpoint(named[0], ports[0]), Endpoint(named[1], ports[1]))

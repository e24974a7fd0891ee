"""Packets as bytes, from the IP header on: good ones, for tests to take apart and to spoil."""

import ipaddress
import struct
from typing import Final

FIN, SYN, RST, PSH, ACK, ECE, CWR = (1 << bit for bit in (0, 1, 2, 3, 4, 6, 7))

NO_SYNS: Final = (0, ACK, SYN | ACK, SYN | RST, SYN | FIN, FIN, RST, ACK | PSH, 0xFF)
"""Flags of what is no bare SYN."""


def tcp(source_port: int = 40000, port: int = 443, flags: int = SYN) -> bytes:
    return struct.pack(">HHIIBBHHH", source_port, port, 1, 0, 0x50, flags, 65535, 0, 0)


def ipv4(segment: bytes, *, source: str = "192.0.2.7", to: str = "198.51.100.1", options: bytes = b"") -> bytes:
    ends = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(to).packed
    length = 20 + len(options)
    start = struct.pack(">BBHHHBBH", 0x40 + length // 4, 0, length + len(segment), 0, 0, 64, 6, 0)
    return start + ends + options + segment


def ipv6(segment: bytes, *, source: str = "2001:db8::7", to: str = "2001:db8::1") -> bytes:
    ends = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(to).packed
    return struct.pack(">IHBB", 0x6000_0000, len(segment), 6, 64) + ends + segment


def changed(packet: bytes, at: int, value: int) -> bytes:
    return packet[:at] + bytes([value]) + packet[at + 1 :]


def other_packets() -> dict[str, bytes]:
    """Give packets that begin no connection over TCP, by what they are."""
    return {
        "UDP": changed(ipv4(tcp()), 9, 17),
        "UDP over IPv6": changed(ipv6(tcp()), 6, 17),
        "the second fragment": changed(ipv4(tcp()), 7, 1),
        "a far fragment": changed(ipv4(tcp()), 6, 0x1F),
        "extension headers": changed(ipv6(tcp()), 6, 0),
    }

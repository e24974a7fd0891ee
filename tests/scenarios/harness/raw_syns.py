"""SYNs of clients that do not exist, from addresses that belong to nobody; run as a program, a flood of them.

    python -m tests.scenarios.harness.raw_syns DESTINATION PORT SYNS_A_SECOND SECONDS

Needs CAP_NET_RAW. Nothing answers the SYN-ACKs, so no connection comes of any.
"""

import random
import select
import socket
import struct
import sys
import time
from typing import Final

NOBODY: Final = [f"10.77.0.{host}" for host in range(100, 255)]
"""In the emulated WAN's network, but at no site of it."""

_IP: Final = struct.Struct("!BBHHHBBH4s4s")
_TCP: Final = struct.Struct("!HHIIBBHHH")
_PSEUDO: Final = struct.Struct("!4s4sBBH")
_SYN: Final = 0x02
_BATCHES: Final = 100  # a second


def syn(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """Give a packet that asks for a connection; the kernel fills in the IP header's checksum."""
    addresses = socket.inet_aton(source[0]), socket.inet_aton(destination[0])
    head = (source[1], destination[1], random.getrandbits(32), 0, 5 << 4, _SYN, 64_240)
    pseudo = _PSEUDO.pack(*addresses, 0, socket.IPPROTO_TCP, _TCP.size)
    total = sum(struct.unpack("!16H", pseudo + _TCP.pack(*head, 0, 0)))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    ip = _IP.pack(0x45, 0, _IP.size + _TCP.size, 0, 0, 64, socket.IPPROTO_TCP, 0, *addresses)
    return ip + _TCP.pack(*head, checksum, 0)


def send(packet: bytes, destination: tuple[str, int]) -> None:
    """Send one, from where this thread stands."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.sendto(packet, destination)


def flood(destination: tuple[str, int], *, rate: int, length_s: float) -> int:
    """Send as many as wanted, evenly, and give how many were sent."""
    sent, begun_s = 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        while (passed_s := time.monotonic() - begun_s) < length_s:
            while sent < rate * passed_s:
                source = random.choice(NOBODY), random.randrange(1024, 65_536)
                sock.sendto(syn(source, destination), destination)
                sent += 1
            _pause()
    return sent


def _pause() -> None:
    """Let the next batch come due."""
    select.select([], [], [], 1 / _BATCHES)


if __name__ == "__main__":
    host, port, rate, length_s = sys.argv[1:]
    print(flood((host, int(port)), rate=int(rate), length_s=float(length_s)))

"""Which worker a connection belongs to: one hash of its 4-tuple, for Python and for the kernel.

Each step of the hash says side by side what it does to a number and which classic-BPF instructions do the same, and
both the function and the program are folded from one list of steps; so they cannot drift apart. Pure: no socket, no
time, no randomness, and nothing that depends on the hook the program runs on.
"""

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

from pools.net.endpoint import Endpoint
from workers import bpf

_WORD: Final = 0xFFFF_FFFF
_MAPPED: Final = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2


@dataclass(frozen=True, slots=True)
class _Multiply:
    by: int

    def applied(self, value: int) -> int:
        return value * self.by & _WORD

    def code(self) -> bytes:
        return bpf.multiply(self.by)


@dataclass(frozen=True, slots=True)
class _Fold:
    """Let the high bits reach the low ones."""

    by: int

    def applied(self, value: int) -> int:
        return value ^ value >> self.by

    def code(self) -> bytes:
        return bpf.copy_to_x() + bpf.shift_right(self.by) + bpf.flip_by_x()


_Steps = tuple[_Multiply | _Fold, ...]

# After each word: a bijection, so that no word's bits are lost, by the golden ratio's odd neighbour.
_MIX: Final[_Steps] = (_Multiply(0x9E37_79B1), _Fold(15))

# After the last: every bit of the hash depends on every other. Linux picks even ephemeral ports first, and a weaker
# finish left half of the workers without connections. Source: fmix32 of MurmurHash3, Austin Appleby, public domain.
_FINISH: Final[_Steps] = (_Fold(16), _Multiply(0x85EB_CA6B), _Fold(13), _Multiply(0xC2B2_AE35), _Fold(16))

# Where each family's header has its addresses, as offsets of 32-bit words (RFC 791 section 3.1, RFC 8200 section 3).
_IPV4_ADDRESSES: Final = range(12, 20, 4)
_IPV6_ADDRESSES: Final = range(8, 40, 4)
_IPV6_PORTS: Final = 40
_SOURCE_PORT: Final = 0xFFFF_0000  # of the word that both ports are
_VERSION_6: Final = 0x60


def _applied(steps: _Steps, value: int) -> int:
    for step in steps:
        value = step.applied(value)
    return value


def _assembled(steps: _Steps) -> bytes:
    return b"".join(step.code() for step in steps)


@dataclass(frozen=True, slots=True)
class ShardHash:
    """The hash of a client's packet, directed: source to destination is another slot than the way back.

    It takes the ports as one word, then the source address, then the destination address, in network order.

    Attributes:
        seed: 0 to 2³² - 1, the same in every process that must agree.
        slots: workers, at least 1.
        by_source: leave the destination out, for packets whose destination the firewall changes: some are seen before
            that and some after it, and all of a connection are to be dealt alike.
    """

    seed: int
    slots: int
    by_source: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= _WORD:
            raise ValueError(f"seed must be from 0 to {_WORD}; found {self.seed}")
        if self.slots < 1:
            raise ValueError(f"slots must be at least 1; found {self.slots}")

    def slot(self, source: bytes, destination: bytes, *, source_port: int, destination_port: int) -> int:
        """Give the slot of a packet from `source` to `destination`, 0 to slots - 1.

        Args:
            source: the address in network order: 4 bytes for IPv4, also where an IPv6 socket shows it mapped, else 16.
            destination: the same of the other end.
            source_port: 0 to 65535.
            destination_port: 0 to 65535.
        """
        addresses = source if self.by_source else source + destination
        ports = source_port << 16 | (0 if self.by_source else destination_port)
        value = _applied(_MIX, self.seed ^ ports)
        for word in struct.unpack(f">{len(addresses) // 4}I", addresses):
            value = _applied(_MIX, value ^ word)
        return _applied(_FINISH, value) % self.slots

    def slot_of(self, source: Endpoint, destination: Endpoint) -> int:
        """Give the slot of a packet between two addresses as the socket calls write them, IPv4-mapped ones included."""
        return self.slot(
            _packed(source.host),
            _packed(destination.host),
            source_port=source.port,
            destination_port=destination.port,
        )

    def program(self) -> bytes:
        """Assemble the same hash as classic BPF: packed struct sock_filter, returning the slot.

        It finds its way from the IP header alone, so it serves SO_ATTACH_REUSEPORT_CBPF and PACKET_FANOUT_CBPF alike.
        IPv4 may have options. IPv6 must have TCP right after its header: with extension headers the words taken for
        ports are not, which gives a stable slot but not the one that `slot` names. A packet too short for its header
        goes to slot 0.

        Source: Linux Documentation/networking/filter.rst; McCanne and Jacobson, USENIX Winter 1993.
        """
        ipv4_ports = bpf.load_ipv4_header_length() + bpf.load_word_behind()
        ipv4 = self._hash_of(ipv4_ports, _IPV4_ADDRESSES)
        ipv6 = self._hash_of(bpf.load_word(_IPV6_PORTS), _IPV6_ADDRESSES)
        return bpf.load_byte(0) + bpf.mask(0xF0) + bpf.skip_if_equal(_VERSION_6, ipv4) + ipv4 + ipv6

    def _hash_of(self, load_ports: bytes, addresses: range) -> bytes:
        if self.by_source:
            load_ports, addresses = load_ports + bpf.mask(_SOURCE_PORT), addresses[: len(addresses) // 2]
        program = load_ports + bpf.flip(self.seed) + _assembled(_MIX)
        for offset in addresses:
            program += bpf.copy_to_x() + bpf.load_word(offset) + bpf.flip_by_x() + _assembled(_MIX)
        return program + _assembled(_FINISH) + bpf.modulo(self.slots) + bpf.give_a()


def _packed(host: str) -> bytes:
    return ipaddress.ip_address(host).packed.removeprefix(_MAPPED)

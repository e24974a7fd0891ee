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

_WORD: Final = 0xFFFF_FFFF
_MAPPED: Final = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2

# linux/filter.h and linux/bpf_common.h
_SOCK_FILTER: Final = struct.Struct("=HBBI")  # code, jump if true, jump if false, constant
_NETWORK_HEADER: Final = -0x10_0000 & _WORD  # SKF_NET_OFF: offsets count from the IP header, whatever the hook
_LOAD_BYTE: Final = 0x30  # BPF_LD | BPF_B | BPF_ABS
_LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_LOAD_WORD_AT_X: Final = 0x40  # BPF_LD | BPF_W | BPF_IND
_LOAD_HEADER_LENGTH: Final = 0xB1  # BPF_LDX | BPF_B | BPF_MSH: X = 4 × the low half of the byte
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_XOR: Final = 0xA4  # BPF_ALU | BPF_XOR | BPF_K
_XOR_X: Final = 0xAC  # BPF_ALU | BPF_XOR | BPF_X
_MULTIPLY: Final = 0x24  # BPF_ALU | BPF_MUL | BPF_K
_SHIFT_RIGHT: Final = 0x74  # BPF_ALU | BPF_RSH | BPF_K
_MODULO: Final = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_COPY_TO_X: Final = 0x07  # BPF_MISC | BPF_TAX
_JUMP_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN: Final = 0x16  # BPF_RET | BPF_A


def _code(code: int, constant: int = 0, *, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return _SOCK_FILTER.pack(code, jump_true, jump_false, constant)


@dataclass(frozen=True, slots=True)
class _Multiply:
    by: int

    def applied(self, value: int) -> int:
        return value * self.by & _WORD

    def code(self) -> bytes:
        return _code(_MULTIPLY, self.by)


@dataclass(frozen=True, slots=True)
class _Fold:
    """Let the high bits reach the low ones."""

    by: int

    def applied(self, value: int) -> int:
        return value ^ value >> self.by

    def code(self) -> bytes:
        return _code(_COPY_TO_X) + _code(_SHIFT_RIGHT, self.by) + _code(_XOR_X)


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
    """

    seed: int
    slots: int

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
        addresses = source + destination
        value = _applied(_MIX, self.seed ^ (source_port << 16 | destination_port))
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
        ipv4_ports = _code(_LOAD_HEADER_LENGTH, _NETWORK_HEADER) + _code(_LOAD_WORD_AT_X, _NETWORK_HEADER)
        ipv4 = self._hash_of(ipv4_ports, _IPV4_ADDRESSES)
        ipv6 = self._hash_of(_load_word(_IPV6_PORTS), _IPV6_ADDRESSES)
        version = _code(_LOAD_BYTE, _NETWORK_HEADER) + _code(_AND, 0xF0)
        choice = _code(_JUMP_IF_EQUAL, _VERSION_6, jump_true=len(ipv4) // _SOCK_FILTER.size)
        return version + choice + ipv4 + ipv6

    def _hash_of(self, load_ports: bytes, addresses: range) -> bytes:
        program = load_ports + _code(_XOR, self.seed) + _assembled(_MIX)
        for offset in addresses:
            program += _code(_COPY_TO_X) + _load_word(offset) + _code(_XOR_X) + _assembled(_MIX)
        return program + _assembled(_FINISH) + _code(_MODULO, self.slots) + _code(_RETURN)


def _load_word(offset: int) -> bytes:
    return _code(_LOAD_WORD, _NETWORK_HEADER + offset)


def _packed(host: str) -> bytes:
    return ipaddress.ip_address(host).packed.removeprefix(_MAPPED)

"""Classic BPF as bytes: the instructions that our programs are made of. What they compute is said elsewhere. Pure.

All loads but one count from the IP header, so that a program means the same on whatever hook it runs.

Source: linux/filter.h, linux/bpf_common.h; Linux Documentation/networking/filter.rst; McCanne and Jacobson, USENIX
Winter 1993.
"""

import struct
from typing import Final

NETWORK_HEADER: Final = -0x10_0000 & 0xFFFF_FFFF  # SKF_NET_OFF: offsets count from the IP header, whatever the hook
_PACKET_TYPE: Final = -0x1000 + 4 & 0xFFFF_FFFF  # SKF_AD_OFF + SKF_AD_PKTTYPE: not of the packet, but about it

_SOCK_FILTER: Final = struct.Struct("=HBBI")  # code, jump if true, jump if false, constant

_LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_LOAD_HALF: Final = 0x28  # BPF_LD | BPF_H | BPF_ABS
_LOAD_BYTE: Final = 0x30  # BPF_LD | BPF_B | BPF_ABS
_LOAD_WORD_AT_X: Final = 0x40  # BPF_LD | BPF_W | BPF_IND
_LOAD_HALF_AT_X: Final = 0x48  # BPF_LD | BPF_H | BPF_IND
_LOAD_BYTE_AT_X: Final = 0x50  # BPF_LD | BPF_B | BPF_IND
_LOAD_HEADER_LENGTH: Final = 0xB1  # BPF_LDX | BPF_B | BPF_MSH: X = 4 × the low half of the byte
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_XOR: Final = 0xA4  # BPF_ALU | BPF_XOR | BPF_K
_XOR_X: Final = 0xAC  # BPF_ALU | BPF_XOR | BPF_X
_MULTIPLY: Final = 0x24  # BPF_ALU | BPF_MUL | BPF_K
_SHIFT_RIGHT: Final = 0x74  # BPF_ALU | BPF_RSH | BPF_K
_MODULO: Final = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_COPY_TO_X: Final = 0x07  # BPF_MISC | BPF_TAX
_JUMP: Final = 0x05  # BPF_JMP | BPF_JA: the only one that reaches further than 255
_JUMP_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_RETURN_A: Final = 0x16  # BPF_RET | BPF_A


def _code(code: int, constant: int = 0, *, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return _SOCK_FILTER.pack(code, jump_true, jump_false, constant)


def length(program: bytes) -> int:
    """Give the number of instructions in a program or a part of one."""
    return len(program) // _SOCK_FILTER.size


def load_byte(offset: int) -> bytes:
    """A = the byte at `offset`. A load beyond the packet ends the program with 0, here and below."""
    return _code(_LOAD_BYTE, NETWORK_HEADER + offset)


def load_segment_byte(offset: int) -> bytes:
    """A = the byte at `offset` of what the hook is about: of a TCP socket's filter, the TCP header."""
    return _code(_LOAD_BYTE, offset)


def load_half(offset: int) -> bytes:
    """A = the 16 bits at `offset`."""
    return _code(_LOAD_HALF, NETWORK_HEADER + offset)


def load_word(offset: int) -> bytes:
    """A = the 32 bits at `offset`."""
    return _code(_LOAD_WORD, NETWORK_HEADER + offset)


def load_packet_type() -> bytes:
    """A = for whom the packet is, PACKET_HOST (0) being this host (packet(7))."""
    return _code(_LOAD_WORD, _PACKET_TYPE)


def load_ipv4_header_length() -> bytes:
    """X = the length of the IPv4 header in bytes."""
    return _code(_LOAD_HEADER_LENGTH, NETWORK_HEADER)


def load_byte_behind(offset: int = 0) -> bytes:
    """A = the byte X + `offset` bytes into the packet."""
    return _code(_LOAD_BYTE_AT_X, NETWORK_HEADER + offset)


def load_half_behind(offset: int = 0) -> bytes:
    """A = the 16 bits there."""
    return _code(_LOAD_HALF_AT_X, NETWORK_HEADER + offset)


def load_word_behind(offset: int = 0) -> bytes:
    """A = the 32 bits there."""
    return _code(_LOAD_WORD_AT_X, NETWORK_HEADER + offset)


def mask(bits: int) -> bytes:
    """A &= bits."""
    return _code(_AND, bits)


def flip(bits: int) -> bytes:
    """A ^= bits."""
    return _code(_XOR, bits)


def flip_by_x() -> bytes:
    """A ^= X."""
    return _code(_XOR_X)


def multiply(by: int) -> bytes:
    """A *= by, modulo 2³²."""
    return _code(_MULTIPLY, by)


def shift_right(by: int) -> bytes:
    """A >>= by."""
    return _code(_SHIFT_RIGHT, by)


def modulo(by: int) -> bytes:
    """A %= by, which is not 0."""
    return _code(_MODULO, by)


def copy_to_x() -> bytes:
    """X = A."""
    return _code(_COPY_TO_X)


def skip(over: bytes) -> bytes:
    """Go on after `over`, the instructions that follow."""
    return _code(_JUMP, length(over))


def skip_if_equal(constant: int, over: bytes) -> bytes:
    """Go on after `over`, at most 255 instructions that follow, where A is `constant`."""
    return _code(_JUMP_IF_EQUAL, constant, jump_true=length(over))


def skip_unless_equal(constant: int, over: bytes) -> bytes:
    """Go on after `over`, at most 255 instructions that follow, where A is not `constant`."""
    return _code(_JUMP_IF_EQUAL, constant, jump_false=length(over))


def give(constant: int) -> bytes:
    """End with this number."""
    return _code(_RETURN, constant)


def give_a() -> bytes:
    """End with A."""
    return _code(_RETURN_A)

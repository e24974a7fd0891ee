"""An interpreter of classic BPF that knows nothing of the programs it runs.

Source: Linux Documentation/networking/filter.rst.
"""

import operator
import struct
from collections.abc import Callable

NETWORK_HEADER = 0xFFF0_0000  # SKF_NET_OFF, -0x100000, as the unsigned constant of an instruction
PACKET_TYPE = 0xFFFF_F004  # SKF_AD_OFF + SKF_AD_PKTTYPE, -0x1000 + 4

LDX_MSH, JA, JEQ_K, RET_K, RET_A, TAX = 0xB1, 0x05, 0x15, 0x06, 0x16, 0x07
LOADS = {0x20: (4, 0), 0x28: (2, 0), 0x30: (1, 0), 0x40: (4, 1), 0x48: (2, 1), 0x50: (1, 1)}  # bytes, times X
ALU: dict[int, Callable[[int, int], int]] = {
    0x24: operator.mul,
    0x54: operator.and_,
    0x74: operator.rshift,
    0x94: operator.mod,
    0xA4: operator.xor,
}


class OutsideError(Exception):
    """A load beyond the packet, which ends a program with 0."""


def run(program: bytes, packet: bytes, *, packet_type: int = 0) -> int:
    """Give what the program says of a packet that starts at its IP header.

    Args:
        packet_type: for whom it is; 0 for this host (packet(7), sll_pkttype).
    """
    try:
        return _returned(list(struct.iter_unpack("=HBBI", program)), packet, packet_type)
    except OutsideError:
        return 0


def _returned(filters: list[tuple[int, int, int, int]], packet: bytes, packet_type: int) -> int:
    a = x = at = 0
    while filters[at][0] not in (RET_A, RET_K):
        code, jump_true, jump_false, k = filters[at]
        at += 1
        if code in LOADS:
            size, times_x = LOADS[code]
            a = packet_type if k == PACKET_TYPE else _load(packet, k + times_x * x, size)
        elif code == LDX_MSH:
            x = 4 * (_load(packet, k, 1) & 0x0F)
        elif code == TAX:
            x = a
        elif code == JA:
            at += k
        elif code == JEQ_K:
            at += jump_true if a == k else jump_false
        else:
            a = ALU[code & 0xF7](a, x if code & 0x08 else k) & 0xFFFF_FFFF
    return a if filters[at][0] == RET_A else filters[at][3]


def _load(packet: bytes, offset: int, size: int) -> int:
    start = offset - NETWORK_HEADER
    if start + size > len(packet):
        raise OutsideError
    return int.from_bytes(packet[start : start + size], "big")

"""Packet sockets (packet(7)): groups that share out the packets which this host receives, of one IP version each.

A socket for one protocol, unlike one for all (ETH_P_ALL), gets each packet once: from the device that hands it to IP,
and not besides from the bridge port, bond member or VLAN trunk that it came in by, nor what this host sends. Which
packets are wanted is decided elsewhere.
"""

import array
import errno
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from enum import IntEnum
from typing import Final

from pools.net.errors import MidmileError

# asm-generic/socket.h, linux/socket.h, linux/if_packet.h
_SO_ATTACH_FILTER: Final = 26
_SO_RCVBUFFORCE: Final = 33
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_PACKET_FANOUT: Final = 18
_PACKET_FANOUT_DATA: Final = 22
_FANOUT_CBPF: Final = 6
_FANOUT_UNIQUE: Final = 0x2000  # PACKET_FANOUT_FLAG_UNIQUEID, Linux 4.12
_GROUP_MASK: Final = 0xFFFF
_TYPE_SHIFT: Final = 16
_TPACKET_STATS: Final = struct.Struct("=II")  # tp_packets, tp_drops
_SOCK_FPROG: Final = struct.Struct("HP")  # linux/filter.h: len, filter
_INSTRUCTION_BYTES: Final = 8

# For packets not yet read: about a thousand SYNs, as the kernel counts its own overhead. Without CAP_NET_ADMIN it gives
# no more than net.core.rmem_max.
_BUFFER_BYTES: Final = 1024 * 1024

_ADVICE: Final = {
    errno.EPERM: "needs CAP_NET_RAW in the user namespace that this network belongs to",
    errno.EACCES: "needs CAP_NET_RAW in the user namespace that this network belongs to",
    errno.EAFNOSUPPORT: "this kernel runs without packet sockets, CONFIG_PACKET; or a syscall filter forbids them",
    errno.EMFILE: "raise the limit on open files (LimitNOFILE= in systemd, ulimit -n in a shell)",
}


class IPVersion(IntEnum):
    """Of which packets a group gets its share, by EtherType (linux/if_ether.h)."""

    V4 = 0x0800
    V6 = 0x86DD


class PacketSocketError(MidmileError):
    """The kernel refused a packet socket, its program or its group.

    Attributes:
        errno: the kernel's number.
    """

    def __init__(self, tried: str, number: int) -> None:
        name = errno.errorcode.get(number, str(number))
        super().__init__(f"cannot {tried}: {name} ({_ADVICE.get(number, os.strerror(number))})")
        self.errno = number


def open_group(version: IPVersion, *, slots: int, choose: bytes, until: bytes) -> list[socket.socket]:
    """Open packet sockets that share what arrives, on any device.

    Args:
        slots: how many.
        choose: a classic-BPF program that gives each packet a place in the list that is returned.
        until: the filter that each socket has for now; what came before it was there is thrown away.

    Returns:
        Sockets in the order that `choose` counts in, non-blocking and close-on-exec. What is read from them starts at
        the IP header. They belong to the caller, who keeps all of them open or none: the kernel fills the place of a
        closed one with the last of the group.

    Raises:
        PacketSocketError: a right is missing, the kernel has none of this, or a program is wrong; nothing stays open.
    """
    try:
        with ExitStack() as opened:
            group = [opened.enter_context(_open(version, until)) for _ in range(slots)]
            _join(group, choose)
            opened.pop_all()
            return group
    except OSError as error:
        raise PacketSocketError("capture packets", error.errno or 0) from error


def attach_filter(sock: socket.socket, program: bytes) -> None:
    """Let through from now on only what `program` does, in place of the filter before.

    Args:
        program: packed struct sock_filter of classic BPF; it gives the bytes to keep of a packet, 0 dropping it.

    Raises:
        PacketSocketError: the kernel's checker refuses the program.
    """
    try:
        _set_program(sock, socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError as error:
        length = len(program) // _INSTRUCTION_BYTES
        raise PacketSocketError(f"attach a filter of {length} instructions", error.errno or 0) from error


def read(sock: socket.socket, most: int) -> bytes | None:
    """Take the oldest packet, cut off after `most` bytes; None where there is none.

    It is also None after an error, which was cleared by being told: there is nothing to do but to read on later.
    """
    try:
        return sock.recv(most)
    except OSError:
        return None


def discard(sock: socket.socket) -> None:
    """Throw away all that has come and was not read."""
    while read(sock, 1) is not None:
        pass


def take_lost(sock: socket.socket) -> int:
    """Give how many packets found no room since the last call (PACKET_STATISTICS)."""
    statistics = sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _TPACKET_STATS.size)
    lost: int = _TPACKET_STATS.unpack(statistics)[1]
    return lost


def _open(version: IPVersion, program: bytes) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(version))
    try:
        _set_program(sock, socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        with suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        discard(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _join(group: Sequence[socket.socket], choose: bytes) -> None:
    """Form a group with a number of its own, so that another gateway in the same network keeps to itself."""
    first, *others = group
    first.setsockopt(_SOL_PACKET, _PACKET_FANOUT, (_FANOUT_CBPF | _FANOUT_UNIQUE) << _TYPE_SHIFT)
    number = first.getsockopt(_SOL_PACKET, _PACKET_FANOUT) & _GROUP_MASK
    for sock in others:
        sock.setsockopt(_SOL_PACKET, _PACKET_FANOUT, number | _FANOUT_CBPF << _TYPE_SHIFT)
    _set_program(first, _SOL_PACKET, _PACKET_FANOUT_DATA, choose)


def _set_program(sock: socket.socket, level: int, option: int, program: bytes) -> None:
    filters = array.array("Q", program)
    address, length = filters.buffer_info()
    sock.setsockopt(level, option, _SOCK_FPROG.pack(length, address))

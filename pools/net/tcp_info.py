"""What the kernel knows of a TCP connection: the part of struct tcp_info that we show.

The kernel only ever appends to the struct (linux/tcp.h), so an older one gives fewer bytes: fields that it lacks are
read as 0. Nothing here decides anything.
"""

import errno
import socket
import struct
from dataclasses import dataclass
from typing import Final, Self

from pools.net.sockopts import Socket

# Offsets are those of linux/tcp.h, from tcpi_unacked at 24 to tcpi_rcv_wnd at 232 (Linux 6.2).
_SHOWN: Final = struct.Struct("=24xI4xI32xII4xI16xI16xQQ12xI8xQ60xII")
_RTT_AND_RETRANSMITS: Final = struct.Struct("=68xI28xI")
_NO_ANSWER: Final = bytes(_SHOWN.size)


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """One reading of a connection.

    Attributes:
        unacked_segments: sent and not yet acknowledged.
        lost_segments: of those, held for lost.
        rtt_us: smoothed round-trip time, microseconds.
        rtt_variation_us: its mean deviation, microseconds.
        snd_cwnd_segments: congestion window.
        retransmits_total: segments sent again since the connection began.
        bytes_acked: bytes of ours that the other end confirmed (SYN counts as one).
        bytes_received: bytes of theirs that we confirmed.
        min_rtt_us: smallest round-trip time of late, microseconds; 0xffffffff before the first measurement.
        delivery_bytes_per_s: how fast our bytes arrived at the last measurement.
        snd_wnd_bytes: window that the other end advertises; 0 where the kernel is older than 5.4.
        rcv_wnd_bytes: window that we advertise; 0 where the kernel is older than 6.2.
    """

    unacked_segments: int
    lost_segments: int
    rtt_us: int
    rtt_variation_us: int
    snd_cwnd_segments: int
    retransmits_total: int
    bytes_acked: int
    bytes_received: int
    min_rtt_us: int
    delivery_bytes_per_s: int
    snd_wnd_bytes: int
    rcv_wnd_bytes: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a struct tcp_info of any kernel's length."""
        return cls(*_SHOWN.unpack_from(data + _NO_ANSWER[len(data) :]))


def tcp_info(sock: Socket) -> TcpInfo:
    """Read what the kernel knows of `sock`, connected or not (tcp(7), TCP_INFO).

    Of an MPTCP connection it tells about the first subflow; zeros where that is gone.
    """
    return TcpInfo.parse(_read(sock, _SHOWN.size))


def rtt_and_retransmits(sock: Socket) -> tuple[int, int]:
    """Read only the round-trip time in microseconds and the retransmitted segments: the access log's fast path."""
    rtt_us: int
    retransmits: int
    rtt_us, retransmits = _RTT_AND_RETRANSMITS.unpack(
        _read(sock, _RTT_AND_RETRANSMITS.size) or _NO_ANSWER[: _RTT_AND_RETRANSMITS.size]
    )
    return rtt_us, retransmits


def _read(sock: Socket, size: int) -> bytes:
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # what MPTCP says once its first subflow is gone
            raise
        return b""

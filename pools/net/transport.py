"""By which protocol connections between gateways are made: TCP, or MPTCP over several ways at once (RFC 8684).

An MPTCP socket is used like one of TCP, falls back to TCP by itself where the other end has none, and takes plain TCP
connections where it listens. Which addresses it may use is for the system's path manager (ip-mptcp(8)). What it cannot
do (Linux 6.18): TCP_USER_TIMEOUT, SO_BUF_LOCK, and a program that deals connections out to listeners.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeVar

from pools.net.sockopts import Socket

AnySocket = TypeVar("AnySocket", bound=Socket)

_KIND: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_MPTCP: Final = int(socket.IPPROTO_MPTCP)
_SOL_MPTCP: Final = 284  # linux/socket.h
_MPTCP_INFO: Final = 1  # linux/mptcp.h
_LAST_ACK: Final = struct.Struct("=92xI")  # struct mptcp_info of linux/mptcp.h up to mptcpi_last_ack_recv, Linux 6.10
_WHY: Final = {
    errno.ENOPROTOOPT: "it is switched off; sysctl -w net.mptcp.enabled=1",
    errno.EPROTONOSUPPORT: "this kernel is without it; it takes Linux 5.6 with CONFIG_MPTCP",
    errno.EINVAL: "this kernel is without it; it takes Linux 5.6 with CONFIG_MPTCP",
}


class Transport(StrEnum):
    """What carries a connection."""

    TCP = "tcp"
    MPTCP = "mptcp"


def open_stream(make: Callable[[int, int, int], AnySocket], family: int, transport: Transport) -> AnySocket:
    """Open a non-blocking, close-on-exec socket for `transport`, or for TCP where this kernel has no other.

    Args:
        make: the socket's class, or what stands for it: called with family, type and protocol.

    Raises:
        OSError: no descriptor left, or the family is not there.
    """
    if transport is Transport.MPTCP:
        try:
            return make(family, _KIND, _MPTCP)
        except OSError as error:
            if error.errno not in _WHY:
                raise
    return make(family, _KIND, socket.IPPROTO_TCP)


def mptcp_lack() -> str:
    """Say why MPTCP cannot be had in this network namespace; empty where it can. Asks the kernel each time."""
    try:
        socket.socket(socket.AF_INET, _KIND, _MPTCP).close()
    except OSError as error:
        number = error.errno or 0
        return f"{errno.errorcode.get(number, number)}: {_WHY.get(number, os.strerror(number))}"
    return ""


def unheard_s(sock: Socket) -> float:
    """Give for how long the other end of an MPTCP connection has acknowledged nothing, in seconds.

    Returns:
        0 for TCP, whose user timeout the kernel keeps to itself, and where it does not tell (before Linux 6.10).
    """
    try:
        told = sock.getsockopt(_SOL_MPTCP, _MPTCP_INFO, _LAST_ACK.size)
    except OSError:
        return 0.0
    if len(told) < _LAST_ACK.size:
        return 0.0
    (ago_ms,) = _LAST_ACK.unpack(told)
    return float(ago_ms / 1000)


def is_mptcp(sock: Socket) -> bool:
    """Tell whether a socket is one of MPTCP, be it that the connection fell back to TCP."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) == _MPTCP

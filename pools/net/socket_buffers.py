"""Buffers that let a connection begin with a large window. How large, and for whom, is decided elsewhere.

A window is bounded by the receiver's buffer and by the sender's, and the kernel begins with small ones: it grows them
while bytes move, which takes round trips. Setting a size switches that growth off, for good up to Linux 5.14, and then
a connection never gets more than it began with. Later kernels take back the switch, so it begins large and still grows.
"""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pools.net.sockopts import Socket

_SO_BUF_LOCK: Final = 72  # asm-generic/socket.h; Linux 5.15
_SO_SNDBUFFORCE: Final = 32  # asm-generic/socket.h
_SO_RCVBUFFORCE: Final = 33
_SEND_LOCK: Final = 1  # SOCK_SNDBUF_LOCK of linux/socket.h
_GROWS: Final = 0
_SYSCTLS: Final = Path("/proc/sys/net")


@dataclass(frozen=True, slots=True)
class _Buffer:
    """One of a socket's two buffers: its options, and the setting that bounds those without CAP_NET_ADMIN."""

    option: int
    force: int
    bound: str


_SEND: Final = _Buffer(socket.SO_SNDBUF, _SO_SNDBUFFORCE, "core/wmem_max")
_RECEIVE: Final = _Buffer(socket.SO_RCVBUF, _SO_RCVBUFFORCE, "core/rmem_max")


def enlarge(sock: Socket, window_bytes: int) -> None:
    """Have the buffers of `sock` begin with room for a window each; larger ones stay as they are.

    Call it before connect or listen, so that window scaling fits; accepted sockets inherit it. Without CAP_NET_ADMIN
    the sizes end at net.core.rmem_max and wmem_max. Before Linux 5.15, and for MPTCP, nothing is done.

    Args:
        window_bytes: payload. The kernel keeps as much again for what it needs itself (socket(7), SO_RCVBUF).
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, _GROWS)
    except OSError:  # ENOPROTOOPT; EOPNOTSUPP, which MPTCP says only when it is to be set
        return
    _raise(sock, _RECEIVE, window_bytes)
    _raise(sock, _SEND, window_bytes)
    # Growth ends at tcp_wmem, and shrinks a larger send buffer to that. It never shrinks the other one.
    is_beyond = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > _sysctl("ipv4/tcp_wmem")[-1]
    sock.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, _SEND_LOCK if is_beyond else _GROWS)


def send_room_bytes(sock: Socket) -> int:
    """Give the payload that the send buffer has room for: half of it, as the kernel reckons itself."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2


def _raise(sock: Socket, buffer: _Buffer, window_bytes: int) -> None:
    now_bytes = sock.getsockopt(socket.SOL_SOCKET, buffer.option)
    if now_bytes >= 2 * window_bytes:
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, buffer.force, window_bytes)
    except PermissionError:
        allowed_bytes = min(window_bytes, *_sysctl(buffer.bound))
        if 2 * allowed_bytes > now_bytes:
            sock.setsockopt(socket.SOL_SOCKET, buffer.option, allowed_bytes)


def _sysctl(name: str) -> list[int]:
    return [int(word) for word in (_SYSCTLS / name).read_text().split()]

"""One typed function per socket option, each constant with the header it comes from.

No policy lives here: who sets which option when is decided by those who own the socket. An option that a kernel or an
operator can refuse raises OptionError; the others cannot fail on an open TCP socket and add nothing to the call.
"""

import array
import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from typing import Final, TypeAlias

from pools.net.errors import MidmileError

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
_SO_ATTACH_REUSEPORT_CBPF: Final = 51  # asm-generic/socket.h; Linux 4.5
_IP_BIND_ADDRESS_NO_PORT: Final = 24  # linux/in.h; Linux 4.2. The socket module names it from Python 3.12 on
_IP_TRANSPARENT: Final = 19  # linux/in.h
_IPV6_TRANSPARENT: Final = 75  # linux/in6.h; Linux 2.6.37
_SO_ORIGINAL_DST: Final = 80  # linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST of ip6_tables.h has the same number
_SIOCOUTQ: Final = 0x5411  # linux/sockios.h, the same number as TIOCOUTQ of asm-generic/ioctls.h
_SIOCOUTQNSD: Final = 0x894B  # linux/sockios.h
_LINGER_BYTES: Final = 8  # struct linger of linux/socket.h: int l_onoff, l_linger
_RESET_ON_CLOSE: Final = ctypes.byref((ctypes.c_int * 2)(1, 0))
_LINGER_OFF: Final = ctypes.byref((ctypes.c_int * 2)(0, 0))
# Three times a session. Given a buffer, socket.setsockopt first tries and fails at two other signatures and puts their
# errors into words, which costs twice the call itself: 2.4 µs where this takes 1.2 and an integer option 0.8.
_setsockopt: Final = ctypes.PyDLL(None).setsockopt
_SOCKADDR_IN: Final = struct.Struct("!2xH4s8x")  # netinet/in.h: family, port, address
_SOCKADDR_IN6: Final = struct.Struct("!2xH4x16s4x")  # family, port, flow, address, scope
_SOCK_FPROG: Final = struct.Struct("HP")  # struct sock_fprog of linux/filter.h: len, filter
_SOL_SOCKET: Final = int(socket.SOL_SOCKET)
_SO_LINGER: Final = int(socket.SO_LINGER)
_ON: Final = 1
_OFF: Final = 0


class OptionError(MidmileError):
    """An option that this kernel, its settings or our rights do not allow.

    Args:
        rights: which of them allow it, to be named where they lack.

    Attributes:
        errno: the kernel's number.
    """

    def __init__(self, option: str, value: object, number: int, *, rights: str = "") -> None:
        needs = f"; it needs {rights}" if rights and number == errno.EPERM else ""
        reason = f"{errno.errorcode.get(number, number)} ({os.strerror(number)}{needs})"
        super().__init__(f"cannot set {option} to {value!r}: {reason}")
        self.errno = number


Socket: TypeAlias = socket.SocketType
"""A TCP socket of either kind: the C type, or the Python class around it."""


def reuse_port(sock: Socket) -> None:
    """Let several sockets of one user listen on the same address and port. Set it on each of them before bind."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, _ON)


def reuse_address(sock: Socket) -> None:
    """Let connections in TIME_WAIT not stand in the way of bind. A listener on the port still does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, _ON)


def dual_stack(sock: Socket, on: bool) -> None:
    """Say whether an IPv6 socket takes IPv4 too (ipv6(7), IPV6_V6ONLY). Set it before bind.

    Raises:
        OptionError: the socket is already bound, or not an IPv6 one.
    """
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, _OFF if on else _ON)
    except OSError as error:
        raise OptionError("IPV6_V6ONLY", not on, error.errno or 0) from error


def no_delay(sock: Socket) -> None:
    """Send small segments at once. Accepted sockets inherit it."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, _ON)


def keepalive(sock: Socket, *, idle_s: int, interval_s: int, probes: int) -> None:
    """Probe a silent connection (tcp(7)). Accepted sockets inherit it.

    Args:
        idle_s: seconds without data before the first probe, 1 to 32767.
        interval_s: seconds between probes, 1 to 32767.
        probes: unanswered probes that end the connection, 1 to 127.

    Raises:
        OptionError: a number out of range.
    """
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, _ON)
    except OSError as error:
        raise OptionError("TCP keepalive", (idle_s, interval_s, probes), error.errno or 0) from error


def user_timeout(sock: Socket, timeout_s: float) -> None:
    """Bound how long sent data may stay unacknowledged (RFC 5482). Accepted sockets inherit it.

    Args:
        timeout_s: seconds, rounded to milliseconds; 0 leaves it to the system.

    Raises:
        OptionError: a negative number.
    """
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(timeout_s * 1000))
    except OSError as error:
        raise OptionError("TCP_USER_TIMEOUT", timeout_s, error.errno or 0) from error


def linger_reset(sock: Socket) -> None:
    """Make close(2), by us or by the kernel after our death, send a reset. Accepted sockets inherit it."""
    _setsockopt(sock.fileno(), _SOL_SOCKET, _SO_LINGER, _RESET_ON_CLOSE, _LINGER_BYTES)


def linger_off(sock: Socket) -> None:
    """Make close(2) end the stream in order again, what was written still being sent."""
    _setsockopt(sock.fileno(), _SOL_SOCKET, _SO_LINGER, _LINGER_OFF, _LINGER_BYTES)


def congestion(sock: Socket, name: str) -> None:
    """Choose the congestion control (tcp(7), TCP_CONGESTION). Accepted sockets inherit it.

    Raises:
        OptionError: ENOENT, this kernel has no such algorithm; EPERM, it is not in tcp_allowed_congestion_control.
    """
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
    except OSError as error:
        raise OptionError("TCP_CONGESTION", name, error.errno or 0) from error


def bind_address_no_port(sock: Socket) -> None:
    """Let bind to an address with port 0 take its port at connect, when the destination is known (ip(7)).

    The same port then serves many destinations, instead of one for all of them.
    """
    sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, _ON)


def transparent(sock: Socket) -> None:
    """Let a socket have addresses that no interface of this host has (ip(7), IP_TRANSPARENT). Set it before bind.

    A listener with it accepts connections to any address that the firewall leads to it; another socket can be bound
    to anybody's address. The mark on an IPv6 socket holds for its IPv4 connections, too.

    Raises:
        OptionError: EPERM without CAP_NET_RAW or CAP_NET_ADMIN.
    """
    level, option = _transparent_option(sock)
    try:
        sock.setsockopt(level, option, _ON)
    except OSError as error:
        raise OptionError("IP_TRANSPARENT", True, error.errno or 0, rights="CAP_NET_RAW or CAP_NET_ADMIN") from error


def _transparent_option(sock: Socket) -> tuple[int, int]:
    if sock.family == socket.AF_INET6:
        return socket.IPPROTO_IPV6, _IPV6_TRANSPARENT
    return socket.IPPROTO_IP, _IP_TRANSPARENT


def is_transparent(sock: Socket) -> bool:
    """Tell whether `transparent` was set."""
    level, option = _transparent_option(sock)
    return bool(sock.getsockopt(level, option))


def is_dual_stack(sock: Socket) -> bool:
    """Tell whether an IPv6 socket takes IPv4 too; False for one of IPv4."""
    return sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def original_destination(sock: Socket, family: socket.AddressFamily) -> tuple[str, int] | None:
    """Give where a connection went before this host's firewall changed its destination (netfilter's SO_ORIGINAL_DST).

    One that nothing was changed of has its own local address here.

    Args:
        sock: an accepted connection.
        family: of its addresses; AF_INET also where an IPv6 socket took an IPv4 connection.

    Returns:
        Host and port; None where connection tracking does not know the connection, or is not there.
    """
    is_ipv4 = family == socket.AF_INET
    level, form = (socket.IPPROTO_IP, _SOCKADDR_IN) if is_ipv4 else (socket.IPPROTO_IPV6, _SOCKADDR_IN6)
    try:
        port, address = form.unpack(sock.getsockopt(level, _SO_ORIGINAL_DST, form.size))
    except OSError:  # ENOENT, ENOPROTOOPT
        return None
    return socket.inet_ntop(family, address), port


def attach_reuseport_program(sock: Socket, program: bytes) -> None:
    """Let a classic-BPF program choose, in the whole SO_REUSEPORT group of `sock`, who accepts a connection.

    The program gives an index: the position of a socket in the order of listen(2). Attached before bind, the group
    that `sock` founds has it from its first connection on.

    Args:
        sock: a socket with SO_REUSEPORT set.
        program: packed struct sock_filter, 8 bytes each, at most 4096 (BPF_MAXINSNS).

    Raises:
        OptionError: the kernel's checker refuses the program.

    Source: socket(7), SO_ATTACH_REUSEPORT_CBPF.
    """
    _attach(sock, "SO_ATTACH_REUSEPORT_CBPF", _SO_ATTACH_REUSEPORT_CBPF, program)


def attach_filter(sock: Socket, program: bytes) -> None:
    """Have the kernel drop what a classic-BPF program gives 0 for, before the socket sees it (socket(7)).

    A TCP socket's program sees each segment from its TCP header on. Accepted sockets inherit it.

    Raises:
        OptionError: the kernel's checker refuses the program, or the socket is one of MPTCP.
    """
    _attach(sock, "SO_ATTACH_FILTER", _SO_ATTACH_FILTER, program)


def _attach(sock: Socket, name: str, option: int, program: bytes) -> None:
    filters = array.array("Q", program)
    address, length = filters.buffer_info()
    try:
        sock.setsockopt(socket.SOL_SOCKET, option, _SOCK_FPROG.pack(length, address))
    except OSError as error:
        raise OptionError(name, f"{length} instructions", error.errno or 0) from error


def pending_error(sock: Socket) -> int:
    """Take the error the kernel keeps for the socket (SO_ERROR): an errno, or 0. Reading clears it."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def unacked_bytes(descriptor: int) -> int:
    """Count the bytes written to a TCP socket that its other end has not acknowledged, sent or not (tcp(7))."""
    return _queue_length(descriptor, _SIOCOUTQ)


def unsent_bytes(descriptor: int) -> int:
    """Count the bytes written to a TCP socket that have not been sent even once (tcp(7))."""
    return _queue_length(descriptor, _SIOCOUTQNSD)


def _queue_length(descriptor: int, request: int) -> int:
    answer = fcntl.ioctl(descriptor, request, b"\0\0\0\0")
    return int.from_bytes(answer, sys.byteorder)

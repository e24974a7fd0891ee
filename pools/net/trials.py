"""Whether this kernel really does what a gateway needs: each trial does it, on loopback, and undoes it.

A version number says little: containers filter system calls, and distributions carry features back. What a refusal
means to an operator is said elsewhere.
"""

import fcntl
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Final

from pools.net import packet_socket, sockopts
from pools.net.errors import MidmileError
from pools.net.pipes import SIZE_BYTES
from pools.net.transport import mptcp_lack

_LOOPBACK: Final = ("127.0.0.1", 0)
_PATIENCE_S: Final = 5.0


class TrialError(MidmileError):
    """The kernel refused, or did something else than asked."""


def splice() -> None:
    """Move bytes from a TCP socket through a pipe into another without copying them (splice(2)).

    Raises:
        TrialError: refused, or other bytes came out.
    """
    _refused("splice", _splice)


def pipe_size() -> None:
    """Make a pipe of the size that relaying uses (F_SETPIPE_SZ).

    Raises:
        TrialError: refused, for instance above the user's share of pipe memory.
    """
    _refused(f"set a pipe to {SIZE_BYTES} bytes", _pipe_size)


def reuseport_program(program: bytes) -> None:
    """Let a classic-BPF program choose among listening sockets (SO_ATTACH_REUSEPORT_CBPF).

    Args:
        program: packed struct sock_filter.

    Raises:
        TrialError: refused.
    """
    try:
        _refused("listen with SO_REUSEPORT", lambda: _reuseport_program(program))
    except sockopts.OptionError as error:
        raise TrialError(str(error)) from error


def packet_capture(program: bytes) -> None:
    """Open packet sockets whose packets a classic-BPF program shares out (PACKET_FANOUT_CBPF).

    Args:
        program: packed struct sock_filter.

    Raises:
        TrialError: refused, in most cases for want of CAP_NET_RAW.
    """
    try:
        group = packet_socket.open_group(packet_socket.IPVersion.V4, slots=2, choose=program, until=program)
    except packet_socket.PacketSocketError as error:
        raise TrialError(str(error)) from error
    for sock in group:
        sock.close()


def mptcp() -> None:
    """Open a socket of MPTCP.

    Raises:
        TrialError: this kernel, or its settings, have none.
    """
    if lack := mptcp_lack():
        raise TrialError(f"cannot open an MPTCP socket: {lack}")


def _refused(tried: str, trial: Callable[[], None]) -> None:
    try:
        trial()
    except OSError as error:
        raise TrialError(f"cannot {tried}: {error}") from error


def _splice() -> None:
    sent = b"midmile"
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(_LOOPBACK))
        near = stack.enter_context(socket.create_connection(listening.getsockname(), timeout=_PATIENCE_S))
        far = stack.enter_context(listening.accept()[0])
        far.settimeout(_PATIENCE_S)
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, read_end)
        stack.callback(os.close, write_end)
        near.sendall(sent)
        os.splice(far.fileno(), write_end, len(sent))
        os.splice(read_end, far.fileno(), len(sent))
        came = near.recv(len(sent), socket.MSG_WAITALL)
    if came != sent:
        raise TrialError(f"splice must hand on {sent!r}; found {came!r}")


def _pipe_size() -> None:
    ends = os.pipe2(os.O_CLOEXEC)
    try:
        size = fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, SIZE_BYTES)
    finally:
        for end in ends:
            os.close(end)
    if size < SIZE_BYTES:
        raise TrialError(f"a pipe must take {SIZE_BYTES} bytes; found {size}")


def _reuseport_program(program: bytes) -> None:
    with closing(socket.socket()) as sock:
        sockopts.reuse_port(sock)
        sockopts.attach_reuseport_program(sock, program)
        sock.bind(_LOOPBACK)
        sock.listen(1)

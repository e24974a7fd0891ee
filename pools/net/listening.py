"""Opening, binding and listening, with the kernel's refusals in words an operator can act on.

Which sockets are opened and with what options is decided elsewhere.
"""

import errno
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pools.net import sockopts
from pools.net.endpoint import Endpoint
from pools.net.errors import MidmileError
from pools.net.transport import Transport, open_stream

_ADVICE: Final = {
    errno.EADDRINUSE: "another socket has this port; stop the process that `ss -ltnp` names, or choose another port",
    errno.EACCES: "ports below net.ipv4.ip_unprivileged_port_start (1024) need CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "no interface of this host has this address",
    errno.EAFNOSUPPORT: "this kernel runs without this address family",
    errno.EMFILE: "raise the limit on open files (LimitNOFILE= in systemd, ulimit -n in a shell)",
}

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_FAMILY: Final = {2: socket.AF_INET, 4: socket.AF_INET6}  # by the length of a socket address
_STREAM: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK


class ListenError(MidmileError):
    """The kernel refused a socket, its address, or to listen."""

    def __init__(self, tried: str, number: int) -> None:
        name = errno.errorcode.get(number, str(number))
        super().__init__(f"cannot {tried}: {name} ({_ADVICE.get(number, os.strerror(number))})")
        self.errno = number


@contextmanager
def _refusals(tried: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ListenError(tried, error.errno or 0) from error


def stream_socket(family: socket.AddressFamily, transport: Transport = Transport.TCP) -> socket.socket:
    """Open a non-blocking, close-on-exec socket; the caller owns it.

    Args:
        transport: what it accepts; TCP alone where this kernel has no other.

    Raises:
        ListenError: no descriptor left, or the family is not there.
    """
    with _refusals("open a TCP socket"):
        return open_stream(socket.socket, family, transport)


def bind(sock: socket.socket, address: Endpoint) -> Endpoint:
    """Bind to `address` and give it back, with the port the kernel chose where it was 0.

    Raises:
        ListenError: the address is taken, not ours, or needs a right we lack.
    """
    with _refusals("bind"):
        sock.bind((address.host, address.port))
    return Endpoint(address.host, sock.getsockname()[1])


def listen(sock: socket.socket, *, backlog: int) -> None:
    """Let connections in.

    Args:
        backlog: connections kept before accept; the kernel caps it at net.core.somaxconn.

    Raises:
        ListenError: somebody else began to listen there after our bind.
    """
    with _refusals("listen"):
        sock.listen(backlog)


def refuse_if_taken(address: Endpoint, *, dual_stack: bool) -> None:
    """Raise where somebody already listens on `address`, be it with SO_REUSEPORT.

    A group of the same user would be joined without a word, and would share its connections with us. A bind that
    asks for no sharing tells. A group that starts in the same instant shows later: the kernel lets no socket that
    brings its own program join another group (inet_csk_bind_conflict, Linux 4.6), neither in bind nor in listen.

    Raises:
        ListenError: somebody listens there, or we could not either.
    """
    if address.port == 0:
        return
    with stream_socket(address.family) as probe:
        sockopts.reuse_address(probe)  # connections in TIME_WAIT, left by our predecessor, are no listener
        if address.family == socket.AF_INET6:
            sockopts.dual_stack(probe, dual_stack)
        bind(probe, address)


class NothingToAccept(MidmileError):
    """The queue is empty."""


class AcceptError(MidmileError):
    """accept(2) failed for a reason that lies with us.

    Attributes:
        exhausted: descriptors or memory have run out; trying again at once only burns the processor.
    """

    def __init__(self, number: int) -> None:
        super().__init__(
            f"cannot accept: {errno.errorcode.get(number, number)} ({_ADVICE.get(number, os.strerror(number))})"
        )
        self.exhausted = number in _EXHAUSTED


def accept(listener: socket.socket) -> tuple[sockopts.Socket, tuple[Any, ...]]:
    """Take the oldest connection from the queue of a non-blocking listener.

    `socket.socket.accept` would make the Python object, look up the family twice and leave the connection blocking.

    Returns:
        The connection, non-blocking and the caller's, and its other end as accept(2) gives it.

    Raises:
        NothingToAccept: the queue is empty, or the connection in it has gone again.
        AcceptError: anything else.
    """
    try:
        descriptor, client = listener._accept()  # type: ignore[attr-defined]  # in every CPython 3; gevent relies on it too
    except (BlockingIOError, ConnectionAbortedError, InterruptedError):
        raise NothingToAccept from None
    except OSError as error:
        raise AcceptError(error.errno or 0) from error
    os.set_blocking(descriptor, False)
    return sockopts.Socket(_FAMILY[len(client)], _STREAM, socket.IPPROTO_TCP, descriptor), client


def has_waiting(listener: socket.socket) -> bool:
    """Tell whether a connection waits in the queue of a listener; none does where somebody shut it down."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))


def has_descriptors_left() -> bool:
    """Tell whether this process may open two more descriptors, as a session needs them."""
    try:
        ends = os.pipe()
    except OSError:
        return False
    for end in ends:
        os.close(end)
    return True

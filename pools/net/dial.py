"""Opening one outbound TCP connection without blocking. Which address, how often, how long: the caller chooses."""

import errno
import socket

from pools.net import socket_buffers, sockopts
from pools.net.readiness import AnyStream, Readiness
from pools.net.resolver import Address
from pools.net.sockopts import Socket
from pools.net.stream import Stream, StreamFailed
from pools.net.transport import Transport, open_stream


def dial(  # noqa: PLR0913  # each is an option of the socket
    address: Address,
    *,
    readiness: Readiness,
    congestion: str,
    kind: type[AnyStream],
    source: str = "",
    window_bytes: int = 0,
    transport: Transport = Transport.TCP,
) -> AnyStream:
    """Connect to `address`, parking this greenlet until the handshake is over.

    Args:
        address: where to.
        readiness: where the stream is registered.
        congestion: congestion control; empty leaves the system's.
        kind: what the stream is to be.
        window_bytes: what the buffers shall have room for from the first; 0 leaves it to the system.
        source: the address that the connection comes from, anybody's, of the same family; empty for one of this host's.
        transport: what carries it; TCP where this kernel has no other.

    Returns:
        A connected stream with TCP_NODELAY and SO_LINGER{1,0} set, the caller's.

    Raises:
        StreamFailed: refused, unreachable, timed out in the kernel, no descriptor or port left, or a source that this
            host may not use. Nothing stays open.
        StreamClosed: we closed it meanwhile.
    """
    stream = begin(
        address,
        readiness=readiness,
        congestion=congestion,
        kind=kind,
        window_bytes=window_bytes,
        source=source,
        transport=transport,
    )
    try:
        stream.wait_writable()
        finish(stream)
    except BaseException:  # a timeout thrown into this greenlet, too, must leave no socket behind
        stream.close()
        raise
    return stream


def finish(stream: Stream) -> None:
    """Raise StreamFailed with what connect(2) failed with; for a stream that was said to be writable.

    An end that came after something was said is left for whoever reads on: SO_ERROR would not tell a refusal from the
    reset of a destination that took the connection, spoke and left.
    """
    if not stream.ending:
        return
    try:
        stream.socket.recv(1, socket.MSG_PEEK)
    except BlockingIOError:  # connected, and nothing came yet
        return
    except OSError as error:
        raise StreamFailed(error) from error


def begin(  # noqa: PLR0913  # as above
    address: Address,
    *,
    readiness: Readiness,
    congestion: str,
    kind: type[AnyStream],
    source: str = "",
    window_bytes: int = 0,
    transport: Transport = Transport.TCP,
) -> AnyStream:
    """Start to connect and give the stream, whose `on_writable` tells when to `finish`. Arguments and errors as above.

    For whoever can go on in the hub and needs no greenlet to wait in.
    """
    try:
        sock = open_stream(Socket, address.family, transport)
    except OSError as error:  # EMFILE, ENFILE, ENOBUFS
        raise StreamFailed(error) from error
    try:
        sockopts.no_delay(sock)
        sockopts.linger_reset(sock)
        if congestion:
            sockopts.congestion(sock, congestion)
        if window_bytes:
            socket_buffers.enlarge(sock, window_bytes)
        if source:
            _bind(sock, source)
        number = sock.connect_ex(address.sockaddr)
    except sockopts.OptionError as error:
        sock.close()
        raise StreamFailed(OSError(error.errno, str(error))) from error
    except OSError as error:  # of bind
        sock.close()
        raise StreamFailed(error) from error
    if number not in (0, errno.EINPROGRESS):
        sock.close()
        raise StreamFailed(OSError(number, errno.errorcode.get(number, "")))
    return readiness.open(sock, kind)


def _bind(sock: Socket, source: str) -> None:
    """Have the connection come from `source`; connect chooses the port, which can then serve many destinations."""
    sockopts.transparent(sock)
    sockopts.bind_address_no_port(sock)
    sock.bind((source, 0))

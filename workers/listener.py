"""The listening sockets of one listener, one per worker, with the program that deals connections out to them.

Made by the supervisor before it forks, and changed by it in place where the configuration changes. Accepting is the
worker's business.
"""

import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from pools.net import listening, socket_buffers, sockopts
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from pools.net.keepalive import Keepalive
from pools.net.transport import is_mptcp
from workers.settings import Listen, Mode
from workers.shard import ShardHash
from workers.syn_filter import without_syns

_SYSTEMS_CONGESTION: Final = Path("/proc/sys/net/ipv4/tcp_congestion_control")


def open_group(listen: Listen, *, shard: ShardHash, keepalive: Keepalive) -> list[socket.socket]:
    """Open the sockets that the workers of one listener accept from.

    Args:
        listen: where; port 0 lets the kernel choose one port for all.
        shard: how many, and which connection goes to which.
        keepalive: for all that is accepted.

    Returns:
        One listening socket per slot, in slot order, non-blocking and close-on-exec. They belong to the caller, who
        ends them with `end_group` only from the last one on: the kernel fills the place of a closed one with the last.
        What they accept has TCP_NODELAY, keepalive, the user timeout, the congestion control, and a close that
        resets: a session that ends in order switches that off first (sockopts.linger_off).

    Raises:
        StartError: the address is taken, not ours, or needs a right we lack; nothing stays open.
    """
    try:
        with ExitStack() as opened:
            group = [opened.enter_context(_socket_for(listen, keepalive)) for _ in range(shard.slots)]
            if listen.preserve_source:
                _try_to_preserve(listen)
            _start(group, listen, shard)
            opened.pop_all()
            return group
    except (listening.ListenError, sockopts.OptionError) as error:
        raise _cannot(listen, error) from error


def grow_group(listen: Listen, address: Endpoint, *, more: int, keepalive: Keepalive) -> list[socket.socket]:
    """Open sockets that join the end of a group that listens at `address`. Its program leads nobody to them yet.

    Raises:
        StartError: the kernel refuses one; nothing stays open.
    """
    try:
        with ExitStack() as opened:
            joined = [opened.enter_context(_socket_for(listen, keepalive)) for _ in range(more)]
            for sock in joined:
                listening.bind(sock, address)
                listening.listen(sock, backlog=listen.backlog)
            opened.pop_all()
            return joined
    except (listening.ListenError, sockopts.OptionError) as error:
        raise _cannot(listen, error) from error


def try_options(listen: Listen, keepalive: Keepalive) -> None:
    """Find out whether a listener's sockets could have what `listen` asks for, on one that listens nowhere.

    Raises:
        StartError: they could not.
    """
    try:
        _socket_for(listen, keepalive).close()
        if listen.preserve_source:
            _try_to_preserve(listen)
    except (listening.ListenError, sockopts.OptionError) as error:
        raise _cannot(listen, error) from error


def change_options(group: Iterable[socket.socket], listen: Listen, keepalive: Keepalive) -> None:
    """Have a group that listens accept by `listen` from now on. Buffers that were larger stay so.

    Raises:
        StartError: the kernel refuses what it allowed in `try_options`, or there is no descriptor left to ask it by.
    """
    try:
        for sock in group:
            _set_inherited(sock, listen, keepalive)
            if not listen.congestion:
                sockopts.congestion(sock, _SYSTEMS_CONGESTION.read_text(encoding="ascii").strip())
            listening.listen(sock, backlog=listen.backlog)
    except (listening.ListenError, sockopts.OptionError, OSError) as error:
        raise _cannot(listen, error) from error


def deal(group: Sequence[socket.socket], shard: ShardHash) -> None:
    """Have a group share out new connections by `shard`, whose slots it has sockets for.

    Those whose handshake is under way stay with the socket that their SYN came to.
    """
    if not is_mptcp(group[0]):
        sockopts.attach_reuseport_program(group[0], shard.program())


def deafen(group: Iterable[socket.socket]) -> None:
    """Have a group take no new client, while those whose handshake is under way or who wait in it are still accepted.

    A SYN is dropped, not refused: its client asks again, and is refused once nobody listens any more. MPTCP knows no
    filter; there the last clients are those that come before the end.
    """
    for sock in group:
        with suppress(sockopts.OptionError):
            sockopts.attach_filter(sock, without_syns())


def end_group(sockets: Sequence[socket.socket]) -> None:
    """Listen no more on sockets that are the last of their group, whoever else has copies, and close ours.

    Shutting down, unlike closing, takes effect at once: what joins the group after this has the place that it counts.
    """
    for sock in reversed(sockets):
        with suppress(OSError):  # ended already
            sock.shutdown(socket.SHUT_RD)
        sock.close()


def _start(group: list[socket.socket], listen: Listen, shard: ShardHash) -> None:
    listening.refuse_if_taken(listen.bind, dual_stack=listen.dual_stack)
    # The first to listen founds the group in the kernel, and its program is the group's from then on. MPTCP takes none:
    # the kernel's own hash chooses, which is good enough where no SYN is captured.
    deal(group, shard)
    address = listen.bind
    for sock in group:
        address = listening.bind(sock, address)
    for sock in group:  # the program's answer is a position in the order of these calls
        listening.listen(sock, backlog=listen.backlog)


def _socket_for(listen: Listen, keepalive: Keepalive) -> socket.socket:
    sock = listening.stream_socket(listen.bind.family, listen.transport)
    try:
        sockopts.reuse_address(sock)
        sockopts.reuse_port(sock)
        if listen.bind.family == socket.AF_INET6:
            sockopts.dual_stack(sock, listen.dual_stack)
        if listen.mode is Mode.TPROXY:
            sockopts.transparent(sock)
        _set_inherited(sock, listen, keepalive)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_inherited(sock: socket.socket, listen: Listen, keepalive: Keepalive) -> None:
    """Set what accepted sockets take over, which saves five calls for each of them."""
    sockopts.no_delay(sock)
    sockopts.keepalive(sock, idle_s=keepalive.idle, interval_s=keepalive.interval, probes=keepalive.probes)
    if not is_mptcp(sock):
        sockopts.user_timeout(sock, keepalive.user_timeout)
    sockopts.linger_reset(sock)  # so that the clients of a killed worker see a reset, not the end of a stream
    if listen.congestion:
        sockopts.congestion(sock, listen.congestion)
    if listen.window_bytes:
        socket_buffers.enlarge(sock, listen.window_bytes)


def _try_to_preserve(listen: Listen) -> None:
    """Find out before the first session whether legs may come from addresses of others."""
    with listening.stream_socket(listen.bind.family) as probe:
        sockopts.transparent(probe)


def _cannot(listen: Listen, error: Exception) -> StartError:
    return StartError(f"listener {listen.name!r} on {listen.bind}: {error}")

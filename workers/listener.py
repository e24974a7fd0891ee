"""The listening sockets of one listener, one per worker, with the program that deals connections out to them.

Made by the supervisor before it forks. Accepting is the worker's business.
"""

import socket
from contextlib import ExitStack

from pools.net import listening, socket_buffers, sockopts
from pools.net.errors import StartError
from pools.net.keepalive import Keepalive
from pools.net.transport import is_mptcp
from workers.settings import Listen, Mode
from workers.shard import ShardHash


def open_group(listen: Listen, *, shard: ShardHash, keepalive: Keepalive) -> list[socket.socket]:
    """Open the sockets that the workers of one listener accept from.

    Args:
        listen: where; port 0 lets the kernel choose one port for all.
        shard: how many, and which connection goes to which.
        keepalive: for all that is accepted.

    Returns:
        One listening socket per slot, in slot order, non-blocking and close-on-exec. They belong to the caller, who
        keeps all of them open or none: the kernel fills the place of a closed one with the last of the group.
        What they accept has TCP_NODELAY, keepalive, the user timeout, the congestion control, and a close that
        resets: a session that ends in order switches that off first (sockopts.linger_off).

    Raises:
        StartError: the address is taken, not ours, or needs a right we lack; nothing stays open.
    """
    try:
        with ExitStack() as opened:
            group = [
                opened.enter_context(listening.stream_socket(listen.bind.family, listen.transport))
                for _ in range(shard.slots)
            ]
            _set_options(group, listen, keepalive)
            if listen.preserve_source:
                _try_to_preserve(listen)
            _start(group, listen, shard)
            opened.pop_all()
            return group
    except (listening.ListenError, sockopts.OptionError) as error:
        raise StartError(f"listener {listen.name!r} on {listen.bind}: {error}") from error


def _start(group: list[socket.socket], listen: Listen, shard: ShardHash) -> None:
    listening.refuse_if_taken(listen.bind, dual_stack=listen.dual_stack)
    # The first to listen founds the group in the kernel, and its program is the group's from then on. MPTCP takes none:
    # the kernel's own hash chooses, which is good enough where no SYN is captured.
    if not is_mptcp(group[0]):
        sockopts.attach_reuseport_program(group[0], shard.program())
    address = listen.bind
    for sock in group:
        address = listening.bind(sock, address)
    for sock in group:  # the program's answer is a position in the order of these calls
        listening.listen(sock, backlog=listen.backlog)


def _set_options(group: list[socket.socket], listen: Listen, keepalive: Keepalive) -> None:
    for sock in group:
        sockopts.reuse_address(sock)
        sockopts.reuse_port(sock)
        if listen.bind.family == socket.AF_INET6:
            sockopts.dual_stack(sock, listen.dual_stack)
        if listen.mode is Mode.TPROXY:
            sockopts.transparent(sock)
        _set_inherited(sock, listen, keepalive)


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

"""The packet sockets that capture SYNs, with the program that gives each to the worker that will accept it.

Made by the supervisor before it forks. Reading them is the worker's business (`workers.syn_capture`).
"""

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Network

from pools.net import packet_socket
from pools.net.packet_socket import IPVersion
from workers.shard import ShardHash
from workers.syn_filter import NOTHING, Target, program


@dataclass(frozen=True, slots=True)
class Capture:
    """One worker's share of the SYNs that this gateway wants to see.

    Attributes:
        sockets: one for each IP version that is wanted, non-blocking, silent until `program` is attached. The
            supervisor holds copies.
        program: the filter that lets through what is wanted, the same for every worker.
        own_ports: SYNs to these are only wanted where they end here, which the filter cannot know.
    """

    sockets: tuple[socket.socket, ...]
    program: bytes
    own_ports: frozenset[int] = frozenset()


def open_captures(targets: Sequence[Target], *, shard: ShardHash) -> list[Capture]:
    """Open the packet sockets of every worker.

    Args:
        targets: where the SYNs must be going to, at least one.
        shard: how many workers, and which connection is whose: the one that the listeners have.

    Returns:
        One for each slot, in slot order. The sockets belong to the caller, who keeps all of them open or none.

    Raises:
        PacketSocketError: CAP_NET_RAW is missing, or the kernel refuses, for instance a filter for too many targets;
            nothing stays open.
    """
    wanted = program(targets)
    with ExitStack() as opened:
        groups = []
        for version in _versions(targets):
            group = packet_socket.open_group(version, slots=shard.slots, choose=shard.program(), until=NOTHING)
            groups.append([opened.enter_context(sock) for sock in group])
            _try_out(wanted, group[0])
        opened.pop_all()
    return [capture_by(sockets, targets) for sockets in zip(*groups, strict=True)]


def capture_by(sockets: tuple[socket.socket, ...], targets: Sequence[Target]) -> Capture:
    """Give one worker's share, of `sockets` that are its own, for SYNs that are going to `targets`."""
    own_ports = frozenset(each.port for each in targets if each.ends_here and each.port)
    return Capture(sockets, program(targets), own_ports)


def _try_out(wanted: bytes, sock: socket.socket) -> None:
    """Have the kernel refuse a filter now, and not in each worker."""
    packet_socket.attach_filter(sock, wanted)
    packet_socket.attach_filter(sock, NOTHING)
    packet_socket.discard(sock)


def _versions(targets: Sequence[Target]) -> list[IPVersion]:
    families = {IPVersion.V4 if isinstance(each.network, IPv4Network) else IPVersion.V6 for each in targets}
    return sorted(families)

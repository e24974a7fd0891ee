"""Sockets that are open already when holdings are opened: a predecessor's, or a service manager's.

What a listening socket is, and so which listener it may serve, is its key: what the kernel lets nobody change once it
listens.
"""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pools.net import sockopts
from pools.net.endpoint import Endpoint
from pools.net.transport import Transport, is_mptcp, mptcp_lack
from workers.settings import Listen, Mode


class GroupKey(NamedTuple):
    """What the sockets of one listener have in common.

    Attributes:
        address: where they listen, with the port that the kernel chose.
        transport: what they accept in fact: TCP where this kernel has no MPTCP.
    """

    address: str
    transport: Transport
    transparent: bool
    dual_stack: bool


@dataclass(slots=True)
class Inherited:
    """Open sockets, by what they are. Whoever takes one out owns it; `close` ends the rest.

    Attributes:
        groups: listening sockets, each group's in the order in which they began to listen.
        captures: packet sockets. Nobody takes them: a fresh set costs nothing, and their filters are their holder's.
        admin: by where it listens.
        shard_seed: what the groups' programs hash by; None where they have none.
        lent: of these sockets, the numbers of those that a service manager goes on with after this gateway (see
            `number_of`). They are left and never ended: it would have them back dead, or deaf.
        names: of listeners whose port the kernel chose, each with its group; empty where their holder has none.
    """

    groups: dict[GroupKey, list[socket.socket]] = field(default_factory=dict)
    captures: list[socket.socket] = field(default_factory=list)
    admin: dict[str, socket.socket] = field(default_factory=dict)
    shard_seed: int | None = None
    lent: frozenset[int] = frozenset()
    names: dict[str, GroupKey] = field(default_factory=dict)

    def close(self) -> None:
        """Close our copies of what is left. Where somebody else has copies, they go on listening."""
        for sock in self._all():
            sock.close()
        self.groups.clear()
        self.captures.clear()
        self.admin.clear()

    def _all(self) -> Iterator[socket.socket]:
        for group in self.groups.values():
            yield from group
        yield from self.captures
        yield from self.admin.values()


def number_of(sock: socket.socket) -> int:
    """Give the kernel's number of a socket, the same in all processes that have it open."""
    return os.fstat(sock.fileno()).st_ino


def bound_address(sock: socket.socket) -> str:
    """Give the address of a listener as people write it, with the port that the kernel chose."""
    host, port = sock.getsockname()[:2]
    return str(Endpoint(host, port))


def key_of(sock: socket.socket) -> GroupKey:
    """Give what a listening socket is."""
    dual_stack = sockopts.is_dual_stack(sock)
    if is_mptcp(sock):  # never transparent, and some kernels do not even say so
        return GroupKey(bound_address(sock), Transport.MPTCP, False, dual_stack)
    return GroupKey(bound_address(sock), Transport.TCP, sockopts.is_transparent(sock), dual_stack)


def key_for(listen: Listen, *, port: int) -> GroupKey:
    """Give what a socket at a listener's host, and `port` there, must be to serve it."""
    wants_mptcp = listen.transport is Transport.MPTCP and not mptcp_lack()
    transport = Transport.MPTCP if wants_mptcp else Transport.TCP
    host = Endpoint(as_bound(listen.bind.host), port)
    return GroupKey(str(host), transport, listen.mode is Mode.TPROXY, listen.dual_stack)


def as_bound(host: str) -> str:
    """Write an address as the kernel does for a socket that is bound to it."""
    address, percent, zone = host.partition("%")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_ntop(family, socket.inet_pton(family, address)) + percent + zone

"""The listening sockets that outlive every child, and who gets which. Opened before the first fork."""

import socket
from collections.abc import Iterable
from typing import Self

from pools.net import listening, sockopts
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from workers.listener import open_group
from workers.settings import WorkerSettings
from workers.shard import ShardHash

_ADMIN_BACKLOG = 128


class Holdings:
    """Every listening socket of the gateway, the control socket excepted. The accept queue of a dead child waits here.

    Attributes:
        groups: for each listener, its sockets in slot order.
        admin: the admin listener; None for none.
    """

    def __init__(self, groups: list[list[socket.socket]], admin: socket.socket | None) -> None:
        self.groups = groups
        self.admin = admin

    @classmethod
    def open(cls, settings: WorkerSettings, *, admin: Endpoint | None) -> Self:
        """Open them all.

        Raises:
            StartError: one could not be opened; then none is left open.
        """
        holdings = cls([], None)
        shard = ShardHash(settings.shard_seed, settings.workers)
        try:
            for listen in settings.listens:
                holdings.groups.append(open_group(listen, shard=shard, keepalive=settings.keepalive))
            holdings.admin = None if admin is None else _open_admin(admin)
        except StartError:
            holdings.close()
            raise
        return holdings

    def of_worker(self, slot: int) -> tuple[socket.socket, ...]:
        """Give the sockets of the worker in `slot`, in the order of the listeners."""
        return tuple(group[slot] for group in self.groups)

    def close_all_but(self, kept: Iterable[socket.socket]) -> None:
        """Close, in a child, what is not its own: a listener is gone only when its last copy is."""
        own = set(kept)
        for sock in self._all():
            if sock not in own:
                sock.close()

    def close_groups(self) -> None:
        """Close the listeners, the admin one excepted, so that newcomers are refused."""
        for group in self.groups:
            for sock in group:
                sock.close()

    def close(self) -> None:
        """Close everything."""
        self.close_all_but(())

    def _all(self) -> list[socket.socket]:
        admin = [] if self.admin is None else [self.admin]
        return [sock for group in self.groups for sock in group] + admin


def bound_address(sock: socket.socket) -> str:
    """Give the address of a listener as people write it, with the port that the kernel chose."""
    host, port = sock.getsockname()[:2]
    return str(Endpoint(host, port))


def _open_admin(address: Endpoint) -> socket.socket:
    try:
        sock = listening.stream_socket(address.family)
        try:
            sockopts.reuse_address(sock)
            listening.bind(sock, address)
            listening.listen(sock, backlog=_ADMIN_BACKLOG)
        except BaseException:
            sock.close()
            raise
    except listening.ListenError as error:
        raise StartError(f"admin on {address}: {error}") from error
    return sock

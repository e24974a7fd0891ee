"""The sockets that outlive every child, those that listen and those that capture SYNs, and who gets which.

Opened before the first fork.
"""

import socket
from collections.abc import Iterable, Sequence
from typing import Self

from pools.net import listening, sockopts
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from pools.net.packet_socket import PacketSocketError
from workers.listener import open_group
from workers.settings import Listen, Mode, WorkerSettings
from workers.shard import ShardHash
from workers.syn_sockets import Capture, open_captures
from workers.syn_targets import targets_of

_ADMIN_BACKLOG = 128


class Holdings:
    """Every such socket of the gateway, the control socket excepted. The accept queue of a dead child waits here.

    Attributes:
        groups: for each listener, its sockets in slot order.
        captures: what each worker captures SYNs by, in slot order; empty where none wants to or may.
        capture_lack: why that cannot be had although a listener wants it; empty otherwise.
        admin: the admin listener; None for none.
    """

    def __init__(self) -> None:
        self.groups: list[list[socket.socket]] = []
        self.captures: list[Capture] = []
        self.capture_lack = ""
        self.admin: socket.socket | None = None

    @classmethod
    def open(cls, settings: WorkerSettings, *, admin: Endpoint | None) -> Self:
        """Open them all; where SYNs cannot be captured, all others.

        Raises:
            StartError: one could not be opened; then none is left open.
        """
        holdings = cls()
        # A redirected connection's SYN is captured before its destination is changed, and accepted afterwards.
        by_source = any(listen.mode is Mode.REDIRECT and listen.early_syn for listen in settings.listens)
        shard = ShardHash(settings.shard_seed, settings.workers, by_source)
        try:
            for listen in settings.listens:
                holdings.groups.append(open_group(listen, shard=shard, keepalive=settings.keepalive))
            holdings.admin = None if admin is None else _open_admin(admin)
            holdings._open_captures(settings.listens, shard)
        except StartError:
            holdings.close()
            raise
        return holdings

    def _open_captures(self, listens: Sequence[Listen], shard: ShardHash) -> None:
        ports = [group[0].getsockname()[1] for group in self.groups]
        wanted = [each for listen, port in zip(listens, ports, strict=True) for each in targets_of(listen, port=port)]
        try:
            self.captures = open_captures(wanted, shard=shard) if wanted else []
        except PacketSocketError as error:
            self.capture_lack = str(error)

    def of_worker(self, slot: int) -> tuple[socket.socket, ...]:
        """Give the listening sockets of the worker in `slot`, in the order of the listeners."""
        return tuple(group[slot] for group in self.groups)

    def capture_of_worker(self, slot: int) -> Capture | None:
        """Give what the worker in `slot` captures SYNs by."""
        return self.captures[slot] if self.captures else None

    def close_all_but(self, kept: Iterable[socket.socket]) -> None:
        """Close, in a child, what is not its own: a listener is gone only when its last copy is."""
        own = set(kept)
        for sock in self._all():
            if sock not in own:
                sock.close()

    def close_groups(self) -> None:
        """Close the listeners, the admin one excepted, so that newcomers are refused, and what captures their SYNs."""
        for sock in self._of_workers():
            sock.close()

    def close(self) -> None:
        """Close everything."""
        self.close_all_but(())

    def _all(self) -> list[socket.socket]:
        return self._of_workers() + ([] if self.admin is None else [self.admin])

    def _of_workers(self) -> list[socket.socket]:
        listening = [sock for group in self.groups for sock in group]
        return listening + [sock for capture in self.captures for sock in capture.sockets]


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

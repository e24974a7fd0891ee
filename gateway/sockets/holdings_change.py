"""From the sockets that a gateway has to those that a configuration wants: what is opened, what is kept, what goes.

Everything that can fail is done here, before anything that is in use is touched.
"""

import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from gateway.sockets.inherited import GroupKey, as_bound, bound_address, key_of
from gateway.sockets.socket_plan import Known, paired
from pools.net import listening, sockopts
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from pools.net.keepalive import Keepalive
from pools.net.packet_socket import PacketSocketError
from workers.listener import change_options, grow_group, open_group, try_options
from workers.settings import Listen, Mode, WorkerSettings
from workers.shard import ShardHash
from workers.syn_sockets import Capture, open_captures
from workers.syn_targets import targets_of

_ADMIN_BACKLOG: Final = 128

Group = list[socket.socket]


@dataclass(frozen=True, slots=True)
class Have:
    """What is open.

    Attributes:
        groups: the listeners' sockets, in slot order.
        admin: the admin listener, by its address, bound or as configured.
        known: how listeners of that name were opened.
    """

    groups: Mapping[GroupKey, Group] = field(default_factory=dict)
    admin: Mapping[str, socket.socket] = field(default_factory=dict)
    known: Mapping[str, Known] = field(default_factory=dict)


@dataclass(slots=True)
class Change:
    """What there is to be, opened but not yet in use.

    Attributes:
        listens: the listeners.
        groups: for each of them, a socket for each worker, in slot order.
        surplus: of groups that go on, the sockets at the end that no worker gets.
        gone: groups that no listener has any more.
        deals_anew: groups that go on are not dealt out by `shard` yet.
    """

    shard: ShardHash
    keepalive: Keepalive
    admin_wanted: Endpoint | None
    listens: Sequence[Listen] = ()
    groups: list[Group] = field(default_factory=list)
    known: dict[str, Known] = field(default_factory=dict)
    captures: list[Capture] = field(default_factory=list)
    capture_lack: str = ""
    admin: socket.socket | None = None
    surplus: list[Group] = field(default_factory=list)
    gone: list[Group] = field(default_factory=list)
    gone_admins: list[socket.socket] = field(default_factory=list)
    deals_anew: bool = False
    _kept: list[tuple[Listen, Group]] = field(default_factory=list)
    _opened: ExitStack = field(default_factory=ExitStack)

    def abandon(self) -> None:
        """Close what was opened, and nothing else."""
        self._opened.close()

    def set_options(self) -> None:
        """Set up the groups that go on, as their listeners want it now. Then what was opened is not ours any more.

        Raises:
            StartError: the kernel refuses what it has just allowed on another socket.
        """
        for listen, group in self._kept:
            change_options(group, listen, self.keepalive)
        self._opened.pop_all()

    def open_groups(self, have: Have, listens: Sequence[Listen]) -> None:
        """Find or open the sockets of each listener."""
        self.listens = listens
        keys = paired(listens, have.groups.keys(), have.known)
        for listen, key in zip(listens, keys, strict=True):  # first what may change nothing at all
            if key is not None:
                try_options(listen, self.keepalive)
        for listen, key in zip(listens, keys, strict=True):
            group = self._open_group(listen, have) if key is None else self._keep_group(listen, have.groups[key])
            self.groups.append(group)
            self.known[listen.name] = Known(listen.bind, key_of(group[0]))
        self.gone = [group for key, group in have.groups.items() if key not in keys]

    def _open_group(self, listen: Listen, have: Have) -> Group:
        try:
            return self._own(open_group(listen, shard=self.shard, keepalive=self.keepalive))
        except StartError as error:
            if listen.bind.port and any(Endpoint.parse(key.address).port == listen.bind.port for key in have.groups):
                way_out = "take out with one reload what this gateway has there, and this in with the next"
                raise StartError(f"{error}; {way_out}") from error
            raise

    def _keep_group(self, listen: Listen, group: Group) -> Group:
        slots = self.shard.slots
        address = Endpoint.parse(bound_address(group[0]))
        more = slots - len(group)
        joined = self._own(grow_group(listen, address, more=more, keepalive=self.keepalive)) if more > 0 else []
        if group[slots:]:
            self.surplus.append(group[slots:])
        self._kept.append((listen, group[:slots]))
        self.deals_anew = True
        return group[:slots] + joined

    def open_captures(self, listens: Sequence[Listen]) -> None:
        """Open a fresh set of what captures SYNs, beside one that is in use, or say why there is none."""
        ports = [group[0].getsockname()[1] for group in self.groups]
        wanted = [each for listen, port in zip(listens, ports, strict=True) for each in targets_of(listen, port=port)]
        try:
            self.captures = open_captures(wanted, shard=self.shard) if wanted else []
        except PacketSocketError as error:
            self.capture_lack = str(error)
        self._own([sock for capture in self.captures for sock in capture.sockets])

    def open_admin(self, have: Have) -> None:
        """Find or open the admin listener."""
        wanted = self.admin_wanted
        self.admin = None if wanted is None else _admin_among(have.admin, wanted)
        if self.admin is None and wanted is not None:
            self.admin = self._own([_open_admin(wanted)])[0]
        self.gone_admins = [sock for sock in have.admin.values() if sock is not self.admin]

    def _own(self, sockets: Group) -> Group:
        for sock in sockets:
            self._opened.enter_context(sock)
        return sockets


def prepare(have: Have, settings: WorkerSettings, *, admin: Endpoint | None) -> Change:
    """Open what `settings` want and `have` has not.

    Raises:
        StartError: one cannot be opened, or what is open cannot be changed so; nothing that was opened stays open.
    """
    change = Change(_shard(settings), settings.keepalive, admin)
    try:
        change.open_groups(have, settings.listens)
        change.open_admin(have)
        change.open_captures(settings.listens)
    except StartError:
        change.abandon()
        raise
    return change


def _shard(settings: WorkerSettings) -> ShardHash:
    # A redirected connection's SYN is captured before its destination is changed, and accepted afterwards.
    by_source = any(listen.mode is Mode.REDIRECT and listen.early_syn for listen in settings.listens)
    return ShardHash(settings.shard_seed, settings.workers, by_source)


def _admin_among(have: Mapping[str, socket.socket], wanted: Endpoint) -> socket.socket | None:
    exact = have.get(str(wanted)) or have.get(str(Endpoint(as_bound(wanted.host), wanted.port)))
    if exact is not None or wanted.port:
        return exact
    return next((sock for address, sock in have.items() if Endpoint.parse(address).host == wanted.host), None)


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

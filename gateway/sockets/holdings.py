"""The sockets that outlive every child, those that listen and those that capture SYNs, and who gets which.

Opened before the first fork, and changed in place by a reload: `prepare` opens what is missing and changes nothing,
`take` gives children the new ones, `settle` deals connections out to them, `finish` ends those that nobody wants.
"""

import logging
import socket
from collections.abc import Iterable, Sequence
from typing import Self

from gateway.sockets.holdings_change import Change, Have, prepare
from gateway.sockets.inherited import Inherited, bound_address, key_of, number_of
from gateway.sockets.socket_plan import Known
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from pools.net.tcp_info import tcp_info
from workers.listener import change_options, deafen, deal, end_group
from workers.settings import Listen, WorkerSettings
from workers.syn_sockets import Capture

_log = logging.getLogger(__name__)


class Holdings:
    """Every such socket of the gateway, the control socket excepted. The accept queue of a dead child waits here.

    Attributes:
        groups: for each listener, its sockets in slot order.
        captures: what each worker captures SYNs by, in slot order; empty where none wants to or may.
        capture_lack: why that cannot be had although a listener wants it; empty otherwise.
        admin: the admin listener; None for none.
        lent: numbers of those that a service manager goes on with after us.
    """

    def __init__(self) -> None:
        self.groups: list[list[socket.socket]] = []
        self.captures: list[Capture] = []
        self.capture_lack = ""
        self.admin: socket.socket | None = None
        self.lent: frozenset[int] = frozenset()
        self._known: dict[str, Known] = {}
        self._admin_wanted: Endpoint | None = None
        self._undealt: Change | None = None
        self._holds: Change | None = None
        self._retired: list[list[socket.socket]] = []  # each the end of a group, or all of it
        self._dropped: list[socket.socket] = []  # that nobody reads or accepts from any more

    @classmethod
    def open(cls, settings: WorkerSettings, *, admin: Endpoint | None, inherited: Inherited | None = None) -> Self:
        """Open them all; where SYNs cannot be captured, all others.

        Args:
            inherited: sockets that are open already. Those that fit are taken out of it and set up anew, the others
                closed. What a group has more than there are workers is ended by `finish`; `settle` is to be called once
                all workers accept.

        Raises:
            StartError: one could not be opened; then none is left open but what was inherited.
        """
        holdings = cls()
        inherited = inherited or Inherited()
        holdings.lent = inherited.lent
        have = Have(inherited.groups, inherited.admin, _known(inherited, settings.listens))
        change = prepare(have, settings, admin=admin)
        inherited.groups, inherited.admin = {}, {}
        inherited.close()
        holdings._drop_rather_than_retire(change)
        holdings.take(change)
        return holdings

    def prepare(self, settings: WorkerSettings, *, admin: Endpoint | None) -> Change:
        """Open what `settings` want and is not there; nothing else changes.

        Returns:
            What `take` takes. Until then it is the caller's, who abandons it or takes it.

        Raises:
            StartError: one cannot be opened, or what is open cannot be changed so; then all is as it was.
        """
        groups = {key_of(group[0]): group for group in self.groups}
        have = Have(groups, {} if self.admin is None else {str(self._admin_wanted): self.admin}, self._known)
        return prepare(have, settings, admin=admin)

    def take(self, change: Change) -> None:
        """Go on with these sockets: children that are forked or told from now on get them."""
        change.set_options()
        for group in change.gone:
            deafen(self._ours(group))
            self._warn_of_lent(group)
        self._retired += [*change.gone, *change.surplus]
        self._dropped += [sock for capture in self.captures for sock in capture.sockets] + change.gone_admins
        self.groups, self.captures, self.capture_lack = change.groups, change.captures, change.capture_lack
        self.admin, self._admin_wanted, self._known = change.admin, change.admin_wanted, change.known
        self._undealt = self._holds = change

    def settle(self) -> None:
        """Deal new connections out to the workers that there are now: call it once all of them accept."""
        change, self._undealt = self._undealt, None
        if change is not None and change.deals_anew:
            for group in self.groups:
                deal(group, change.shard)

    @property
    def names(self) -> list[str]:
        """Give for each group the name of its listener, by which alone that is known where the kernel chose the port.

        Empty for a listener that is known by its address.
        """
        listens = () if self._holds is None else self._holds.listens
        return ["" if listen.bind.port else listen.name for listen in listens]

    @property
    def awaited(self) -> int:
        """Connections that wait to be accepted from sockets that `finish` would end."""
        return sum(tcp_info(sock).unacked_segments for group in self._retired for sock in group)

    def finish(self) -> None:
        """End what nobody wants any more; whoever still waits there is reset."""
        while self._retired:
            group = self._retired.pop()
            end_group(self._ours(group))
            for sock in group:
                sock.close()
        while self._dropped:
            self._dropped.pop().close()

    def of_worker(self, position: int) -> tuple[socket.socket, ...]:
        """Give the listening sockets of the worker at `position` in slot order, in the order of the listeners."""
        return tuple(group[position] for group in self.groups)

    def capture_of_worker(self, position: int) -> Capture | None:
        """Give what the worker at `position` captures SYNs by."""
        return self.captures[position] if self.captures else None

    def close_all_but(self, kept: Iterable[socket.socket]) -> None:
        """Close, in a child, what is not its own: a listener is gone only when its last copy is."""
        own = set(kept)
        for sock in self._all():
            if sock not in own:
                sock.close()

    def deafen(self) -> None:
        """Have no listener but the admin's take a new client; those who wait, or whose handshake goes on, are taken."""
        for group in self.groups:
            deafen(self._ours(group))

    def deafen_only(self, keys: Iterable[Sequence[str | int | bool]]) -> bool:
        """Do so for the groups of these keys, which nobody has any use for; tell whether there are any."""
        unused = {tuple(key) for key in keys}
        found = [group for group in self.groups if tuple(key_of(group[0])) in unused]
        for group in found:
            deafen(self._ours(group))
        return bool(found)

    def restore(self) -> None:
        """Deal new connections out, and set them up, as before: others had begun to share the sockets, and failed."""
        if self._holds is None:
            return
        for group, listen in zip(self.groups, self._holds.listens, strict=True):
            deal(group, self._holds.shard)
            try:
                change_options(group, listen, self._holds.keepalive)
            except StartError as error:
                _log.error("accepts by the options of a supervisor that has failed: %s", error)

    def close_groups(self) -> None:
        """Close the listeners, the admin one excepted, so that newcomers are refused, and what captures their SYNs."""
        for sock in self._of_workers():
            sock.close()
        self._retired.clear()  # there is nothing left to finish
        self._dropped.clear()

    def close(self) -> None:
        """Close everything."""
        self.close_all_but(())

    def _drop_rather_than_retire(self, change: Change) -> None:
        """Leave alone what is inherited and not wanted: it may serve somebody else."""
        self._dropped += [sock for group in change.gone for sock in group]
        change.gone.clear()

    def _ours(self, group: Sequence[socket.socket]) -> list[socket.socket]:
        """Give those that nobody listens on after us."""
        return [sock for sock in group if number_of(sock) not in self.lent]

    def _warn_of_lent(self, group: Sequence[socket.socket]) -> None:
        if len(self._ours(group)) < len(group):
            address = bound_address(group[0])
            _log.warning("clients of %s wait for nobody: its service manager goes on listening; stop it there", address)

    def _all(self) -> list[socket.socket]:
        return self._of_workers() + ([] if self.admin is None else [self.admin])

    def _of_workers(self) -> list[socket.socket]:
        listening = [sock for group in (*self.groups, *self._retired) for sock in group]
        return [*listening, *self._dropped, *(sock for capture in self.captures for sock in capture.sockets)]


def _known(inherited: Inherited, listens: Iterable[Listen]) -> dict[str, Known]:
    """Give how listeners were opened whose names came with their sockets: as they are configured now, if at all."""
    binds = {listen.name: listen.bind for listen in listens}
    return {name: Known(binds.get(name, Endpoint.parse(key.address)), key) for name, key in inherited.names.items()}

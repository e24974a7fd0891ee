"""Socket activation: which listener each socket is for that a service manager opened, before any of them is used.

A socket that does not fit ends the start. To go on without it would be worse than it looks: the manager keeps the
socket open, so clients there would be connected, and then wait for an answer that never comes.
"""

import os
import socket
from collections.abc import Sequence
from typing import Final

from gateway.sockets.inherited import GroupKey, Inherited, as_bound, bound_address, key_for, key_of, number_of
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from workers.settings import Listen, WorkerSettings

Passed = Sequence[tuple[str, socket.socket]]
"""Sockets and the names that the manager gave them, in the order in which they began to listen."""

_UNIT_SETTINGS: Final = (
    "dual_stack is BindIPv6Only=both, no dual_stack BindIPv6Only=ipv6-only, mode tproxy Transparent=yes, and transport "
    "mptcp SocketProtocol=mptcp"
)


def adopt(passed: Passed, settings: WorkerSettings, *, admin: Endpoint | None) -> Inherited:
    """Give what was passed, by what it is.

    Returns:
        All of it, which the caller then owns; its holder goes on listening whatever happens here.

    Raises:
        StartError: a socket is for no listener, or not such that the listener's workers can share it.
    """
    wanted = {key_for(listen, port=listen.bind.port): listen for listen in settings.listens}
    found = Inherited()
    for name, sock in passed:
        address = bound_address(sock)
        if admin is not None and address == _bound(admin):
            found.admin[address] = sock
            continue
        key = key_of(sock)
        if key not in wanted:
            raise StartError(_unwanted(name, key, settings.listens))
        _check_shared(name, sock)
        found.groups.setdefault(key, []).append(sock)
    found.lent = frozenset(number_of(sock) for _, sock in passed)
    for key, group in found.groups.items():
        _check_number(key, group, settings.workers)
    return found


def _check_shared(name: str, sock: socket.socket) -> None:
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
        raise StartError(
            f"{_who(name, bound_address(sock))}: expected SO_REUSEPORT, by which workers share connections; found a "
            "socket without it; set ReusePort=yes in its unit"
        )


def _check_number(key: GroupKey, group: Sequence[socket.socket], workers: int) -> None:
    """Refuse a group with sockets that no worker would accept from, and one that cannot be grown.

    The kernel lets only sockets of one user share an address.
    """
    owner, ours = os.fstat(group[0].fileno()).st_uid, os.geteuid()
    if len(group) > workers or (len(group) < workers and owner != ours):
        why = (
            "others would accept nobody" if len(group) > workers else f"user {ours} cannot add to those of user {owner}"
        )
        raise StartError(
            f"sockets of the service manager on {key.address}: expected {workers}, one for each worker; found "
            f"{len(group)}, and {why}; write ListenStream={key.address} {workers} times in their unit, or set "
            f"workers = {len(group)}"
        )


def _unwanted(name: str, key: GroupKey, listens: Sequence[Listen]) -> str:
    there = next((listen for listen in listens if _bound(listen.bind) == key.address), None)
    if there is not None:
        return (
            f"{_who(name, key.address)}: expected what listener {there.name!r} wants: "
            f"{_kind(key_for(there, port=there.bind.port))}; found {_kind(key)}; in its unit, {_UNIT_SETTINGS}"
        )
    known = ", ".join(str(listen.bind) for listen in listens) or "none"
    return (
        f"{_who(name, key.address)}: expected the address of a listener ({known}) or of the admin page; found none, so "
        "who connects there would wait for ever; take it out of its unit, or add a listener"
    )


def _kind(key: GroupKey) -> str:
    words = [key.transport.value, *(["dual_stack"] if key.dual_stack else []), *(["tproxy"] if key.transparent else [])]
    return " ".join(words)


def _who(name: str, address: str) -> str:
    return f"socket of the service manager on {address} ({name})"


def _bound(address: Endpoint) -> str:
    return str(Endpoint(as_bound(address.host), address.port))

"""Which open sockets serve which listener of a configuration, and which must be opened. Pure: no socket is touched."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway.sockets.inherited import GroupKey, as_bound, key_for
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from workers.settings import Listen


@dataclass(frozen=True, slots=True)
class Known:
    """How a listener was opened before.

    Attributes:
        bind: as it was configured, port 0 where the kernel chose.
        key: what its sockets are.
    """

    bind: Endpoint
    key: GroupKey


def paired(listens: Sequence[Listen], have: Collection[GroupKey], known: Mapping[str, Known]) -> list[GroupKey | None]:
    """Give for each listener the sockets that it goes on with; None where they must be opened.

    A listener whose port the kernel chose keeps that one, by its name. Where no name is known, as of sockets that a
    service manager opened, it takes the first at its host that nobody else wants.

    Args:
        listens: those that there are to be.
        have: what is open.
        known: those that there were, by name.

    Raises:
        StartError: a listener wants at its address what cannot be changed of a socket that listens there.
    """
    found = [_named(listen, have, known) for listen in listens]
    left = [key for key in have if key not in found]
    for index, listen in enumerate(listens):
        if found[index] is None and listen.bind.port == 0 and not known:
            found[index] = _take_at_host(listen, left)
    for listen, key in zip(listens, found, strict=True):
        if key is None:
            _refuse_change(listen, have)
    return found


def _named(listen: Listen, have: Collection[GroupKey], known: Mapping[str, Known]) -> GroupKey | None:
    before = known.get(listen.name)
    port = listen.bind.port
    if not port and before is not None and before.bind == listen.bind:
        port = Endpoint.parse(before.key.address).port
    key = key_for(listen, port=port)
    return key if key in have else None


def _take_at_host(listen: Listen, left: list[GroupKey]) -> GroupKey | None:
    fits = (key for key in left if key == key_for(listen, port=Endpoint.parse(key.address).port))
    key = next(fits, None)
    if key is not None:
        left.remove(key)
    return key


def _refuse_change(listen: Listen, have: Collection[GroupKey]) -> None:
    address = str(Endpoint(as_bound(listen.bind.host), listen.bind.port))
    if listen.bind.port and any(key.address == address for key in have):
        raise StartError(
            f"listener {listen.name!r} on {listen.bind}: dual_stack, transport and mode tproxy cannot change while it "
            "is open; take it out with one reload, and in again with the next"
        )

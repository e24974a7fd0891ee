"""What a reload changes, and what it may not. Pure: settings are compared, nothing is touched."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Protocol, TypeVar

from gateway.arrangement import Arrangement
from gateway.config.settings import GatewaySettings
from pools.net.fd_passing import DESCRIPTOR_LIMIT
from workers.settings import WorkerSettings

_OTHER_SOCKETS: Final = 3
"""What goes to a worker with the listening sockets: the settings, and captures of both IP versions."""

_NAMED: Final = ("listens", "peers", "workers")
_KEYS: Final = {
    "name": "gateway.name",
    "access_log": "gateway.access_log",
    "key_file": "overlay.key_file",
    "egress": "egress.allow",
    "preconnect": "egress.preconnect",
    "admin": "admin.http",
    "ready_when_filled": "admin.ready_when_filled",
}


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_T = TypeVar("_T", bound=_Named)


@dataclass(frozen=True, slots=True)
class Names:
    """What became of things that have names, in the file's order.

    Attributes:
        changed: there before and after, but not the same.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __str__(self) -> str:
        signs = (("+", self.added), ("-", self.removed), ("~", self.changed))
        return " ".join(f"{sign}{name}" for sign, names in signs for name in names)


@dataclass(frozen=True, slots=True)
class Changes:
    """What is different of two arrangements.

    Attributes:
        workers: how many, before and after.
        others: keys and tables of the file.
    """

    listeners: Names
    peers: Names
    workers: tuple[int, int]
    others: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(self._words()) or "nothing changed"

    def _words(self) -> Iterator[str]:
        if names := str(self.listeners):
            yield f"listeners {names}"
        if names := str(self.peers):
            yield f"peers {names}"
        if self.workers[0] != self.workers[1]:
            yield "workers {} -> {}".format(*self.workers)
        if self.others:
            yield f"changed {', '.join(self.others)}"


def refusal(before: GatewaySettings, after: GatewaySettings) -> str:
    """Say why a gateway cannot go on by other settings without a new supervisor; empty where it can."""
    if after.runtime_dir != before.runtime_dir:
        return _needs("gateway.runtime_dir", before.runtime_dir, after.runtime_dir, "restart the gateway for that")
    if after.log_format is not before.log_format:
        return _needs("gateway.log_format", before.log_format, after.log_format, "`gateway upgrade` can do that")
    if len(after.listens) > (most := DESCRIPTOR_LIMIT - _OTHER_SOCKETS):
        return f"expected at most {most} listeners; found {len(after.listens)}; `gateway upgrade` can do that"
    return ""


def compare(before: Arrangement, after: Arrangement) -> Changes:
    """Tell what is different."""
    old, new = before.settings, after.settings
    return Changes(
        _names(old.listens, new.listens),
        _names(old.peers, new.peers),
        (before.told.workers, after.told.workers),
        tuple(_others(old, new)),
    )


def concerns_broker(before: WorkerSettings, after: WorkerSettings) -> bool:
    """Tell whether the broker was told something that holds no longer."""
    return before.for_broker() != after.for_broker()


def replaces_broker(before: WorkerSettings, after: WorkerSettings) -> bool:
    """Tell whether all its legs are of no use any more, since they were proved otherwise than new ones are to be."""
    return (before.gateway, before.key_file) != (after.gateway, after.key_file)


def concerns_admin(before: Arrangement, after: Arrangement) -> bool:
    """Tell whether the admin child was told something that holds no longer, its address apart."""
    return _of_admin(before) != _of_admin(after)


def _of_admin(arrangement: Arrangement) -> tuple[object, ...]:
    settings, told = arrangement.settings, arrangement.told
    listens = tuple(replace(listen, users={}) for listen in told.listens)
    return settings.ready_when_filled, settings.health, told.gateway, listens, told.peers


def _names(before: Sequence[_T], after: Sequence[_T]) -> Names:
    old, new = {each.name: each for each in before}, {each.name: each for each in after}
    return Names(
        tuple(name for name in new if name not in old),
        tuple(name for name in old if name not in new),
        tuple(name for name in new if name in old and new[name] != old[name]),
    )


def _others(before: GatewaySettings, after: GatewaySettings) -> Iterator[str]:
    for each in fields(GatewaySettings):
        if each.name not in _NAMED and getattr(before, each.name) != getattr(after, each.name):
            yield _KEYS.get(each.name, each.name)


def _needs(key: str, before: object, after: object, way_out: str) -> str:
    return f"{key}: expected {before}, as it is while the gateway runs; found {after}; {way_out}"

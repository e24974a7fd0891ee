"""The gateways of one stage of the ladder: who stands where, and what the configuration file of each says. Pure.

Every stage has files of its own, in which nothing is set but what the stage is about. What is left out has the
default that every gateway has.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.lab.results import Stage
from pools.net.endpoint import Endpoint

LISTENER_PORT: Final = 8443
OVERLAY_PORT: Final = 7400
_POOL_MIN: Final = 4  # there is one session at a time
INITIAL_WINDOW: Final = 200
"""Segments: 290 kB, more than the ladder asks for."""

_PRECONNECT: Final = 4
_DRAIN_S: Final = 1
_ORDER: Final = list(Stage)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Gateways in a row between client and destination.

    Attributes:
        stage: any but END_TO_END.
        addresses: of the gateways by name, the one at the client's first.
        initial_window: of legs between gateways, in segments; from TURBO_START on.
        client_congestion: congestion control towards the client; "" leaves it to the route, as on all other legs.
    """

    stage: Stage
    addresses: Mapping[str, str]
    destination: Endpoint
    initial_window: int = INITIAL_WINDOW
    client_congestion: str = ""

    @property
    def names(self) -> Sequence[str]:
        """Of the gateways, the one at the client's first."""
        return list(self.addresses)

    @property
    def door(self) -> Endpoint:
        """Where clients come in."""
        return Endpoint(self.addresses[self.names[0]], LISTENER_PORT)

    def has(self, stage: Stage) -> bool:
        """Tell whether what `stage` brings is part of this one: each has what those before it have."""
        return _ORDER.index(stage) <= _ORDER.index(self.stage)

    def filled_pools(self, name: str) -> Sequence[str]:
        """Give the peers to which a gateway keeps legs ready."""
        return [self.names[self.names.index(name) + 1]] if self._opens_pools(name) else []

    def configuration(self, name: str, *, runtime_dir: Path, key_file: Path) -> str:
        """Give what the configuration file of a gateway says."""
        overlay = self._overlay(name, key_file) if self.has(Stage.POOL_LEGS) else ()
        return "\n".join([*_process(name, runtime_dir), *self._listener(name), *overlay, ""])

    def _listener(self, name: str) -> Iterator[str]:
        is_first = name == self.names[0]
        if self.has(Stage.POOL_LEGS) and not is_first:
            return
        via = self.names[1:] if self.has(Stage.POOL_LEGS) else []
        yield "[[listen]]"
        yield 'name = "ladder"'
        yield 'mode = "forward"'
        yield f'bind = "{self.addresses[name]}:{LISTENER_PORT}"'
        yield f'to = "{self.destination if via else self._next(name)}"'
        yield f"via = [{_quoted(via)}]"
        if is_first and self.client_congestion:
            yield f'congestion = "{self.client_congestion}"'
        if self.has(Stage.EARLY_SYN):
            yield "early_syn = true"
        if self.has(Stage.PRECONNECT) and not via:  # the only gateway dials by itself, and not for a peer
            yield f"preconnect = {_PRECONNECT}"

    def _next(self, name: str) -> Endpoint:
        """Give where a gateway that only forwards leads to."""
        if name == self.names[-1]:
            return self.destination
        return Endpoint(self.addresses[self.names[self.names.index(name) + 1]], LISTENER_PORT)

    def _opens_pools(self, name: str) -> bool:
        return self.has(Stage.POOL_LEGS) and name != self.names[-1]

    def _overlay(self, name: str, key_file: Path) -> Iterator[str]:
        yield "[overlay]"
        yield f'key_file = "{key_file}"'
        yield f'bind = "{self.addresses[name]}:{OVERLAY_PORT}"'
        place = self.names.index(name)
        for peer in self.filled_pools(name):
            yield from self._peer(peer, pool_min=_POOL_MIN)
        if self.has(Stage.TURBO_START) and place:  # the answer's window is that of the gateway which it comes from
            yield from self._peer(self.names[place - 1], pool_min=0)
        if name == self.names[-1]:
            yield from self._egress()

    def _egress(self) -> Iterator[str]:
        yield "[egress]"
        yield f'allow = ["{self.destination}"]'
        if self.has(Stage.PRECONNECT):
            yield "[[egress.preconnect]]"
            yield f'to = "{self.destination}"'
            yield f"connections = {_PRECONNECT}"

    def _peer(self, peer: str, *, pool_min: int) -> Iterator[str]:
        yield "[[peer]]"
        yield f'name = "{peer}"'
        yield f'address = "{self.addresses[peer]}:{OVERLAY_PORT}"'
        yield f"pool_min = {pool_min}"
        if self.has(Stage.TURBO_START):
            yield f"initial_window = {self.initial_window}"


def _process(name: str, runtime_dir: Path) -> Iterator[str]:
    yield "[gateway]"
    yield f'name = "{name}"'
    yield "workers = 1"
    yield f'runtime_dir = "{runtime_dir}"'
    yield "[admin]"
    yield 'http = "off"'
    yield "[timeouts]"
    yield f"drain = {_DRAIN_S}"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)

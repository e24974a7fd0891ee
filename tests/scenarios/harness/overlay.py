"""Gateways that know each other, each a process of its own with its own files, addresses and key file.

A chain is told who stands in it and who knows whom; what clients and destinations do is the story's.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.commands.running import read_status
from tests.bench.processes import free_ports
from tests.scenarios.harness.configuration import Table, Value, at, to_toml
from tests.scenarios.harness.gateways import Gateway, command

_DRAIN_S: Final = 2
_POOL: Final[Table] = {"pool_min": 4, "magazine": 4}  # small, as what is filled at the start delays the story


@dataclass(frozen=True, slots=True)
class Station:
    """One gateway of a chain.

    Attributes:
        knows: the peers that it has legs to.
        listens: where its clients come in.
        pool: keys of each of its [[peer]] tables, on top of the usual ones.
        tables: by name; what they say goes before the usual.
    """

    knows: Sequence[str] = ()
    listens: Sequence[Table] = ()
    pool: Mapping[str, Value] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Chain:
    """Gateways by name, each of which may be started anew; all begin with the same key, in files of their own.

    Args:
        directory: an empty one.
        stations: in any order.
    """

    def __init__(self, directory: Path, stations: Mapping[str, Station]) -> None:
        ports = free_ports(2 * len(stations))
        self._directory = directory
        self._stations = stations
        self._overlay_ports = dict(zip(stations, ports, strict=False))
        self._admin_ports = dict(zip(stations, ports[len(stations) :], strict=True))
        self._gateways: dict[str, Gateway] = {}
        self._make_keys()
        for name in stations:
            self.start(name)

    def __getitem__(self, name: str) -> Gateway:
        """Give the gateway that runs, or ran last, as `name`."""
        return self._gateways[name]

    def overlay_port(self, name: str) -> int:
        """Give the port where other gateways come in."""
        return self._overlay_ports[name]

    def key_file(self, name: str) -> Path:
        """Give the path of its own copy of the overlay's key."""
        return self._directory / f"{name}.key"

    def start(self, name: str) -> Gateway:
        """Begin to run a gateway, which must not run; see `wait_ready`."""
        gateway = self._gateways[name] = Gateway(["--config", str(self._configured(name))], self._directory / name)
        return gateway

    def wait_ready(self) -> "Chain":
        """Return once every gateway says that it is ready, and every pool has been filled where its peer runs."""
        for name, gateway in self._gateways.items():
            if gateway.is_running:
                gateway.wait_ready()
                self.wait_filled(name)
        return self

    def wait_filled(self, name: str) -> None:
        """Return once a gateway has had all the idle legs that it keeps at least, to every peer that runs."""
        for peer in self._stations[name].knows:
            if self._gateways[peer].is_running:
                self._gateways[name].line(rf"broker info: gateway {peer}: \d+ legs are ready")

    def link(self, name: str, peer: str) -> dict[str, Any]:
        """Give what `gateway links --json` prints at `name` about `peer`, without the command, which takes longer."""
        links = read_status(self[name].runtime_dir).links
        found = links[list(self._stations[name].knows).index(peer)]
        return asdict(found) | {"state": found.state.value, "idle": found.idle, "legs": found.idle + found.lent}

    def wait_link(
        self, name: str, peer: str, fact: Callable[[dict[str, Any]], bool], *, expected: str
    ) -> dict[str, Any]:
        """Return what a link is like once `fact` holds for it."""
        found: list[dict[str, Any]] = []

        def holds() -> bool:
            found.append(self.link(name, peer))
            return fact(found[-1])

        try:
            self[name].wait_until(holds, expected=f"of its link to {peer}, {expected}")
        except AssertionError as error:
            raise AssertionError(f"{error}\nlink: {found[-1:]}") from None
        return found[-1]

    def end(self) -> None:
        """End all that run, at the same time, and hold each to leaving nothing."""
        running = [gateway for gateway in self._gateways.values() if gateway.is_running]
        with ThreadPoolExecutor(max(1, len(running))) as threads:
            for done in [threads.submit(gateway.end) for gateway in running]:
                done.result()

    def abandon(self) -> None:
        """End by force whatever still runs."""
        for gateway in self._gateways.values():
            gateway.abandon()

    def _make_keys(self) -> None:
        first, *others = self._stations
        made = command("keygen", str(self.key_file(first)))
        assert made.returncode == 0, made.stderr
        for name in others:
            shutil.copy(self.key_file(first), self.key_file(name))  # with its mode

    def _configured(self, name: str) -> Path:
        station = self._stations[name]
        usual: dict[str, Mapping[str, Any]] = {
            "gateway": {"name": name, "workers": 1, "runtime_dir": str(self._directory / name)},
            "overlay": {"bind": at(self._overlay_ports[name]), "key_file": str(self.key_file(name))},
            "egress": {"allow": ["127.0.0.1:*"]},
            "timeouts": {"drain": _DRAIN_S},
            "admin": {"http": at(self._admin_ports[name])},
        }
        told = {
            table: {**usual.get(table, {}), **station.tables.get(table, {})} for table in {**usual, **station.tables}
        }
        peers = [
            to_toml([], {"[peer]": {**_POOL, **station.pool, **self._whereabouts(peer)}}) for peer in station.knows
        ]
        file = self._directory / f"{name}.toml"
        file.write_text("\n".join([to_toml(station.listens, told), *peers]))
        return file

    def _whereabouts(self, peer: str) -> Table:
        return {"name": peer, "address": at(self._overlay_ports[peer])}


@contextmanager
def running_chain(directory: Path, **stations: Station) -> Iterator[Chain]:
    """Run these gateways for as long as the block lasts; those that still run then must end well."""
    chain = Chain(directory, stations)
    try:
        yield chain.wait_ready()
        chain.end()
    finally:
        chain.abandon()

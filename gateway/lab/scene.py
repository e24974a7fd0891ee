"""The lab's world: a client, a server, and between them for each stage a chain of gateways with sites of its own.

All stages stand at the same time, so that they can be measured in turns: what disturbs the machine for a while then
disturbs all of them. Where no other stage goes, nobody's windows and routes are any other stage's.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import reduce
from ipaddress import IPv4Interface
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from gateway import overlay_key
from gateway.lab.client import Fetch, fetch
from gateway.lab.delay_line import LineTerms
from gateway.lab.deployment import INITIAL_WINDOW, Deployment
from gateway.lab.programs import Programs
from gateway.lab.results import Stage
from gateway.lab.site import DEVICE
from gateway.lab.wan import Wan
from gateway.lab.wan_process import NETWORK
from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError

CLIENT: Final = "client"
SERVER: Final = "server"
CONGESTION: Final = "cubic"
ORIGIN_PORT: Final = 8080
_GATEWAY: Final = (sys.executable, "-m", "gateway.cli")
_READY_S: Final = 60.0
# A connection must not begin with what the kernel remembers of those that went the same way before.
_SYSCTLS: Final[dict[str, str]] = {"ipv4.tcp_no_metrics_save": "1"}

Progress = Callable[[str], None]
"""Is told what goes on, in a few words at a time."""


class Scene:
    """A world that stands. A context manager; or end it with `close`.

    Args:
        lines: of the path, the client's first; two at least, and a gateway between any two.
        stages: to be measured; END_TO_END needs no gateways.
        progress: is told what is set up.
        initial_window: of legs between gateways at TURBO_START, in segments.
        client_congestion: congestion control from the first gateway to the client; "" for the same as everywhere.
        sysctls: settings below net that hold at every site, besides the scene's own.

    Raises:
        StartError: a right is missing, or something of the system; or a gateway did not start, and why.
    """

    def __init__(
        self,
        lines: Sequence[LineTerms],
        stages: Iterable[Stage],
        *,
        progress: Progress,
        initial_window: int = INITIAL_WINDOW,
        client_congestion: str = "",
        sysctls: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._lines = lines
        self._sysctls = {**_SYSCTLS, **sysctls}
        self._initial_window = initial_window
        self._client_congestion = client_congestion
        self._chains = {stage: _sites(stage, len(lines) - 1) for stage in stages if stage is not Stage.END_TO_END}
        with ExitStack() as undo:
            self.wan: Final = undo.enter_context(self._built())
            self._programs = undo.enter_context(Programs())
            self._deployments = {stage: self._deployment(stage, names) for stage, names in self._chains.items()}
            self._start(progress)
            self._undo = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End all programs and take the world down."""
        self._undo.close()

    @property
    def directory(self) -> Path:
        """Where the programs' files are: `NAME.toml`, and `NAME.log` with all that a program has said."""
        return self._programs.directory

    def fetch(self, stage: Stage, size_bytes: int) -> Fetch:
        """Fetch `size_bytes` bytes from the server as its client does, by the way of `stage`.

        Raises:
            FetchError: they did not come, or others did.
        """
        door = self._origin if stage is Stage.END_TO_END else self._deployments[stage].door
        return fetch(door, size_bytes, self.wan.namespace(CLIENT))

    def lose(self, share: float, *, seed: int | None = None) -> None:
        """Let the client's lines lose this share of packets, both ways, from now on; with a seed all lose the same."""
        for site, terms in self._last_miles().items():
            for ends in ((CLIENT, site), (site, CLIENT)):
                self.wan.change(*ends, replace(terms, loss=share), seed=seed)

    @property
    def _origin(self) -> Endpoint:
        return Endpoint(self.wan.address(SERVER), ORIGIN_PORT)

    def _built(self) -> Wan:
        between = {ends: terms for names in self._chains.values() for ends, terms in self._between(names)}
        sites = [CLIENT, SERVER, *(name for names in self._chains.values() for name in names)]
        ends = {(CLIENT, site): terms for site, terms in self._last_miles().items()}
        return Wan(sites, ends | between, sysctls=self._sysctls)

    def _last_miles(self) -> dict[str, LineTerms]:
        """Give the client's lines by where they lead: to the server, and to the first gateway of each stage."""
        firsts = {names[0]: self._lines[0] for names in self._chains.values()}
        return {SERVER: reduce(_in_a_row, self._lines), **firsts}

    def _between(self, names: Sequence[str]) -> Iterable[tuple[tuple[str, str], LineTerms]]:
        return zip(zip(names, [*names[1:], SERVER], strict=True), self._lines[1:], strict=True)

    def _deployment(self, stage: Stage, names: Sequence[str]) -> Deployment:
        addresses = {name: self.wan.address(name) for name in names}
        return Deployment(stage, addresses, self._origin, self._initial_window, self._client_congestion)

    def _start(self, progress: Progress) -> None:
        # A route's choice would overrule a listener's for what it accepts.
        own = {names[0] for names in self._chains.values()} if self._client_congestion else set()
        for site in (CLIENT, SERVER, *(name for names in self._chains.values() for name in names if name not in own)):
            _choose_congestion(self.wan, site)
        origin = [sys.executable, "-m", "gateway.lab.origin", self._origin.host, str(self._origin.port)]
        self._programs.start("origin", origin, self.wan.namespace(SERVER))
        key_file = self.directory / "overlay.key"
        overlay_key.create(key_file)
        for deployment in self._deployments.values():
            for name in reversed(deployment.names):  # so that who dials finds somebody there
                self._start_gateway(name, deployment, key_file)
        progress(f"{sum(map(len, self._chains.values()))} gateways are starting")
        self._wait_ready()

    def _start_gateway(self, name: str, deployment: Deployment, key_file: Path) -> None:
        runtime_dir = self.directory / name
        text = deployment.configuration(name, runtime_dir=runtime_dir, key_file=key_file)
        file = self._programs.write(f"{name}.toml", text)
        self._programs.start(name, [*_GATEWAY, "start", "--config", str(file)], self.wan.namespace(name))

    def _wait_ready(self) -> None:
        """Return once the origin listens, and every gateway has all the legs that it keeps ready."""
        until_s = monotonic_s() + _READY_S
        self._programs.wait_said("origin", "^listening", until_s=until_s)
        for deployment in self._deployments.values():
            for name in deployment.names:
                self._programs.wait_said(name, "supervisor info: ready: ", until_s=until_s)
                for peer in deployment.filled_pools(name):
                    self._programs.wait_said(name, rf"gateway {peer}: \d+ legs are ready", until_s=until_s)


def _sites(stage: Stage, count: int) -> Sequence[str]:
    return [f"{stage.name.lower()}-{number}" for number in range(1, count + 1)]


def _in_a_row(one: LineTerms, other: LineTerms) -> LineTerms:
    """Give one line that does what two do, one after the other; the slower one's queue is where packets wait."""
    slower = min((one, other), key=lambda line: line.rate_bits_s or float("inf"))
    loss = 1 - (1 - one.loss) * (1 - other.loss)
    return replace(slower, delay_s=one.delay_s + other.delay_s, loss=loss)


def _choose_congestion(wan: Wan, site: str) -> None:
    """Have all connections of a site begin with CUBIC.

    By its route, because a namespace of its own may only choose what the host's tcp_allowed_congestion_control lists
    (ip-route(8), congctl).
    """
    own = IPv4Interface(f"{wan.address(site)}/{NETWORK.prefixlen}")
    route = f"route change {own.network} dev {DEVICE} proto kernel scope link src {own.ip} congctl {CONGESTION}"
    done = subprocess.run(wan.inside(site, ["ip", *route.split()]), capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartError(f"the lab's hosts use {CONGESTION}, which this kernel must have; found: {done.stderr.strip()}")

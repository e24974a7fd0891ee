"""The picture of the admin page in the documentation: `python -m tests.page_picture docs/page.png`, as root.

Five gateways stand at sites of an emulated WAN, the first with the page and with clients beside it, each of the others
beside an origin. After some minutes of traffic one of them is cut off, and soon after that a browser takes the picture.
"""

import argparse
import http.client
import random
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway import overlay_key
from gateway.lab.delay_line import LineTerms
from gateway.lab.network_namespace import entered
from gateway.lab.programs import Programs
from gateway.lab.wan import Wan
from pools.net.clock import monotonic_s
from tests.scenarios.harness.browser import browsing
from tests.scenarios.harness.configuration import Table, to_toml
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.programs import LIMIT_S

HOME: Final = "oregon"
RTT_MS: Final = {"virginia": 62, "tokyo": 98, "frankfurt": 148, "mumbai": 214}
CUT_OFF: Final = "tokyo"
RATE_BITS_S: Final = 100_000_000
DOORS: Final = {"orders": ("mumbai", 8443), "media": ("frankfurt", 8444), "search": ("virginia", 8445)}
ORIGIN_PORT, NOBODYS_PORT, OVERLAY_PORT, ADMIN_PORT = 8080, 8081, 7400, 9900
CLIENTS: Final = 24
HELD: Final = 40  # sessions through each door that say nothing
ONE_IN: Final = 60  # fetches that nobody answers
SIZE: Final = (1280, 900)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where all of it stands."""

    wan: Wan
    directory: Path
    key_file: Path

    def gateway(
        self, name: str, listens: Sequence[Table], peers: Sequence[str], tables: Mapping[str, Table]
    ) -> Gateway:
        """Start a gateway at the site of its name."""
        usual: dict[str, Table] = {
            "gateway": {"name": name, "workers": 2, "runtime_dir": str(self.directory / name)},
            "overlay": {"bind": f"{self.wan.address(name)}:{OVERLAY_PORT}", "key_file": str(self.key_file)},
            "timeouts": {"drain": 1},
            "limits": {"sessions": 5000},
        }
        known = [to_toml([], {"[peer]": self._peer(peer)}) for peer in peers]
        file = self.directory / f"{name}.toml"
        file.write_text("\n".join([to_toml(listens, {**usual, **tables}), *known]))
        with entered(self.wan.namespace(name)):
            return Gateway(["--config", str(file)], self.directory / name)

    def _peer(self, name: str) -> Table:
        return {"name": name, "address": f"{self.wan.address(name)}:{OVERLAY_PORT}", "pool_min": 8, "pool_max": 256}


@contextmanager
def gateways(stage: Stage) -> Iterator[Gateway]:
    """Run all of them; gives the one that the page is of."""
    egress: Table = {"allow": [f"127.0.0.1:{ORIGIN_PORT}", f"127.0.0.1:{NOBODYS_PORT}"]}
    with ExitStack() as endings:
        for name in RTT_MS:
            far = stage.gateway(name, [], [], {"egress": egress, "admin": {"http": "off"}})
            endings.callback(far.abandon)
            far.wait_ready()
        home = stage.gateway(HOME, list(listeners()), list(RTT_MS), {"admin": {"http": f"127.0.0.1:{ADMIN_PORT}"}})
        endings.callback(home.abandon)
        yield home.wait_ready()


def listeners() -> Iterator[Table]:
    """Give the ways in: one to each origin, one to nobody, and a proxy."""
    for name, (far, port) in {**DOORS, "legacy": ("virginia", 8446)}.items():
        to = NOBODYS_PORT if name == "legacy" else ORIGIN_PORT
        yield {"name": name, "bind": f"127.0.0.1:{port}", "mode": "forward", "to": f"127.0.0.1:{to}", "via": [far]}
    yield {"name": "proxy", "bind": "127.0.0.1:1080", "mode": "mixed"}


class Clients:
    """Clients beside the first gateway, who fetch now and then for as long as they are wanted."""

    def __init__(self, namespace: Path) -> None:
        self._namespace = namespace
        self._enough = threading.Event()
        self._held = [self._connected(port) for _, port in DOORS.values() for _ in range(HELD)]
        self._threads = [threading.Thread(target=self._live, args=(seed,)) for seed in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Have all of them leave."""
        self._enough.set()
        for thread in self._threads:
            thread.join(LIMIT_S)
        for sock in self._held:
            sock.close()

    def wait(self, seconds: float) -> None:
        """Let them go on for so long."""
        self._enough.wait(seconds)

    def _live(self, seed: int) -> None:
        chance = random.Random(seed)
        ports = [port for _, port in DOORS.values()]
        while not self._enough.wait(chance.expovariate(2 + 1.5 * (int(monotonic_s()) // 45 % 3))):
            port = 8446 if chance.randrange(ONE_IN) == 0 else chance.choice(ports)
            with suppress(OSError, http.client.HTTPException):
                self._fetch(port, size=int(min(2e6, chance.lognormvariate(11, 1.2))))

    def _fetch(self, port: int, *, size: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.sock = self._connected(port)
        try:
            connection.request("GET", f"/{size}")
            connection.getresponse().read()
        finally:
            connection.close()

    def _connected(self, port: int) -> socket.socket:
        with entered(self._namespace):
            sock = socket.socket()
        sock.settimeout(LIMIT_S)
        sock.connect(("127.0.0.1", port))
        return sock


def picture(*, minutes: float) -> bytes:
    """Give the picture, after so many minutes of traffic."""
    lines = {(HOME, name): LineTerms(delay_s=rtt_ms / 2000, rate_bits_s=RATE_BITS_S) for name, rtt_ms in RTT_MS.items()}
    with tempfile.TemporaryDirectory() as place, Wan((HOME, *RTT_MS), lines) as wan, Programs() as programs:
        directory = Path(place)
        stage = Stage(wan, directory, directory / "overlay.key")
        overlay_key.create(stage.key_file)
        for name in RTT_MS:
            origin = [sys.executable, "-m", "gateway.lab.origin", "127.0.0.1", str(ORIGIN_PORT)]
            programs.start(f"origin-{name}", origin, wan.namespace(name))
            programs.wait_said(f"origin-{name}", "^listening", until_s=monotonic_s() + LIMIT_S)
        with gateways(stage) as home:
            for name in RTT_MS:
                home.line(f"gateway {name}: \\d+ legs are ready")
            return _taken(stage, minutes=minutes)


def _taken(stage: Stage, *, minutes: float) -> bytes:
    clients = Clients(stage.wan.namespace(HOME))
    try:
        clients.wait(60 * minutes)
        stage.wan.cut(HOME, CUT_OFF)
        clients.wait(25)
        with entered(stage.wan.namespace(HOME)), browsing(stage.directory) as browser:
            browser.view(*SIZE)
            browser.open(f"http://127.0.0.1:{ADMIN_PORT}/")
            browser.wait_for("document.querySelectorAll('#pools tbody tr').length > 0")
            clients.wait(3)  # so that shares of processors are those of now
            return browser.screenshot()
    finally:
        clients.close()


def main() -> None:
    """Write the picture to the file that is named."""
    arguments = argparse.ArgumentParser(description="Take the picture of the admin page for the documentation.")
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--minutes", type=float, default=9.0, help="of traffic before it is taken")
    told = arguments.parse_args()
    told.file.write_bytes(picture(minutes=told.minutes))


if __name__ == "__main__":
    main()

"""HAProxy steers clients by a gateway's readiness, with the file that deploy/ has; and what Prometheus finds there."""

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from gateway import overlay_key
from tests.bench.processes import free_ports
from tests.scenarios.harness.configuration import Table, at, forward, to_toml
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.programs import LIMIT_S, ROOT, Terms, require, running

_EXAMPLE: Final = ROOT / "deploy/load-balancers/haproxy.cfg"
_MONITORING: Final = ROOT / "deploy/monitoring"
_STATS: Final = "global\n    stats socket {path} mode 600\n"
_PEER: Final = '[[peer]]\nname = "mumbai"\naddress = "127.0.0.1:{port}"\npool_min = 1\n'


class Watched:
    """A gateway that runs anew as often as a test wants, behind an HAProxy that stays."""

    def __init__(self, directory: Path, origin_port: int) -> None:
        self.directory = directory
        self.admin_port, self.balancer_port, nobody = free_ports(3)
        listen = forward(origin_port, accept_proxy=True)
        self.port = int(str(listen["bind"]).rpartition(":")[2])
        tables: dict[str, Table] = {
            "gateway": {"name": "oregon", "workers": 1, "runtime_dir": str(directory / "run")},
            "overlay": {"key_file": str(directory / "overlay.key")},
            "admin": {"http": at(self.admin_port)},
            "health": {"memory_limit": 1},
        }
        overlay_key.create(directory / "overlay.key")
        self.file = directory / "gateway.toml"
        self.file.write_text(to_toml([listen], tables) + _PEER.format(port=nobody))
        self.stats = directory / "haproxy.sock"

    @contextmanager
    def gateway(self) -> Iterator[Gateway]:
        """Run the gateway for as long as the block lasts, unless it has ended by itself."""
        gateway = Gateway(["--config", str(self.file)], self.directory / "run")
        try:
            yield gateway.wait_ready()
            if gateway.is_running:
                gateway.end()
        finally:
            gateway.abandon()

    @contextmanager
    def haproxy(self) -> Iterator[None]:
        """Run HAProxy by the example, with this machine's addresses and less patience."""
        text = _STATS.format(path=self.stats) + _EXAMPLE.read_text()
        for old, new in {
            "bind :443": f"bind {at(self.balancer_port)}",
            "check port 9900 inter 2s": f"check port {self.admin_port} inter 100ms",
            "10.1.0.5:8443": at(self.port),
            "server oregon-2 10.1.0.6:8443": "",
        }.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        config = self.directory / "haproxy.cfg"
        config.write_text(text)
        argv = [require("haproxy"), "-db", "-f", str(config)]
        with running(argv, self.directory / "haproxy.log", terms=Terms(ports=[self.balancer_port])):
            yield

    def says(self, gateway: Gateway, state: str) -> None:
        """Wait until HAProxy says that of the gateway, while that runs."""
        gateway.wait_until(lambda: state in self._state(), expected=f"HAProxy finds it {state}")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.balancer_port), timeout=LIMIT_S)

    def _state(self) -> str:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(LIMIT_S)
            control.connect(str(self.stats))
            control.sendall(b"show stat\n")
            said = b"".join(iter(lambda: control.recv(65_536), b"")).decode()
        header, *rows = (line.split(",") for line in said.splitlines() if line)
        (row,) = (row for row in rows if row[1] == "oregon-1")
        return dict(zip(header, row, strict=False))["status"]


@pytest.fixture
def origin() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(LIMIT_S)
        yield listening


def test_a_gateway_that_drains_gets_nobody_new_keeps_whom_it_has_and_is_back_when_it_is(
    tmp_path: Path, origin: socket.socket
) -> None:
    watched = Watched(tmp_path, origin.getsockname()[1])
    with watched.haproxy():
        with watched.gateway() as gateway:
            watched.says(gateway, "UP")
            _names_only_what_there_is(gateway)
            _is_judged_by_its_own_thresholds(gateway)
            with watched.connect() as client, origin.accept()[0] as far:
                gateway.process.send_signal(signal.SIGTERM)
                watched.says(gateway, "DOWN")
                with watched.connect() as newcomer:
                    assert newcomer.recv(100) == b""  # no gateway is left: HAProxy ends it
                client.sendall(b"still there?")
                assert far.recv(100) == b"still there?"
            assert gateway.process.wait(LIMIT_S) == 0
        with watched.gateway() as gateway:
            watched.says(gateway, "UP")
            with watched.connect(), origin.accept()[0]:
                pass


def _names_only_what_there_is(gateway: Gateway) -> None:
    """Hold alerts and dashboard to metrics that the gateway exports, with the peers' among them."""
    exported = set(re.findall(r"^# TYPE (\w+) ", gateway.get("/metrics")[1], re.MULTILINE))
    used = {
        name
        for file in ("midmile.rules.yml", "midmile.rules.test.yml", "midmile-dashboard.json")
        for name in re.findall(r"\bmidmile_\w+", (_MONITORING / file).read_text())
    }
    assert len(used) > 30
    assert used - exported == set()


def _is_judged_by_its_own_thresholds(gateway: Gateway) -> None:
    """Find it degraded for its memory, in both places, and no balancer would mind."""
    status, body = gateway.get("/healthz")
    assert (status, json.loads(body)["level"]) == (200, "degraded")
    assert ("memory_near_limit", "gateway") in {(each["code"], each["object"]) for each in json.loads(body)["reasons"]}
    assert gateway.metrics()['midmile_health_reason{code="memory_near_limit",object="gateway"}'] == 1

"""Routes that let legs begin with a large window, over reloads and upgrades: each is there once, and none stays behind.

Two gateways in network namespaces of their own. The near one has two peers with an initial_window: the other gateway,
and one by IPv6 where nobody is, for a route needs nobody at its end. What happens to routes is heard as it happens.
"""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from gateway import control_client, overlay_key
from gateway.upgrading.heir import HANDOVER_VARIABLE
from gateway.windows.route_watch import OUR_PROTOCOL
from tests.scenarios.harness.configuration import Table, at, forward, to_toml
from tests.scenarios.harness.gateways import Gateway, running_gateway
from tests.scenarios.harness.log_lines import LogLines
from tests.scenarios.harness.places import Place, join, places
from tests.scenarios.harness.programs import LIMIT_S
from tests.scenarios.peers_under_test import Destination, connect, hear_exactly

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and routes")

PEERS: Final = {"far": "10.88.0.2", "nobody": "fd88::2"}
PORT: Final = 7400
LEGS: Final = 4
FENCE: Final = "192.0.2.1"
"""A route there, as if it were one of ours, tells how far changes have been heard."""


class RouteChanges:
    """What is heard of routes of ours, from now on."""

    def __init__(self, near: Place) -> None:
        self._near = near
        self._process = subprocess.Popen([*near.under, "ip", "-o", "monitor", "route"], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._lines = LogLines(self._process.stdout)
        self._fences = self._heard = 0
        while not self._lines.text():  # as long as it is not listening yet
            self._fence()
            with suppress(AssertionError):
                self._lines.wait_for(FENCE, limit_s=0.1)

    def take(self) -> list[str]:
        """Give what has happened since the last look: lines of ip-monitor(8), as in "Deleted ADDRESS ..."."""
        self._fence()
        self._lines.wait_for(rf"{FENCE} .* metric {self._fences}\b", limit_s=LIMIT_S)
        lines = self._lines.text().splitlines()
        news, self._heard = lines[self._heard :], len(lines)
        return [line for line in news if f"proto {OUR_PROTOCOL}" in line and FENCE not in line]

    def _fence(self) -> None:
        self._fences += 1
        self._near.run(f"ip route add {FENCE} dev lo proto {OUR_PROTOCOL} metric {self._fences}")

    def close(self) -> None:
        self._process.kill()
        self._process.wait(LIMIT_S)
        self._lines.close(LIMIT_S)
        for number in range(1, self._fences + 1):
            self._near.run(f"ip route del {FENCE} dev lo metric {number}")


@dataclass(slots=True)
class World:
    """The near gateway's place, and what there is to know of its routes."""

    near: Place
    gateway: Gateway
    destination: Destination
    changes: RouteChanges
    text: str

    def windows(self) -> list[tuple[str, int]]:
        """Give the routes to peers that are ours: where each leads, and its window."""
        told = self.near.run(*(f"ip {family} route show proto {OUR_PROTOCOL}" for family in ("-4", "-6")))
        found = [re.search(r"^(\S+) .*\binitcwnd (\d+)", line) for line in told.splitlines() if FENCE not in line]
        return sorted((each[1], int(each[2])) for each in found if each)

    def legs(self) -> list[int]:
        """Give the congestion windows of the legs to the far gateway, in segments."""
        told = self.near.run(f"ss -tinHO state established dport = :{PORT}")
        return [int(found) for found in re.findall(r"\bcwnd:(\d+)", told)]

    def reload(self, *, workers: int = 1, listen: str = "", **windows: int) -> None:
        """Have the file want other windows, or other peers, and the gateway take it."""
        text = self.text.replace("workers = 1", f"workers = {workers}") + peers(**windows)
        text += to_toml([{"name": "another", "bind": listen, "mode": "mixed"}] if listen else [], {})
        self.gateway.runtime_dir.with_name("gateway.toml").write_text(text)
        found = control_client.reload(self.gateway.runtime_dir)
        assert found.ok, found

    def expect_legs(self, window: int) -> None:
        """Hold every leg to having begun with a window, once those from before it have gone."""

        def have() -> bool:
            found = self.legs()
            return len(found) >= LEGS and min(found) >= window

        self.gateway.wait_until(have, expected=f"all legs begin with {window} segments; found {self.legs()}")

    def upgrade(self) -> None:
        done = self.gateway.upgrade()
        assert done.returncode == 0, f"{done.stderr}\n{self.gateway.log.text()}"
        self.gateway.status()  # which is told once it has settled in

    @contextmanager
    def session(self, *, outlives: bool = False) -> Iterator[None]:
        """Hold one, which is alive when it begins and when it ends; or ends with its gateway, which it `outlives`."""
        port = self.gateway.port("forward")
        with self.near.entered():
            client = connect(port)
        with client, self.destination.accept() as far:
            talk(client, far)
            yield
            if not outlives:
                talk(client, far)


def talk(client: socket.socket, far: socket.socket) -> None:
    for one, other in ((client, far), (far, client)):
        one.sendall(b"?")
        assert hear_exactly(other, 1) == b"?"


def peers(**windows: int) -> str:
    """Give the tables of these peers, with their windows; 0 for one without."""
    usual: Table = {"pool_min": LEGS, "magazine": 4}
    wanted = {name: {"initial_window": window} if window else {} for name, window in windows.items()}
    tables: list[Table] = [
        {"name": name, "address": at(PORT, PEERS[name]), **usual, **keys} for name, keys in wanted.items()
    ]
    return "\n".join(to_toml([], {"[peer]": table}) for table in tables)


@dataclass(frozen=True, slots=True)
class Line:
    """Two places with a line between them; at the far one a gateway runs, and there is a destination beside it."""

    near: Place
    destination: Destination
    key_file: Path


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("far")
    key_file = folder / "overlay.key"
    overlay_key.create(key_file)
    overlay = {"bind": at(PORT, PEERS["far"]), "key_file": str(key_file)}
    tables: dict[str, Any] = {
        "gateway": {"name": "far", "workers": 1},
        "overlay": overlay,
        "egress": {"allow": ["127.0.0.1:*"]},
    }
    with places(2) as (near, far), ExitStack() as ends:
        connected(near, far)
        with far.entered():
            destination = ends.enter_context(Destination())
        ends.enter_context(running_gateway(folder / "gateway", under=far.under, **tables))
        yield Line(near, destination, key_file)


@pytest.fixture
def world(line: Line, tmp_path: Path) -> Iterator[World]:
    """Give a gateway whose legs to `far` begin with 100 segments, and to `nobody` with 50; it may end in the test."""
    before, text = routes(line.near), near_text(line, tmp_path)
    gateway = start(line.near, tmp_path, text + peers(far=100, nobody=50))
    world: World | None = None
    try:
        gateway.wait_ready().line(rf"gateway far: {LEGS} legs are ready")
        with closing(RouteChanges(line.near)) as changes:
            world = World(line.near, gateway, line.destination, changes, text)
            assert world.windows() == [(PEERS["far"], 100), (PEERS["nobody"], 50)]
            yield world
            if world.gateway.is_running:
                world.gateway.end()
        assert routes(line.near) == before
    finally:
        (gateway if world is None else world.gateway).abandon()


def connected(near: Place, far: Place) -> None:
    join(near, far, here="line", there="line")
    near.run("sysctl -qw net.ipv4.tcp_slow_start_after_idle=0")
    for place, host in ((near, 1), (far, 2)):
        place.run(f"ip address add 10.88.0.{host}/24 dev line", f"ip address add fd88::{host}/64 dev line nodad")


def near_text(line: Line, directory: Path) -> str:
    tables: dict[str, Table] = {
        "gateway": {"name": "near", "workers": 1, "runtime_dir": str(directory / "near" / "run")},
        "timeouts": {"drain": 1},
        "admin": {"http": "off"},
        "overlay": {"key_file": str(line.key_file)},
    }
    return to_toml([forward(str(line.destination), via=["far"])], tables) + "\n"


def start(near: Place, directory: Path, text: str) -> Gateway:
    file = directory / "near" / "gateway.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return Gateway(["--config", str(file)], file.parent / "run", under=near.under)


def routes(near: Place) -> str:
    """Give all routes, whoever made them."""
    return near.run("ip -4 route show", "ip -6 route show")


def test_an_upgrade_leaves_routes_alone_and_they_end_with_the_last_gateway(world: World) -> None:
    as_they_were = world.windows()
    with world.session():
        world.upgrade()
        assert len(world.gateway.retired) == 1
        assert world.gateway.retired[0].poll() is None  # it has a session
        assert (world.windows(), world.changes.take()) == (as_they_were, [])
    assert world.gateway.retired[0].wait(LIMIT_S) == 0
    assert (world.windows(), world.changes.take()) == (as_they_were, [])
    world.expect_legs(100)
    with world.session(outlives=True):
        world.upgrade()
        world.gateway.end()


def test_a_reload_changes_the_routes_that_it_speaks_of_and_no_other(world: World) -> None:
    far, nobody = PEERS.values()
    world.reload(far=200, nobody=50)
    assert world.windows() == [(far, 200), (nobody, 50)]
    deleted, added = world.changes.take()
    assert (deleted.split()[:2], "initcwnd 200" in added) == (["Deleted", far], True)
    world.expect_legs(200)
    world.reload(far=200)
    assert world.windows() == [(far, 200)]
    (deleted,) = world.changes.take()
    assert deleted.split()[:2] == ["Deleted", nobody]
    world.reload(far=0, nobody=50)
    assert world.windows() == [(nobody, 50)]


def test_routes_are_there_before_legs_begin_by_a_new_configuration_and_as_before_where_it_cannot_be(
    world: World,
) -> None:
    as_they_were = world.windows()
    with world.near.entered():
        taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(AssertionError, match="EADDRINUSE"):
        world.reload(listen=at(taken.getsockname()[1]), far=300, nobody=50)
    assert world.windows() == as_they_were
    with world.session():
        world.reload(workers=2, far=150)  # the new worker is a while on its way, the legs are not
    assert world.windows() == [(PEERS["far"], 150)]
    world.expect_legs(150)


def test_a_new_supervisor_that_is_killed_before_its_time_touches_no_route(world: World) -> None:
    as_they_were, old = world.windows(), world.gateway.process
    old.send_signal(signal.SIGUSR2)
    world.gateway.wait_until(partial(kill_heir, old.pid), expected="there is a new supervisor")
    world.gateway.line("not upgraded, this supervisor goes on")
    assert (world.windows(), world.changes.take()) == (as_they_were, [])
    with world.session():
        pass


def kill_heir(old: int) -> bool:
    """Kill whoever was begun to succeed a supervisor; tell whether there was somebody."""
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get(HANDOVER_VARIABLE, "").endswith(f":{old}"):
                process.kill()
                return True
    return False


def test_routes_of_a_supervisor_that_was_killed_in_office_end_with_the_next_gateway(world: World) -> None:
    with world.session():
        world.upgrade()
        (retired,) = world.gateway.retired
        world.gateway.process.send_signal(signal.SIGKILL)
        world.gateway.process.wait(LIMIT_S)
        assert retired.poll() is None
    assert retired.wait(LIMIT_S) == 0
    world.gateway.abandon()
    assert len(world.windows()) == 2  # nobody was there to take them away
    directory = world.gateway.runtime_dir.parents[1]
    world.gateway = start(world.near, directory, world.text + peers(far=70))
    world.gateway.wait_ready()
    assert world.windows() == [(PEERS["far"], 70)]

"""Two gateways with two links between them: a leg uses both, outlives one, and is plain TCP where there is no MPTCP."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from gateway.commands.running import read_status
from gateway.lab import network_namespace
from pools.net.transport import mptcp_lack
from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import Gateway, command
from tests.scenarios.peers_under_test import Destination, connect, hear_exactly, pattern

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
    pytest.mark.skipif(bool(mptcp_lack()), reason=f"this kernel has no MPTCP: {mptcp_lack()}"),
]

RATE: Final = "40mbit"  # of each link: the scheduler keeps to the first while its window has room
ANSWER: Final = pattern(8_000_000)


@dataclass(frozen=True, slots=True)
class Place:
    """A network namespace, and what the test does there."""

    descriptor: int

    @property
    def under(self) -> tuple[str, ...]:
        """What a program is begun by, to run here."""
        return "nsenter", f"--net=/proc/{os.getpid()}/fd/{self.descriptor}", "--"

    def run(self, *commands: str, pass_fds: tuple[int, ...] = ()) -> None:
        with network_namespace.entered(self.descriptor):
            for line in commands:
                subprocess.run(line.split(), check=True, pass_fds=pass_fds)

    def received_bytes(self, device: str) -> int:
        with network_namespace.entered(self.descriptor):
            told = subprocess.run(["cat", "/proc/net/dev"], check=True, capture_output=True, text=True).stdout
        (line,) = [line for line in told.splitlines() if line.strip().startswith(f"{device}:")]
        return int(line.partition(":")[2].split()[0])


@contextmanager
def two_links() -> Iterator[tuple[Place, Place]]:
    """Give two places with two slow links between them, the second of which only MPTCP's path manager knows to use."""
    with ExitStack() as held:
        near, far = (Place(network_namespace.create()) for _ in range(2))
        for place in (near, far):
            held.callback(os.close, place.descriptor)
            place.run("ip link set lo up", "ip mptcp limits set subflows 2 add_addr_accepted 2")
        for n in (1, 2):
            near.run(
                f"ip link add a{n} type veth peer name b{n} netns /proc/self/fd/{far.descriptor}",
                f"ip address add 10.77.{n}.1/24 dev a{n}",
                f"ip link set a{n} up",
                pass_fds=(far.descriptor,),
            )
            far.run(
                f"ip address add 10.77.{n}.2/24 dev b{n}",
                f"ip link set b{n} up",
                f"tc qdisc add dev b{n} root tbf rate {RATE} burst 64kb latency 50ms",
            )
        far.run("ip mptcp endpoint add 10.77.2.2 dev b2 signal")
        yield near, far


def start(place: Place, directory: Path, name: str, *listens: object, **tables: object) -> Gateway:
    told = {"gateway": {"name": name, "workers": 1}, **tables}
    return Gateway.configured(directory, listens, told, under=place.under)  # type: ignore[arg-type]


def download(place: Place, port: int, destination: Destination) -> None:
    """Have one session that asks for a large answer, and hold it to getting it whole."""

    def serve() -> None:
        with destination.accept() as sock:
            assert hear_exactly(sock, 3) == b"GET"
            sock.sendall(ANSWER)

    with ThreadPoolExecutor(1) as threads:
        served = threads.submit(serve)
        with network_namespace.entered(place.descriptor):
            client = connect(port)
        with client:
            client.sendall(b"GET")
            assert hear_exactly(client, len(ANSWER)) == ANSWER
        served.result()


def test_a_leg_uses_both_links_outlives_one_and_is_tcp_where_there_is_no_mptcp(tmp_path: Path) -> None:
    key = tmp_path / "overlay.key"
    assert command("keygen", str(key)).returncode == 0
    keys = {"key_file": str(key)}
    with two_links() as (here, there), ExitStack() as ends:
        with network_namespace.entered(there.descriptor):
            destination = ends.enter_context(Destination())
        overlay = {"bind": "0.0.0.0:7400", "transport": "mptcp", **keys}
        far = start(there, tmp_path / "far", "far", overlay=overlay, egress={"allow": ["127.0.0.1:*"]})
        ends.callback(far.abandon)
        far.wait_ready()
        peer = {"name": "far", "address": "10.77.1.2:7400", "transport": "mptcp", "pool_min": 2}
        listen = forward(str(destination), via=["far"])

        near = start(here, tmp_path / "near", "near", listen, overlay=keys, **{"[peer]": peer})
        ends.callback(near.abandon)
        near.wait_ready().line("gateway far: 2 legs are ready")
        began = [here.received_bytes(device) for device in ("a1", "a2")]
        download(here, near.port("forward"), destination)
        used = [here.received_bytes(device) - before for device, before in zip(("a1", "a2"), began, strict=True)]
        assert min(used) > len(ANSWER) // 5, used
        with network_namespace.entered(here.descriptor):
            moved = near.metrics()
        assert moved['midmile_moved_bytes_total{how="splice"}'] > 0  # this kernel splices MPTCP, too
        (session,) = near.sessions_logged("forward")
        assert session["end"] == "--"
        (link,) = read_status(near.runtime_dir).links
        assert link.rtt_us > 0

        here.run("ip link set a2 down")
        download(here, near.port("forward"), destination)
        near.end()

        here.run("sysctl -qw net.mptcp.enabled=0")
        near = start(here, tmp_path / "without", "near", listen, overlay=keys, **{"[peer]": peer})
        ends.callback(near.abandon)
        near.line("no MPTCP for far, TCP instead: ENOPROTOOPT")
        near.wait_ready().line("gateway far: 2 legs are ready")
        download(here, near.port("forward"), destination)
        near.end()
        far.end()

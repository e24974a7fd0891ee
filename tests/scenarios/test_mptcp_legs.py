"""Two gateways with two links between them: a leg uses both, outlives one, and is plain TCP where there is no MPTCP."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psutil
import pytest

from gateway.commands.running import read_status
from pools.net.transport import mptcp_lack
from tests.scenarios.echo_sink import echo_sink
from tests.scenarios.harness.configuration import Table, at, forward
from tests.scenarios.harness.gateways import Gateway, command
from tests.scenarios.harness.places import Place, join, places
from tests.scenarios.harness.programs import LIMIT_S
from tests.scenarios.harness.steady import SERVED, Way, steady
from tests.scenarios.peers_under_test import Destination, connect, hear_exactly, pattern

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
    pytest.mark.skipif(bool(mptcp_lack()), reason=f"this kernel has no MPTCP: {mptcp_lack()}"),
]

PORT: Final = 7400
LEGS: Final = 2
PEER: Final[Table] = {"name": "far", "address": at(PORT, "10.77.1.2"), "transport": "mptcp", "pool_min": LEGS}
LONG: Final = 10
RATE: Final = "40mbit"  # of each link: the scheduler keeps to the first while its window has room
ANSWER: Final = pattern(8_000_000)


@contextmanager
def two_links() -> Iterator[tuple[Place, Place]]:
    """Give two places with two slow links between them, the second of which only MPTCP's path manager knows to use."""
    with places(2) as (near, far):
        for place in (near, far):
            place.run("ip mptcp limits set subflows 2 add_addr_accepted 2")
        for n in (1, 2):
            join(near, far, here=f"a{n}", there=f"b{n}")
            near.run(f"ip address add 10.77.{n}.1/24 dev a{n}")
            far.run(
                f"ip address add 10.77.{n}.2/24 dev b{n}",
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
        with place.entered():
            client = connect(port)
        with client:
            client.sendall(b"GET")
            assert hear_exactly(client, len(ANSWER)) == ANSWER
        served.result()


def new_key(directory: Path) -> dict[str, str]:
    key = directory / "overlay.key"
    assert command("keygen", str(key)).returncode == 0
    return {"key_file": str(key)}


def start_far(place: Place, directory: Path, keys: dict[str, str]) -> Gateway:
    overlay = {"bind": f"0.0.0.0:{PORT}", "transport": "mptcp", **keys}
    return start(place, directory / "far", "far", overlay=overlay, egress={"allow": ["127.0.0.1:*"]})


def test_a_leg_uses_both_links_outlives_one_and_is_tcp_where_there_is_no_mptcp(tmp_path: Path) -> None:
    keys = new_key(tmp_path)
    with two_links() as (here, there), ExitStack() as ends:
        with there.entered():
            destination = ends.enter_context(Destination())
        far = start_far(there, tmp_path, keys)
        ends.callback(far.abandon)
        far.wait_ready()
        listen = forward(str(destination), via=["far"])

        near = start(here, tmp_path / "near", "near", listen, overlay=keys, **{"[peer]": PEER})
        ends.callback(near.abandon)
        near.wait_ready().line("gateway far: 2 legs are ready")
        began = [here.received_bytes(device) for device in ("a1", "a2")]
        download(here, near.port("forward"), destination)
        used = [here.received_bytes(device) - before for device, before in zip(("a1", "a2"), began, strict=True)]
        assert min(used) > len(ANSWER) // 5, used
        with here.entered():
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
        near = start(here, tmp_path / "without", "near", listen, overlay=keys, **{"[peer]": PEER})
        ends.callback(near.abandon)
        near.line("no MPTCP for far, TCP instead: ENOPROTOOPT")
        near.wait_ready().line("gateway far: 2 legs are ready")
        download(here, near.port("forward"), destination)
        near.end()
        far.end()


def expect_mptcp(place: Place, gateway: Gateway, end: str) -> None:
    """Hold a gateway to having as many legs as it shall at least, and those by MPTCP; `end` is ss(8)'s filter."""

    def legs() -> int:
        pids = {process.pid for process in psutil.Process(gateway.process.pid).children()}
        told = place.run(f"ss -MHnp state established {end}")
        return sum(bool(pids & set(map(int, re.findall(r"\bpid=(\d+)", line)))) for line in told.splitlines())

    gateway.wait_until(lambda: legs() >= LEGS, expected="the legs of its children are MPTCP")
    plain = place.run(f"ss -tHniO state established {end}").splitlines()
    assert all("tcp-ulp-mptcp" in line for line in plain), plain
    assert fallbacks(place) == 0


def fallbacks(place: Place) -> int:
    """Give how many connections of this place became plain TCP at their handshake, for want of MPTCP beyond."""
    names, values = (line.split() for line in place.run("grep ^MPTcpExt: /proc/net/netstat").splitlines())
    counts = dict(zip(names, values, strict=True))
    return sum(int(counts[name]) for name in ("MPCapableFallbackACK", "MPCapableFallbackSYNACK"))


def test_nobody_notices_an_upgrade_and_legs_that_are_new_are_mptcp(tmp_path: Path) -> None:
    keys = new_key(tmp_path)
    with two_links() as (here, there), ExitStack() as ends:
        with there.entered():
            sink = ends.enter_context(echo_sink())
        far = start_far(there, tmp_path, keys)
        ends.callback(far.abandon)
        far.wait_ready()
        near = start(here, tmp_path / "near", "near", forward(sink, via=["far"]), overlay=keys, **{"[peer]": PEER})
        ends.callback(near.abandon)
        near.wait_ready().line("gateway far: 2 legs are ready")
        with ExitStack() as during:
            with here.entered():
                load = during.enter_context(steady([Way("forward", near.port("forward"))], rate=20, long=LONG))
            for gateway in (near, far):
                assert gateway.upgrade().returncode == 0, gateway.log.text()
                assert gateway.retired[0].poll() is None  # the long ones are there
                expect_mptcp(here, near, f"dport = :{PORT}")
                expect_mptcp(there, far, f"sport = :{PORT}")
        assert not load.failures, f"{load}\n{near.log.text()}\n{far.log.text()}"
        assert load.outcomes["forward", SERVED] > 2 * LONG
        for gateway in (near, far):
            assert gateway.retired[0].wait(LIMIT_S) == 0
            gateway.end()

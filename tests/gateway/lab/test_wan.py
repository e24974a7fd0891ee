"""The whole WAN: real namespaces, devices, connections. What is compared with the clock has the machine's load to bear,
so times are bounded sharply from below, where nothing may be too early, and by the best of many from above."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gateway.lab import network_namespace
from gateway.lab.delay_line import LineTerms
from gateway.lab.wan import Wan
from pools.net.clock import monotonic_s
from pools.net.errors import StartError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")

DELAY_S = 0.02
RTT_S = 2 * DELAY_S
SLACK_S = 0.005  # for two processes to be woken, beside other work
LIMIT_S = 20.0
ROOT = Path(__file__).parents[3]


@pytest.fixture
def wan() -> Iterator[Wan]:
    with Wan(["a", "b"], {("a", "b"): LineTerms(delay_s=DELAY_S)}) as made:
        yield made


def udp(wan: Wan, site: str) -> socket.socket:
    """Open a socket at a site, on its address."""
    with network_namespace.entered(wan.namespace(site)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(LIMIT_S)
    sock.bind((wan.address(site), 0))
    return sock


def round_trip_s(one: socket.socket, other: socket.socket) -> float:
    """Send a datagram from one to the other and back."""
    start_s = monotonic_s()
    one.sendto(b"there", other.getsockname())
    _, source = other.recvfrom(100)
    other.sendto(b"back", source)
    one.recv(100)
    return monotonic_s() - start_s


def connected(wan: Wan) -> tuple[socket.socket, socket.socket, float]:
    """Connect from site a to site b; give both ends, and how long it took."""
    with network_namespace.entered(wan.namespace("b")):
        server = socket.create_server((wan.address("b"), 0))
    with server, network_namespace.entered(wan.namespace("a")):
        start_s = monotonic_s()
        ours = socket.create_connection(server.getsockname(), timeout=LIMIT_S)
        took_s = monotonic_s() - start_s
        theirs, _ = server.accept()
    theirs.settimeout(LIMIT_S)
    return ours, theirs, took_s


def test_a_round_trip_takes_twice_the_delay(wan: Wan) -> None:
    with udp(wan, "a") as one, udp(wan, "b") as other:
        times_s = [round_trip_s(one, other) for _ in range(25)]
    assert min(times_s) >= RTT_S
    assert min(times_s) <= RTT_S + SLACK_S


def test_a_connection_stands_after_one_round_trip(wan: Wan) -> None:
    times_s = []
    for _ in range(10):
        ours, theirs, took_s = connected(wan)
        ours.close()
        theirs.close()
        times_s.append(took_s)
    assert RTT_S <= min(times_s) <= RTT_S + SLACK_S


def test_a_stream_comes_whole_over_a_line_that_loses_some(wan: Wan) -> None:
    ours, theirs, _ = connected(wan)
    wan.change("a", "b", LineTerms(delay_s=0.001, loss=0.02))
    sent = os.urandom(1_000_000)
    sender = threading.Thread(target=ours.sendall, args=(sent,))
    sender.start()
    with ours, theirs, theirs.makefile("rb") as stream:
        assert stream.read(len(sent)) == sent
        sender.join(LIMIT_S)
    assert wan.traffic().lines["a", "b"].lost > 0


def test_a_rate_bounds_what_arrives(wan: Wan) -> None:
    ours, theirs, _ = connected(wan)
    wan.change("a", "b", LineTerms(rate_bits_s=2_000_000))
    start_s = monotonic_s()
    with ours, theirs, theirs.makefile("rb") as stream:
        ours.sendall(bytes(100_000))
        assert stream.read(100_000) == bytes(100_000)
    assert monotonic_s() - start_s >= 100_000 * 8 / 2_000_000


def test_a_cut_is_silent_and_a_mended_line_carries_on(wan: Wan) -> None:
    with udp(wan, "a") as one, udp(wan, "b") as other:
        round_trip_s(one, other)
        wan.cut("a", "b")
        one.sendto(b"lost", other.getsockname())
        other.sendto(b"lost", one.getsockname())
        wan.mend("a", "b")
        assert round_trip_s(one, other) >= RTT_S
    lines = wan.traffic().lines
    assert [lines[way].lost for way in (("a", "b"), ("b", "a"))] == [1, 1]


def test_sites_without_a_line_do_not_hear_each_other() -> None:
    with Wan(["a", "b", "c"], {("a", "b"): LineTerms(), ("b", "c"): LineTerms()}) as wan, udp(wan, "a") as one:
        with udp(wan, "c") as apart:
            one.sendto(b"nobody hears", apart.getsockname())
        with udp(wan, "b") as other:
            round_trip_s(one, other)
        assert sum(counts.entered for counts in wan.traffic().lines.values()) == 2


def test_traffic_counts_what_was_carried(wan: Wan) -> None:
    with udp(wan, "a") as one, udp(wan, "b") as other:
        round_trip_s(one, other)
        round_trip_s(one, other)
    traffic = wan.traffic()
    assert (traffic.lines["a", "b"].left, traffic.lines["b", "a"].left, traffic.left) == (2, 2, 4)
    assert traffic.late <= 4


def test_a_program_runs_inside_a_site(wan: Wan) -> None:
    done = subprocess.run(
        wan.inside("b", ["ip", "-brief", "address"]), capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    assert f"{wan.address('b')}/24" in done.stdout


def test_settings_hold_in_every_site() -> None:
    with Wan("ab", {}, sysctls={"ipv4.tcp_slow_start_after_idle": "0"}) as wan:
        for site in "ab":
            with network_namespace.entered(wan.namespace(site)):
                assert Path("/proc/sys/net/ipv4/tcp_slow_start_after_idle").read_text() == "0\n"


def test_what_cannot_be_made_is_refused_with_the_reason() -> None:
    with pytest.raises(StartError, match=r"site a: .*no_such_setting"):
        Wan("ab", {}, sysctls={"ipv4.no_such_setting": "1"})


def test_commands_to_a_wan_that_has_died_say_so(wan: Wan) -> None:
    os.kill(wan.pid, signal.SIGKILL)
    psutil.Process(wan.pid).wait(LIMIT_S)
    with pytest.raises(StartError, match="its process has ended"):
        wan.traffic()


OWNER = """
import signal
from gateway.lab.wan import Wan
wan = Wan("ab", {})
print(wan.pid, flush=True)
signal.pause()
"""


def test_an_owner_killed_leaves_nothing() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, cwd=ROOT)
    assert owner.stdout is not None
    with owner.stdout:
        wan_process = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.wait(LIMIT_S)
    psutil.wait_procs([wan_process], timeout=LIMIT_S)
    assert not wan_process.is_running() or wan_process.status() == psutil.STATUS_ZOMBIE


def test_a_wan_killed_leaves_no_namespace() -> None:
    with Wan("ab", {}) as wan:
        inode = wan.namespace("a").stat().st_ino
        assert inode in namespaces()
        os.kill(wan.pid, signal.SIGKILL)
        psutil.Process(wan.pid).wait(LIMIT_S)
        assert inode not in namespaces()


def namespaces() -> set[int]:
    """Give the inodes of all network namespaces that some process is in or holds."""
    found = set()
    for path in [*Path("/proc").glob("[0-9]*/ns/net"), *Path("/proc").glob("[0-9]*/fd/*")]:
        try:
            if os.readlink(path).startswith("net:["):
                found.add(path.stat().st_ino)
        except OSError:  # it has ended since
            continue
    return found

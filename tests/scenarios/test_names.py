"""Destinations by name: asked for again in time, kept while the name server fails, and never in anybody's way."""

import ctypes
import os
import select
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward, proxy
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.name_server import NameServer
from tests.scenarios.peers_under_test import (
    PATIENCE_S,
    Destination,
    End,
    Heard,
    connect,
    hear,
    hear_exactly,
    is_silent,
    session,
    visit,
)

NAME_SERVER = f"127.53.{os.getpid() // 256 % 256}.{os.getpid() % 256}"  # of this process alone
RESOLV_CONF = f"nameserver {NAME_SERVER}\noptions timeout:{{timeout_s}} attempts:1\n"
FIRST, SECOND = "127.0.0.1", "127.0.0.8"
ROUND_TRIPS = 50
_CLONE_NEWNS = 0x20000  # <linux/sched.h>
T = TypeVar("T")


@pytest.fixture
def names(tmp_path: Path) -> Iterator[NameServer]:
    if os.geteuid() != 0:
        pytest.skip("needs root: a mount namespace, and port 53")
    (tmp_path / "resolv.conf").write_text(RESOLV_CONF.format(timeout_s=1))
    with NameServer(NAME_SERVER) as server:
        yield server


def _asking_it(work: Callable[[], T], directory: Path) -> T:
    """Do `work` in a thread whose mount namespace has our resolv.conf; processes started there inherit it."""

    def do() -> T:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.unshare(_CLONE_NEWNS) == 0, os.strerror(ctypes.get_errno())
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "--bind", str(directory / "resolv.conf"), "/etc/resolv.conf"], check=True)
        return work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(do).result()


def test_a_name_is_followed_when_it_moves_and_remembered_when_nobody_knows_it(
    start_gateway: StartGateway, names: NameServer, tmp_path: Path
) -> None:
    with Destination(FIRST) as first, Destination(SECOND, port=first.port) as second:
        names.addresses["origin.test"] = FIRST
        gateway = _asking_it(
            lambda: start_gateway(
                forward(f"origin.test:{first.port}"), gateway={"workers": 1}, outbound={"resolve_every": 1}
            ),
            tmp_path,
        )
        assert _landed(gateway, first, second) is first
        names.addresses["origin.test"] = SECOND
        gateway.wait_until(lambda: _landed(gateway, first, second) is second, expected="the name is asked for again")
        names.silent.add("origin.test")
        gateway.wait_until(lambda: _stays_with(second, gateway, first), expected="the name server is missed")
        names.silent.clear()
        del names.addresses["origin.test"]
        asked = names.asked
        gateway.wait_until(
            lambda: _landed(gateway, first, second) is second and names.asked >= asked + 2,
            expected="the name is asked for twice, found not to exist, and its last address used",
        )
        names.addresses["origin.test"] = FIRST
        gateway.wait_until(lambda: _landed(gateway, first, second) is first, expected="the name is found again")
        metrics = gateway.metrics()
        assert metrics["midmile_name_lookups_failed_total"] >= 2
        assert metrics['midmile_sessions_failed_total{reason="resolve"}'] == 0, "sessions had the last good answer"


def _landed(gateway: Gateway, *destinations: Destination) -> Destination:
    """Open a session and tell where it led."""
    with ExitStack() as opened:
        client = opened.enter_context(connect(gateway.port("forward")))
        client.sendall(b"?")
        came, _, _ = select.select([each.listener for each in destinations], [], [], PATIENCE_S)
        (ready,) = (each for each in destinations if each.listener in came)
        far = opened.enter_context(ready.accept())
        assert hear_exactly(far, 1) == b"?"
    return ready


def _stays_with(destination: Destination, gateway: Gateway, other: Destination) -> bool:
    assert _landed(gateway, other, destination) is destination
    return "cannot resolve origin.test again" in gateway.log.text()


def test_a_slow_name_server_holds_up_nobody_else(
    start_gateway: StartGateway, names: NameServer, tmp_path: Path
) -> None:
    names.silent.add("slow.test")
    (tmp_path / "resolv.conf").write_text(RESOLV_CONF.format(timeout_s=30))
    with Destination() as destination, ExitStack() as opened:
        gateway = _asking_it(
            lambda: start_gateway(forward(destination.port), proxy(), gateway={"workers": 1}, timeouts={"connect": 60}),
            tmp_path,
        )
        waiting = [opened.enter_context(connect(gateway.port("proxy"))) for _ in range(4)]
        for client in waiting:
            client.sendall(b"\x05\x01\x00\x05\x01\x00\x03\x09slow.test\x00\x50")
            assert hear_exactly(client, 2) == b"\x05\x00"
        gateway.wait_until(lambda: names.asked > 0, expected="the name server is asked")
        for _ in range(ROUND_TRIPS):
            with session(gateway.port("forward"), destination) as (client, far):
                client.sendall(b"quick")
                assert hear_exactly(far, 5) == b"quick"
        assert all(is_silent(client, for_s=0) for client in waiting), "the name server has still said nothing"
        names.speak()
        assert {hear(client).end for client in waiting} == {End.FIN}, "each gets the protocol's answer in the end"


def test_a_name_that_does_not_exist_is_a_reset_or_the_protocols_answer(
    start_gateway: StartGateway, names: NameServer, tmp_path: Path
) -> None:
    gateway = _asking_it(lambda: start_gateway(forward("nowhere.test:80"), proxy(), gateway={"workers": 1}), tmp_path)
    assert visit(gateway.port("forward")) == Heard(b"", End.RESET)
    said = b"\x05\x01\x00\x05\x01\x00\x03\x0cnowhere.test\x00\x50"
    assert visit(gateway.port("proxy"), said) == Heard(b"\x05\x00\x05\x04\x00\x01" + bytes(6), End.FIN)
    gateway.lines(r" SQ EHOSTUNREACH ", count=2)
    assert gateway.metrics()['midmile_sessions_failed_total{reason="resolve"}'] == 2

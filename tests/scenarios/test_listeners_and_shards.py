"""Listeners of both families, and the workers behind them: pinned, evenly loaded, and alone on their port."""

import os
import re
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from gateway import control_client
from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import command
from tests.scenarios.peers_under_test import LOOPBACK, Destination, connect, hear_exactly

WORKERS = 3
SESSIONS = 600


@pytest.mark.parametrize(
    ("bind", "keys", "clients"),
    [
        (LOOPBACK, {}, [LOOPBACK]),
        ("0.0.0.0", {}, [LOOPBACK]),
        ("::1", {}, ["::1"]),
        ("::", {"dual_stack": True}, ["::1", LOOPBACK]),
    ],
)
def test_a_listener_serves_its_families_and_names_clients_by_theirs(
    start_gateway: StartGateway, bind: str, keys: dict[str, Any], clients: list[str]
) -> None:
    with Destination() as destination:
        gateway = start_gateway(forward(destination.port, host=bind, **keys))
        for host in clients:
            with connect(gateway.port("forward"), host=host) as client, destination.accept() as far:
                far.sendall(b"hello")
                assert hear_exactly(client, 5) == b"hello"
                port = client.getsockname()[1]
            name = f"[{host}]" if ":" in host else host
            gateway.line(rf" forward {re.escape(name)}:{port} - ")


def test_an_ipv6_listener_that_is_not_dual_stack_leaves_ipv4_alone(start_gateway: StartGateway) -> None:
    with Destination("::1") as destination:
        gateway = start_gateway(forward(str(destination), host="::"))
        with pytest.raises(ConnectionRefusedError):
            connect(gateway.port("forward"))
        with connect(gateway.port("forward"), host="::1") as client, destination.accept() as far:
            far.sendall(b"hello")
            assert hear_exactly(client, 5) == b"hello"


def test_workers_are_pinned_and_get_even_shares(start_gateway: StartGateway) -> None:
    with Destination() as destination, ExitStack() as opened:
        gateway = start_gateway(forward(destination.port), gateway={"workers": WORKERS})
        cores = [psutil.Process(pid).cpu_affinity() for pid in gateway.worker_pids()]
        usable = sorted(os.sched_getaffinity(0))
        assert cores == [[usable[slot % len(usable)]] for slot in range(WORKERS)]
        for _ in range(SESSIONS):
            opened.enter_context(connect(gateway.port("forward")))
            opened.enter_context(destination.accept())
        shares = [len(list(control_client.sessions(gateway.runtime_dir, slot))) for slot in range(WORKERS)]
        assert sum(shares) == SESSIONS
        assert _chi_square(shares) < 23, "beyond are ten honest runs of a million, with two degrees of freedom"


def _chi_square(shares: list[int]) -> float:
    expected = sum(shares) / len(shares)
    return sum((share - expected) ** 2 / expected for share in shares)


def test_a_second_gateway_on_the_same_port_is_refused(start_gateway: StartGateway) -> None:
    with Destination() as destination:
        gateway = start_gateway(forward(destination.port))
        address = f"{LOOPBACK}:{gateway.port('forward')}"
        second = command(
            "start", "--listen", address, "--to", str(destination), "--runtime-dir", str(gateway.runtime_dir) + "-2"
        )
        assert second.returncode == 3
        assert f"on {address}: cannot bind: EADDRINUSE" in second.stderr
        with connect(gateway.port("forward")) as client, destination.accept() as far:
            far.sendall(b"hello")
            assert hear_exactly(client, 5) == b"hello"

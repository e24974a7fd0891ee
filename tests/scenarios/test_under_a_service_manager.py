"""A gateway as a service: it serves on sockets that its manager opened, and tells it all its life how it is."""

import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.bench.processes import free_ports
from tests.scenarios.echo_sink import echo_sink
from tests.scenarios.harness.configuration import at
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.programs import LIMIT_S
from tests.scenarios.harness.service_manager import ServiceManager, activated


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with closing(ServiceManager(tmp_path / "notify")) as made:
        yield made


def asked_and_answered(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as client:
        client.sendall(b"echo")
        return client.recv(4) == b"echo"


def test_a_service_from_its_start_to_its_end(manager: ServiceManager, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with echo_sink() as echo:
        listen = {"name": "web", "bind": at(port), "mode": "forward", "to": at(echo)}
        gateway = Gateway.configured(
            tmp_path / "gateway", [listen], {}, environment=manager.environment, under=activated(port, count=2)
        )
        try:
            ready = manager.wait_for_key("READY")
            assert ready["STATUS"] == "serving: 2 workers, 0 sessions; config generation 1"
            first = next(message["STATUS"] for message in manager.heard if "STATUS" in message)
            assert first.startswith("starting: ")
            assert all(asked_and_answered(port) for _ in range(20))
            manager.wait_for_key("WATCHDOG")
            with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S):
                manager.wait_for_status("serving: 2 workers, 1 session;")

                gateway.process.send_signal(signal.SIGHUP)
                reloading = manager.wait_for_key("RELOADING")
                assert reloading["MONOTONIC_USEC"].isdecimal()
                assert manager.wait_for_key("READY")["STATUS"].endswith("config generation 2")

                with (tmp_path / "gateway/gateway.toml").open("a") as file:
                    file.write("wrong = 1\n")
                gateway.process.send_signal(signal.SIGHUP)
                manager.wait_for_status("config generation 2, the last reload was refused")

                gateway.process.send_signal(signal.SIGTERM)
                manager.wait_for_key("STOPPING")
                manager.wait_for_status("draining: 1 session left, up to ")
                manager.wait_for_key("EXTEND_TIMEOUT_USEC")
            manager.wait_for_status("stopping")
            assert gateway.process.wait(LIMIT_S) == 0
        finally:
            gateway.abandon()


def test_a_socket_that_no_listener_wants_ends_the_start_and_the_manager_hears_why(
    manager: ServiceManager, tmp_path: Path
) -> None:
    wanted, unwanted = free_ports(2)
    listen = {"name": "web", "bind": at(wanted), "mode": "forward", "to": at(wanted)}
    under = activated(unwanted, count=2)
    gateway = Gateway.configured(tmp_path / "gateway", [listen], {}, environment=manager.environment, under=under)
    try:
        manager.wait_for_status("could not start: socket of the service manager", at(unwanted), "(web)", at(wanted))
        assert gateway.process.wait(LIMIT_S) == 3
    finally:
        gateway.abandon()

"""More clients than descriptors: the rest wait in the kernel's queue, quietly, and operators still get answers."""

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from itertools import count, islice, pairwise
from pathlib import Path

import psutil
import pytest

from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.peers_under_test import Destination, End, connect, hear, hear_exactly, is_silent

FEW = 280
CLIENTS = 100
QUIET_S = 0.6
PAUSED_CPU_S = 0.1
"""In QUIET_S seconds: a heartbeat and a tick cost about a hundredth of a processor; a busy loop costs all of it."""


@contextmanager
def _gateway_with(descriptors: int, directory: Path, destination: Destination) -> Iterator[Gateway]:
    """Run a gateway with one worker under a limit it cannot raise."""
    under = ["prlimit", f"--nofile={descriptors}:{descriptors}"]
    gateway = Gateway.configured(directory, [forward(destination.port)], {"gateway": {"workers": 1}}, under=under)
    try:
        yield gateway.wait_ready()
        gateway.expect_rest()
        gateway.end()
    finally:
        gateway.abandon()


def test_clients_beyond_the_descriptors_wait_and_are_served_in_the_end(tmp_path: Path) -> None:
    with (
        Destination() as destination,
        ExitStack() as opened,
        _gateway_with(FEW, tmp_path / "gateway", destination) as gateway,
    ):
        clients = _clients(gateway, opened)
        gateway.line("accepts nothing for now")
        fars = _all_that_come(gateway, destination, opened)
        assert 10 < len(fars) < CLIENTS
        _expect_quiet_pause(gateway, destination)
        for client in clients:  # the first come are the first served
            with fars.pop(0) if fars else destination.accept() as far, client:
                far.sendall(b"served")
                assert hear_exactly(client, 6) == b"served"
        assert _is_quiet(gateway)


@pytest.mark.parametrize("left", [0, 1], ids=["none for accept", "none for the outbound leg"])
def test_a_worker_that_is_denied_descriptors_pauses_and_goes_on(start_gateway: StartGateway, left: int) -> None:
    with Destination() as destination, ExitStack() as opened:
        gateway = start_gateway(forward(destination.port), gateway={"workers": 1})
        (worker,) = gateway.worker_pids()
        unlimited = _deny_descriptors(worker, left=left)
        clients = _clients(gateway, opened)
        gateway.line(r"accepts nothing for now: cannot (accept|dial): EMFILE")
        _expect_quiet_pause(gateway, destination)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, unlimited)
        ends = [_serve(client, destination) for client in clients]
        reset = ends.count(End.RESET) + CLIENTS - len(clients)
        assert reset <= 1, "who was accepted with the last descriptor"
        assert _is_quiet(gateway)


def _deny_descriptors(pid: int, *, left: int) -> tuple[int, int]:
    """Let a process open `left` more descriptors; gives the limits it had. The kernel hands out the lowest free one."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = (number for number in count() if number not in used)
    soft = next(islice(free, left, None))
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    return resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def _serve(client: socket.socket, destination: Destination) -> End:
    """Serve a client unless it was ended already, and tell what it saw."""
    if is_silent(client, for_s=0):
        with destination.accept() as far:
            far.sendall(b"served")
    heard = hear(client)
    assert heard.data == (b"served" if heard.end is End.FIN else b"")
    return heard.end


def _clients(gateway: Gateway, opened: ExitStack) -> list[socket.socket]:
    """Let clients come; one that is reset so soon that its connect(2) already tells is left out."""
    clients = []
    for _ in range(CLIENTS):
        with suppress(ConnectionResetError):
            clients.append(opened.enter_context(connect(gateway.port("forward"))))
    return clients


def _all_that_come(gateway: Gateway, destination: Destination, opened: ExitStack) -> list[socket.socket]:
    """Accept what the gateway dials, until each of its sessions has come through."""
    came: list[socket.socket] = []

    def are_all() -> bool:
        while not is_silent(destination.listener, for_s=0):
            came.append(opened.enter_context(destination.accept()))
        return gateway.metrics()["midmile_sessions_open"] == len(came)

    gateway.wait_until(are_all, expected="each session has its outbound leg")
    return came


def _is_quiet(gateway: Gateway) -> bool:
    """Tell whether the log says once a period at most that nothing is accepted, however long all this took."""
    lines = gateway.lines(r"^(\S+) .*accepts nothing for now")
    told = [datetime.fromisoformat(line[1]) for line in lines]
    return all(later - earlier > timedelta(seconds=9.9) for earlier, later in pairwise(told))


def _expect_quiet_pause(gateway: Gateway, destination: Destination) -> None:
    """Hold a paused worker to doing nothing, and the gateway to answering those who run it."""
    worker = psutil.Process(gateway.worker_pids()[0])
    before = sum(worker.cpu_times()[:2])
    assert is_silent(destination.listener, for_s=QUIET_S)
    assert sum(worker.cpu_times()[:2]) - before < PAUSED_CPU_S
    (told,) = gateway.status()["workers"]
    assert told["accept_paused"]
    assert gateway.get("/metrics")[0] == 200
    assert gateway.command("health").returncode == 0

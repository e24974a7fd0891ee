"""A worker whose loop stands still is noticed by its heartbeat, shown the door, and replaced; others go on."""

import os
import signal

from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.peers_under_test import Destination, End, hear, hear_exactly, session

HEARTBEAT_S = 2.0


def _serves(gateway: Gateway, destination: Destination) -> None:
    with session(gateway.port("forward"), destination) as (client, far):
        client.sendall(b"?")
        assert hear_exactly(far, 1) == b"?"


def test_a_stopped_worker_is_killed_and_its_successor_serves(start_gateway: StartGateway) -> None:
    with Destination() as destination:
        gateway = start_gateway(
            forward(destination.port), gateway={"workers": 1}, timeouts={"worker_heartbeat": HEARTBEAT_S}
        )
        (hung,) = gateway.worker_pids()
        with session(gateway.port("forward"), destination) as (client, far):
            os.kill(hung, signal.SIGSTOP)
            assert hear(client).end is End.RESET
            assert hear(far).end is End.RESET
        gateway.line(rf"worker 0, pid {hung}, hangs: no heartbeat for \d")
        gateway.line(rf"worker 0, pid {hung} ended by SIGKILL; next in")
        _serves(gateway, destination)
        assert gateway.worker_pids() != [hung]


def test_a_worker_that_comes_to_when_it_is_aborted_shows_where_it_was(start_gateway: StartGateway) -> None:
    with Destination() as destination:
        gateway = start_gateway(
            forward(destination.port), gateway={"workers": 2}, timeouts={"worker_heartbeat": HEARTBEAT_S}
        )
        hung, other = gateway.worker_pids()
        os.kill(hung, signal.SIGSTOP)
        gateway.line(rf"worker 0, pid {hung}, hangs")
        os.kill(hung, signal.SIGCONT)
        gateway.line(r"Fatal Python error: Aborted")
        gateway.line(r'  File ".+", line \d+ in ')
        gateway.line(rf"worker 0, pid {hung} ended by SIGABRT; next in")
        gateway.wait_until(lambda: len(gateway.worker_pids()) == 2, expected="the slot is filled again")
        assert gateway.worker_pids()[1] == other
        for _ in range(10):
            _serves(gateway, destination)

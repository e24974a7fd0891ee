"""Somebody removes the runtime directory of a gateway that runs: it goes on, replaces what dies, and ends in order."""

import os
import shutil
import signal
from pathlib import Path

from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import Gateway, running_gateway
from tests.scenarios.harness.load import CLIENTS, SERVED, answering, visiting

MORE = 50


def test_it_serves_on_and_ends_in_order(tmp_path: Path) -> None:
    with answering() as port, running_gateway(tmp_path / "gateway", forward(port)) as gateway:
        own_port, pids = gateway.port("forward"), gateway.worker_pids()
        with visiting(own_port) as outcomes:
            gateway.wait_until(lambda: len(outcomes) > MORE, expected="sessions come and go")
            shutil.rmtree(gateway.runtime_dir)
            assert gateway.command("status").returncode == 1
            assert gateway.get("/readyz")[0] == 200
            os.kill(pids[0], signal.SIGKILL)
            gateway.wait_until(lambda: has_successor(gateway, pids[0]), expected="a killed worker has a successor")
            seen = len(outcomes)
            gateway.wait_until(lambda: len(outcomes) > seen + MORE, expected="sessions go on")
        assert len(outcomes) - outcomes.count(SERVED) <= CLIENTS
        assert gateway.metrics()["midmile_sessions_total"] > MORE, "the scoreboard lives as long as its mapping"


def has_successor(gateway: Gateway, killed: int) -> bool:
    return len(pids := gateway.worker_pids()) == 2 and killed not in pids and gateway.get("/readyz")[0] == 200

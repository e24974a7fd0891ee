"""A gateway is drained: who has come is served, who comes later is refused, and who stays too long is reset."""

import json
import os
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway import control_client
from tests.scenarios.conftest import StartGateway
from tests.scenarios.echo_sink import echo_sink
from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import COMMAND, Gateway
from tests.scenarios.harness.overlay import Station, running_chain
from tests.scenarios.harness.programs import LIMIT_S, ROOT
from tests.scenarios.harness.steady import Way, steady
from tests.scenarios.peers_under_test import End, connect, hear

BURST = 100
RATE, LONG = 50, 10


def wait_ended(pidfd: int) -> None:
    assert control_client.wait_for_end(pidfd, LIMIT_S)
    os.close(pidfd)


def draining(gateway: Gateway, *words: str) -> "subprocess.Popen[str]":
    """Run `gateway drain` and return once it shows how far it is."""
    argv = [*COMMAND, "drain", "--json", *words, "--runtime-dir", str(gateway.runtime_dir)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_who_waits_at_that_moment_is_served_and_who_comes_later_is_refused(start_gateway: StartGateway) -> None:
    with echo_sink() as sink, ExitStack() as opened:
        gateway = start_gateway(forward(sink), gateway={"workers": 1}, timeouts={"drain": 30.0})
        port, (worker,) = gateway.port("forward"), gateway.worker_pids()
        os.kill(worker, signal.SIGSTOP)
        burst = [opened.enter_context(connect(port)) for _ in range(BURST)]  # established by the kernel, not accepted
        pidfd = control_client.drain(gateway.runtime_dir).pidfd
        late = opened.enter_context(socket.socket())
        late.settimeout(LIMIT_S)
        os.kill(worker, signal.SIGCONT)
        with pytest.raises(ConnectionRefusedError):  # its SYN was dropped, and asked for again once nobody listened
            late.connect(("127.0.0.1", port))
        for number, client in enumerate(burst):
            client.sendall(b"%d" % number)
            client.shutdown(socket.SHUT_WR)
        heard = [hear(client) for client in burst]
        assert [each.data for each in heard] == [b"%d" % number for number in range(BURST)]
        assert {each.end for each in heard} == {End.FIN}
        wait_ended(pidfd)
        gateway.end(how=lambda: None)


def test_how_far_it_is_is_shown_and_what_stays_too_long_is_reset(start_gateway: StartGateway) -> None:
    with echo_sink() as sink:
        gateway = start_gateway(forward(sink), gateway={"workers": 1})
        with connect(gateway.port("forward")) as client:
            client.sendall(b"one")
            assert client.recv(10) == b"one"
            assert gateway.get("/readyz")[0] == 200
            gateway.wait_until(lambda: gateway.status()["sessions"] == 1, expected="its pulse tells of the session")
            process = draining(gateway, "--limit", "2.5")
            with process:
                assert process.stdout is not None
                first = json.loads(process.stdout.readline())
                assert gateway.get("/readyz")[0] == 503
                client.sendall(b"two")
                assert client.recv(10) == b"two"
                assert hear(client).end is End.RESET
                lines = [first, *map(json.loads, process.stdout)]
            assert process.returncode == 0
        *progress, last = lines
        assert {(each["pid"], each["sessions"], each["stopped"]) for each in progress[:2]} == {
            (gateway.process.pid, 1, False)
        }
        left_s = [each["left_s"] for each in progress]
        assert 2 < left_s[0] <= 2.5
        assert left_s == sorted(left_s, reverse=True)
        assert (last["stopped"], last["sessions"]) == (True, 0)
        gateway.end(how=lambda: None)
        assert gateway.sessions_logged("forward")[-1]["end"] == "KD"


def test_sessions_through_a_gateway_that_is_drained_end_in_order_and_new_ones_go_elsewhere(tmp_path: Path) -> None:
    with echo_sink() as sink:
        oregon = Station(knows=["mumbai"], listens=[forward(sink, name="chained", paths=[["mumbai"], []])])
        patient = {"timeouts": {"drain": 20.0}}
        with running_chain(tmp_path, oregon=oregon, mumbai=Station(tables=patient)) as chain:
            way = Way("chained", chain["oregon"].port("chained"))
            with connect(way.port) as client:
                client.sendall(b"before")
                assert client.recv(10) == b"before"
                with steady([way], rate=RATE, long=LONG) as load:
                    pidfd = control_client.drain(chain["mumbai"].runtime_dir).pidfd
                    chain.wait_link("oregon", "mumbai", lambda link: link["idle"] == 0, expected="its legs are gone")
                    client.sendall(b"during")
                    assert client.recv(10) == b"during"
                assert not load.failures, f"{load}\n{chain['oregon'].log.text()}"
                client.shutdown(socket.SHUT_WR)
                assert (hear(client).data, hear(client).end) == (b"", End.FIN)
            wait_ended(pidfd)
            chain["mumbai"].end(how=lambda: None)
            with steady([way], rate=RATE, long=1) as load:
                pass
            assert not load.failures

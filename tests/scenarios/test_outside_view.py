"""What the gateway says of its sessions: access log, metrics, health. Held to sessions whose every byte is known."""

import json
import os
import re
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from tests.bench.processes import free_ports
from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import at, forward, proxy
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.programs import LIMIT_S

SESSIONS = "midmile_sessions_total"
OPEN = "midmile_sessions_open"
REQUEST, ANSWER = b"a request", b"an answer that is longer"


@contextmanager
def listening() -> Iterator[tuple[socket.socket, int]]:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as origin:
        origin.settimeout(LIMIT_S)
        yield origin, origin.getsockname()[1]


def connected(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port("forward")), timeout=LIMIT_S)


def ask(gateway: Gateway, origin: socket.socket) -> str:
    """Have one session of a request and an answer, ended by both sides; give the client's address."""
    with socket.create_connection(("127.0.0.1", gateway.port("forward")), timeout=LIMIT_S) as client:
        far, _ = origin.accept()
        with far:
            client.sendall(REQUEST)
            assert far.recv(100) == REQUEST
            far.sendall(ANSWER)
            assert client.recv(100) == ANSWER
            client.shutdown(socket.SHUT_WR)
            assert far.recv(100) == b""
        assert client.recv(100) == b""
        return at(client.getsockname()[1])


def test_a_text_line_tells_of_its_session(start_gateway: StartGateway) -> None:
    with listening() as (origin, port):
        gateway = start_gateway(forward(port))
        client = ask(gateway, origin)
        (line,) = gateway.sessions_logged("forward")
    began_ago = datetime.now(UTC) - datetime.fromisoformat(line["began"])
    assert 0 <= began_ago.total_seconds() < LIMIT_S
    assert (line["client"], line["proxied"]) == (client, "-")
    assert (line["destination"], line["connected"]) == (at(port), at(port))
    assert (line["end"], line["errno"]) == ("--", "-")
    assert line["bytes"] == f"{len(REQUEST)}/{len(ANSWER)}"
    handshake_us, resolve_us, connect_us, total_us = map(int, line["us"].split("/"))
    assert 0 < handshake_us + resolve_us + connect_us <= total_us
    assert all(0 < int(rtt_us) < LIMIT_S * 1e6 for rtt_us in line["rtt_us"].split("/"))
    assert all(int(count) < 10 for count in line["retransmits"].split("/"))  # none, unless the machine stood still


def test_a_json_line_tells_the_same(start_gateway: StartGateway) -> None:
    with listening() as (origin, port):
        gateway = start_gateway(forward(port), gateway={"log_format": "json"})
        client = ask(gateway, origin)
        told = json.loads(gateway.line(r'"listener":"forward"').string)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["time"])
    known = ("client", "proxied_client", "destination", "connected", "end", "errno", "forward_bytes", "backward_bytes")
    assert [told[key] for key in known] == [client, None, at(port), at(port), "--", None, len(REQUEST), len(ANSWER)]
    assert 0 < told["handshake_us"] + told["resolve_us"] + told["connect_us"] <= told["total_us"]
    assert told["inbound_rtt_us"] > 0
    assert told["outbound_rtt_us"] > 0
    assert told["inbound_retransmits"] < 10 > told["outbound_retransmits"]


def test_what_comes_with_the_introduction_is_counted(start_gateway: StartGateway) -> None:
    """HAProxy sends its PROXY header and the first bytes together; they went uncounted."""
    with listening() as (origin, port):
        gateway = start_gateway(forward(port, accept_proxy=True))
        with socket.create_connection(("127.0.0.1", gateway.port("forward")), timeout=LIMIT_S) as client:
            client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n" + REQUEST)
            with origin.accept()[0] as far:
                assert far.recv(100) == REQUEST
        (line,) = gateway.sessions_logged("forward")
    assert (line["proxied"], line["bytes"]) == ("192.0.2.1:50000", f"{len(REQUEST)}/0")


def test_every_line_of_a_json_log_is_json(start_gateway: StartGateway) -> None:
    with listening() as (origin, port):
        gateway = start_gateway(forward(port), gateway={"log_format": "json"})
        ask(gateway, origin)
        gateway.end()
    lines = [json.loads(line) for line in gateway.log.text().splitlines()]
    assert {"supervisor"} == {line["role"] for line in lines if "session" not in line}
    assert [line["listener"] for line in lines if "session" in line] == ["forward"]


def test_a_refused_destination_is_logged_and_counted(start_gateway: StartGateway) -> None:
    gateway = start_gateway(forward(free_ports(1)[0]))
    where = ("127.0.0.1", gateway.port("forward"))
    with pytest.raises(ConnectionResetError), socket.create_connection(where, timeout=LIMIT_S) as client:
        client.recv(1)  # unless the reset was there before the connection was known to stand
    line = gateway.sessions_logged("forward")[0]
    assert (line["end"], line["errno"]) == ("SC", "ECONNREFUSED")
    failed = 'midmile_sessions_failed_total{reason="connect_refused"}'
    gateway.wait_until(lambda: gateway.metrics()[failed] == 1, expected="the refusal is counted")


def metrics_settled(gateway: Gateway, expected: int) -> dict[str, float]:
    """Give the metrics once they tell of all sessions and none is open."""

    def settled() -> bool:
        found = gateway.metrics()
        return found[SESSIONS] == expected and found[OPEN] == 0

    gateway.wait_until(settled, expected=f"the metrics tell of {expected} sessions")
    return gateway.metrics()


def counters(samples: dict[str, float]) -> dict[str, float]:
    """Pick what may never fall: totals of the gateway, those of one process left out."""
    return {name: value for name, value in samples.items() if "_total" in name and "_worker_" not in name}


def test_metrics_are_those_of_all_workers_and_survive_one(start_gateway: StartGateway) -> None:
    with listening() as (origin, port):
        gateway = start_gateway(forward(port), proxy())
        for _ in range(40):  # all to one of two workers: once in 2**39
            ask(gateway, origin)
        before = metrics_settled(gateway, 40)
        per_worker = [worker["sessions_total"] for worker in gateway.status()["workers"]]
        assert min(per_worker) > 0
        assert sum(per_worker) == 40
        assert before['midmile_listener_sessions_total{listener="forward"}'] == 40
        assert before['midmile_listener_sessions_total{listener="proxy"}'] == 0
        assert before['midmile_relayed_bytes_total{direction="forward"}'] == 40 * len(REQUEST)
        assert before['midmile_relayed_bytes_total{direction="backward"}'] == 40 * len(ANSWER)
        pids = gateway.worker_pids()
        os.kill(pids[0], signal.SIGKILL)
        gateway.wait_until(lambda: is_replaced(gateway, pids), expected="the killed worker is replaced")
        after = gateway.metrics()
        fell = {name for name, value in counters(before).items() if after[name] < value}
        assert not fell
        assert after["midmile_child_restarts_total"] == 1
        for _ in range(40):
            ask(gateway, origin)
        assert metrics_settled(gateway, 80)['midmile_listener_sessions_total{listener="forward"}'] == 80


def is_replaced(gateway: Gateway, pids: Sequence[int]) -> bool:
    """Tell whether another process accepts in slot 0."""
    found = gateway.worker_pids()
    return len(found) == len(pids) and found[0] != pids[0] and gateway.get("/readyz")[0] == 200


def test_a_live_session_is_seen_by_all_who_ask(start_gateway: StartGateway) -> None:
    with listening() as (origin, port):
        gateway = start_gateway(forward(port))
        with connected(gateway) as client, origin.accept()[0] as far:
            client.sendall(REQUEST)
            assert far.recv(100) == REQUEST
            gateway.wait_until(lambda: gateway.metrics()[OPEN] == 1, expected="the metrics tell of the session")
            assert gateway.status()["sessions"] == 1
            (row,) = json.loads(gateway.command("sessions", "--json").stdout)["sessions"]
            assert (row["client"], row["destination"]) == (at(client.getsockname()[1]), at(port))
        assert (row["forward_bytes"], row["backward_bytes"]) == (len(REQUEST), 0)
        assert row["age_s"] > 0


def test_health_pages(start_gateway: StartGateway) -> None:
    gateway = start_gateway(proxy())
    for path in ("/healthz", "/readyz"):
        status, body = gateway.get(path)
        assert status == 200, body
    assert gateway.get("/nowhere")[0] == 404
    assert json.loads(gateway.get("/readyz")[1]) == {"ready": True, "workers": {"0": "ready", "1": "ready"}}


def test_health_does_without_the_admin_page(start_gateway: StartGateway) -> None:
    gateway = start_gateway(proxy(), admin={"http": "off"})
    gateway.line("; admin off; ")
    well = (0, "well\n")  # in the end: a loop may be late on a machine this busy
    gateway.wait_until(lambda: health(gateway) == well, expected="it is well")
    gateway.end()
    stopped = gateway.command("health")
    assert stopped.returncode == 1
    assert "no gateway runs in" in stopped.stderr


def health(gateway: Gateway) -> tuple[int, str]:
    """Give exit code and words of `gateway health`."""
    told = gateway.command("health")
    return told.returncode, told.stdout

"""The admin child over real HTTP: forked as in production, on a port the kernel chose."""

import http.client
import json
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pools.link_health import LinkState
from pools.net.clock import monotonic_ns
from pools.net.fd_passing import receive_message, send_message, socket_pair
from pools.net.link_board import LinkCell
from pools.net.orders import Order, OrderMessage, Report, ReportMessage
from pools.net.scoreboard import Cell, ChildState, Layout, Scoreboard

PATIENCE_S = 30
PAGE = {
    "/": "text/html; charset=utf-8",
    "/page/page.css": "text/css; charset=utf-8",
    "/page/page.js": "text/javascript; charset=utf-8",
    "/page/icon.svg": "image/svg+xml",
    "/page.json": "application/json",
}


@dataclass
class Admin:
    """A running admin child, its scoreboard, and our end of its channel."""

    pid: int
    port: int
    board: Scoreboard
    channel: socket.socket
    exited: int  # a pidfd

    def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)) as connection:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    def exit_code(self) -> int:
        assert select.select([self.exited], [], [], PATIENCE_S)[0], "the admin child did not end"
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def peers() -> tuple[str, ...]:
    """Peers that readiness waits for."""
    return ()


@pytest.fixture
def patience_s() -> float:
    """Seconds that the admin child gives a request."""
    return PATIENCE_S


@pytest.fixture
def admin(tmp_path: Path, peers: tuple[str, ...], patience_s: float) -> Iterator[Admin]:
    board = Scoreboard.create(
        tmp_path / "scoreboard", Layout(1, 1, len(peers)), supervisor_pid=os.getpid(), started_ns=monotonic_ns()
    )
    listening = socket.create_server(("127.0.0.1", 0))
    ours, theirs = socket_pair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _live(listening, board, peers, theirs, patience_s=patience_s)
    theirs.close()
    exited = os.pidfd_open(pid)
    assert select.select([ours], [], [], PATIENCE_S)[0], "the admin child never became ready"
    assert ReportMessage.decode(receive_message(ours)[0]).report is Report.READY
    yield Admin(pid, listening.getsockname()[1], board, ours, exited)
    if not select.select([exited], [], [], 0)[0]:
        signal.pidfd_send_signal(exited, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.close(exited)
    ours.close()
    listening.close()


def _live(
    listening: socket.socket,
    board: Scoreboard,
    peers: tuple[str, ...],
    channel: socket.socket,
    *,
    patience_s: float,
) -> None:
    code = 99
    try:
        from gateway.admin import Told, serve

        code = serve(
            listening,
            board,
            told=Told({0: "orders"}, dict(enumerate(peers)), ready_when_filled=bool(peers)),
            channel=channel,
            patience_s=patience_s,
        )
    finally:
        os._exit(code)


def make_worker_ready(board: Scoreboard) -> None:
    row = board.row(0)
    row[Cell.PID], row[Cell.STATE] = os.getpid(), ChildState.READY
    row[Cell.BOOTED_NS] = row[Cell.HEARTBEAT_NS] = monotonic_ns()


def test_metrics_are_prometheus_text_with_current_numbers(admin: Admin) -> None:
    admin.board.row(0).add(Cell.SESSIONS_TOTAL, 42)
    status, headers, body = admin.get("/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert families["midmile_sessions"].samples[0].value == 42.0


def test_healthz_gives_the_verdict_and_its_status(admin: Admin) -> None:
    status, headers, body = admin.get("/healthz")
    assert (status, headers["Content-Type"]) == (503, "application/json")
    assert (json.loads(body)["level"], json.loads(body)["reasons"][0]["code"]) == ("dead", "no_worker")
    make_worker_ready(admin.board)
    status, _, body = admin.get("/healthz")
    assert (status, json.loads(body)) == (200, {"ok": True, "level": "well", "reasons": []})


def test_readyz_follows_the_workers_states(admin: Admin) -> None:
    assert admin.get("/readyz")[0] == 503
    make_worker_ready(admin.board)
    assert admin.get("/readyz")[0] == 200
    admin.board.row(0)[Cell.STATE] = ChildState.DRAINING
    status, _, body = admin.get("/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "workers": {"0": "draining"}})
    status, _, body = admin.get("/healthz")
    assert (status, json.loads(body)["level"]) == (200, "degraded")
    assert [reason["code"] for reason in json.loads(body)["reasons"]] == ["draining"]


@pytest.mark.parametrize("peers", [("mumbai", "madrid")])
def test_readyz_may_wait_until_pools_were_filled(admin: Admin) -> None:
    make_worker_ready(admin.board)
    mumbai, madrid = admin.board.links.link(0), admin.board.links.link(1)
    mumbai[LinkCell.STATE], madrid[LinkCell.STATE] = LinkState.UP.number, LinkState.DOWN.number
    status, _, body = admin.get("/readyz")
    assert (status, json.loads(body)["pools"]) == (503, {"mumbai": "up", "madrid": "down"})
    mumbai.add(LinkCell.FILLED_TOTAL)
    status, _, body = admin.get("/readyz")
    assert (status, json.loads(body)["pools"]) == (200, {"mumbai": "filled", "madrid": "down"})


@pytest.mark.parametrize("peers", [("mumbai",)])
def test_metrics_tell_of_each_peer(admin: Admin) -> None:
    admin.board.links.link(0).add(LinkCell.HITS_TOTAL, 42)
    admin.board.links.link(0)[LinkCell.STATE] = LinkState.DOWN.number
    told = admin.get("/metrics")[2]
    assert b'midmile_pool_takes_total{peer="mumbai",result="hit"} 42.0' in told
    assert b'midmile_health_reason{code="peer_down",object="peer mumbai"} 1.0' in told
    objects = {reason["object"] for reason in json.loads(admin.get("/healthz")[2])["reasons"]}
    assert "peer mumbai" in objects


def test_head_answers_like_get_without_the_body(admin: Admin) -> None:
    make_worker_ready(admin.board)
    status, headers, body = admin.get("/healthz", method="HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(len(admin.get("/healthz")[2]))


def test_other_methods_and_paths_are_told_what_there_is(admin: Admin) -> None:
    status, headers, _ = admin.get("/metrics", method="POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    status, _, body = admin.get("/nowhere")
    assert status == 404
    assert b"/metrics" in body
    assert b"/healthz" in body


def test_the_page_is_told_to_keep_to_itself_and_can_only_be_read(admin: Admin) -> None:
    for path, kind in PAGE.items():
        status, headers, body = admin.get(path)
        assert (status, headers["Content-Type"], headers["Content-Length"]) == (200, kind, str(len(body))), path
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in headers["Content-Security-Policy"]
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
        assert "Set-Cookie" not in headers
        assert admin.get(path, method="HEAD")[::2] == (200, b"")
        status, headers, _ = admin.get(path, method="POST")
        assert (status, headers["Allow"], headers["X-Content-Type-Options"]) == (405, "GET, HEAD", "nosniff")


def test_a_page_may_ask_for_what_came_after_a_time_and_nonsense_is_no_time(admin: Admin) -> None:
    for query in ("", "?after=0", "?after=", "?after=-7", "?after=7&after=x", "?after=" + "9" * 5000, "?%ff"):
        status, _, body = admin.get(f"/page.json{query}")
        assert (status, json.loads(body)["incidents"]) == (200, []), query


def test_pages_that_stay_open_and_readers_that_do_not_read_leave_places_for_others(admin: Admin) -> None:
    open_all_day = [http.client.HTTPConnection("127.0.0.1", admin.port, timeout=PATIENCE_S) for _ in range(40)]
    for connection in open_all_day:
        connection.request("GET", "/page.json")
        assert connection.getresponse().getheader("Connection") == "close"
    idle = [socket.create_connection(("127.0.0.1", admin.port), timeout=PATIENCE_S) for _ in range(20)]
    for sock in idle:
        sock.sendall(b"GET /page.json HTTP/1.1\r\nHost: x\r\n\r\n")
    assert admin.get("/metrics")[0] == 200
    for connection in open_all_day:
        connection.close()
    for sock in idle:
        sock.close()


def test_bytes_that_are_no_http_cost_nobody_else_anything(admin: Admin) -> None:
    with socket.create_connection(("127.0.0.1", admin.port), timeout=PATIENCE_S) as rude:
        rude.sendall(b"\x05\x01\x00\r\n\r\n")
        assert rude.recv(4096).startswith(b"HTTP/1.1 400")
    assert admin.get("/metrics")[0] == 200


@pytest.mark.parametrize("patience_s", [0.5])
def test_a_request_that_trickles_in_is_cut_off(admin: Admin) -> None:
    with socket.create_connection(("127.0.0.1", admin.port), timeout=PATIENCE_S) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Never")
        assert slow.recv(4096) == b""


def test_clients_that_say_nothing_take_no_more_than_their_places(admin: Admin) -> None:
    silent = [socket.create_connection(("127.0.0.1", admin.port), timeout=PATIENCE_S) for _ in range(20)]
    assert admin.get("/metrics")[0] == 200
    for sock in silent:
        sock.close()


@pytest.mark.parametrize("order", [Order.STOP, Order.DRAIN])
def test_an_order_ends_it_with_success(admin: Admin, order: Order) -> None:
    send_message(admin.channel, OrderMessage(order, 5.0).encode())
    assert admin.exit_code() == 0


def test_a_supervisor_that_died_ends_it_with_success(admin: Admin) -> None:
    admin.channel.close()
    assert admin.exit_code() == 0


def test_it_tells_its_own_row_that_it_lives(admin: Admin) -> None:
    row = admin.board.admin
    assert (row[Cell.PID], row[Cell.STATE]) == (admin.pid, ChildState.READY)
    first_ns = row[Cell.HEARTBEAT_NS]
    deadline_ns = monotonic_ns() + PATIENCE_S * 10**9
    while row[Cell.HEARTBEAT_NS] == first_ns:
        select.select([admin.exited], [], [], 0.01)
        assert monotonic_ns() < deadline_ns

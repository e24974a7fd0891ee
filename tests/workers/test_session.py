"""Sessions end to end through a real worker: every mode, every way to end, and what the access log says of it."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pools.net.endpoint import Endpoint
from pools.net.orders import Order
from pools.net.scoreboard import Cell
from tests.floor import refusing_address, silent_address
from tests.workers.forked_worker import (
    ForkedWorker,
    Origin,
    forked_worker,
    forward,
    proxy,
    read_all,
    read_exactly,
    reset,
)
from workers.settings import AccessLog, Limits, Listen, LogFormat, Mode, ProxyHeader, Timeouts

GREETING = b"\x05\x01\x00"
CHOSEN = b"\x05\x00"
PATIENT = Timeouts()
IDLE = Timeouts(idle=1.5)  # time enough for a word on a busy machine; each test has one limit that is short
HALF_CLOSED = Timeouts(half_closed=0.3)
NEVER = Timeouts(connect=600)


def socks_request(to: Endpoint) -> bytes:
    return b"\x05\x01\x00\x01" + socket.inet_aton(to.host) + to.port.to_bytes(2)


def connect_request(to: Endpoint) -> bytes:
    return f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode()


@contextmanager
def refusing_endpoint() -> Iterator[Endpoint]:
    with refusing_address() as address:
        yield Endpoint(*address)


@contextmanager
def silent_endpoint() -> Iterator[Endpoint]:
    with silent_address() as address:
        yield Endpoint(*address)


@dataclass
class Ends:
    """Both ends of one session."""

    client: socket.socket
    origin: socket.socket


def both_finish(ends: Ends) -> None:
    ends.client.shutdown(socket.SHUT_WR)
    assert read_all(ends.origin) == (b"", "end")
    ends.origin.shutdown(socket.SHUT_WR)
    assert read_all(ends.client) == (b"", "end")


def client_resets(ends: Ends) -> None:
    reset(ends.client)
    assert read_all(ends.origin) == (b"", "reset")


def origin_resets(ends: Ends) -> None:
    reset(ends.origin)
    assert read_all(ends.client) == (b"", "reset")


def origin_resets_last(ends: Ends) -> None:
    ends.client.shutdown(socket.SHUT_WR)
    assert read_all(ends.origin) == (b"", "end")
    origin_resets(ends)


def client_resets_last(ends: Ends) -> None:
    ends.origin.shutdown(socket.SHUT_WR)
    assert read_all(ends.client) == (b"", "end")
    client_resets(ends)


def nobody_speaks(ends: Ends) -> None:
    assert read_all(ends.client) == read_all(ends.origin) == (b"", "reset")


def origin_never_finishes(ends: Ends) -> None:
    ends.client.shutdown(socket.SHUT_WR)
    assert read_all(ends.origin) == (b"", "end")
    assert read_all(ends.client) == (b"", "reset")


def client_never_finishes(ends: Ends) -> None:
    ends.origin.shutdown(socket.SHUT_WR)
    assert read_all(ends.client) == (b"", "end")
    assert read_all(ends.origin) == (b"", "reset")


@pytest.mark.parametrize(
    ("act", "timeouts", "end", "number"),
    [
        (both_finish, PATIENT, "--", None),
        (client_resets, PATIENT, "CD", "ECONNRESET"),
        (origin_resets, PATIENT, "SD", "ECONNRESET"),
        (client_resets_last, PATIENT, "CL", "ECONNRESET"),
        (origin_resets_last, PATIENT, "SL", "ECONNRESET"),
        (nobody_speaks, IDLE, "cD", None),
        (origin_never_finishes, HALF_CLOSED, "sL", None),
        (client_never_finishes, HALF_CLOSED, "cL", None),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_ends_of_a_connected_session(
    tmp_path: Path, act: Callable[[Ends], None], timeouts: Timeouts, end: str, number: str | None
) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint), timeouts=timeouts) as worker:
        ends = Ends(worker.connect(), origin.accept())
        ends.client.sendall(b"?")  # the kernel connects a leg before the worker hears of it
        assert read_exactly(ends.origin, 1) == b"?"
        act(ends)
        line = worker.logged()
        assert (line["end"], line["errno"]) == (end, number)
        assert (line["listener"], line["destination"]) == ("orders", str(origin.endpoint))
        assert line["connected"] == str(origin.endpoint)
        assert min(line[key] for key in ("handshake_us", "resolve_us", "connect_us", "inbound_rtt_us")) >= 0


def test_a_request_that_never_comes(tmp_path: Path) -> None:
    with forked_worker(tmp_path, proxy(Mode.SOCKS5), timeouts=Timeouts(handshake=1.5)) as worker:
        client = worker.connect()
        client.sendall(GREETING)
        assert read_all(client) == (CHOSEN, "reset")
        assert (line := worker.logged())["end"] == "cR"
        assert (line["errno"], line["destination"], line["handshake_us"]) == ("ETIMEDOUT", None, None)
        worker.wait_for_row(Cell.HANDSHAKE_TIMED_OUT, 1)


def test_a_client_that_ends_before_its_request(tmp_path: Path) -> None:
    with forked_worker(tmp_path, proxy(Mode.SOCKS5)) as worker:
        worker.connect().close()
        assert (line := worker.logged())["end"] == "CR"
        assert line["errno"] is None
        worker.wait_for_row(Cell.NULL_SESSIONS, 1)


@pytest.mark.parametrize(
    ("mode", "bad", "answer"),
    [(Mode.SOCKS5, b"GET / HTTP/1.1\r\n\r\n", b""), (Mode.CONNECT, b"\x16\x03\x01", b"HTTP/1.1 400 ")],
)
def test_a_bad_request_hears_why(tmp_path: Path, mode: Mode, bad: bytes, answer: bytes) -> None:
    with forked_worker(tmp_path, proxy(mode)) as worker:
        client = worker.connect()
        client.sendall(bad)
        data, _ = read_all(client)
        assert data.startswith(answer)
        assert worker.logged()["end"] == "PR"
        worker.wait_for_row(Cell.BAD_REQUESTS, 1)


def test_a_refused_forward_is_reset_at_once(tmp_path: Path) -> None:
    with refusing_endpoint() as target, forked_worker(tmp_path, forward(target)) as worker:
        with pytest.raises(ConnectionResetError):  # perhaps even before connect(2) returns
            worker.connect().recv(1)
        assert (line := worker.logged())["end"] == "SC"
        assert (line["errno"], line["connected"], line["connect_us"]) == ("ECONNREFUSED", None, None)
        worker.wait_for_row(Cell.CONNECT_REFUSED, 1)


def test_a_refused_destination_has_its_code_in_socks_and_http(tmp_path: Path) -> None:
    with refusing_endpoint() as target, forked_worker(tmp_path, proxy(Mode.MIXED)) as worker:
        client = worker.connect()
        client.sendall(GREETING + socks_request(target))
        data, how = read_all(client)
        assert (data[: len(CHOSEN)], data[3], how) == (CHOSEN, 5, "end")
        client = worker.connect()
        client.sendall(connect_request(target))
        data, how = read_all(client)
        assert data.startswith(b"HTTP/1.1 502 ")
        assert (b"ECONNREFUSED" in data, how) == (True, "end")
        assert [worker.logged()["end"] for _ in range(2)] == ["SC", "SC"]


def test_a_destination_that_does_not_answer_is_given_up_in_time(tmp_path: Path) -> None:
    soon = Timeouts(connect=0.4)
    with silent_endpoint() as target, forked_worker(tmp_path, proxy(Mode.MIXED), timeouts=soon) as worker:
        client = worker.connect()
        client.sendall(connect_request(target))
        assert read_all(client)[0].startswith(b"HTTP/1.1 504 ")
        line = worker.logged()
        assert (line["end"], line["errno"]) == ("sC", "ETIMEDOUT")
        worker.wait_for_row(Cell.CONNECT_TIMED_OUT, 1)


def test_a_client_that_leaves_while_its_leg_is_dialled_ends_the_dial(tmp_path: Path) -> None:
    with silent_endpoint() as target, forked_worker(tmp_path, proxy(Mode.SOCKS5), timeouts=NEVER) as worker:
        client = worker.connect()
        client.sendall(GREETING + socks_request(target))
        assert read_exactly(client, 2) == CHOSEN
        reset(client)
        line = worker.logged()
        assert (line["end"], line["errno"]) == ("CC", "ECONNRESET")
        worker.wait_for_row(Cell.RESET_BY_INBOUND, 1)


def test_a_stop_while_a_leg_is_dialled_counts_as_nobodys_failure(tmp_path: Path) -> None:
    with silent_endpoint() as target, forked_worker(tmp_path, forward(target), timeouts=NEVER) as worker:
        client = worker.connect()
        worker.wait_for_row(Cell.SESSIONS, 1)
        worker.order(Order.STOP)
        assert read_all(client) == (b"", "reset")
        assert worker.logged()["end"] == "KC"
        assert worker.end() == 0
        assert (worker.row[Cell.CONNECT_FAILED], worker.row[Cell.NULL_SESSIONS]) == (0, 0)


@pytest.mark.parametrize("speak", ["socks5", "connect"])
@pytest.mark.parametrize("mixed", [False, True])
def test_proxies_carry_a_session_and_what_came_early(tmp_path: Path, speak: str, mixed: bool) -> None:
    with Origin() as origin, forked_worker(tmp_path, proxy(Mode.MIXED if mixed else Mode(speak))) as worker:
        client = worker.connect()
        words = {"socks5": GREETING + socks_request(origin.endpoint), "connect": connect_request(origin.endpoint)}
        client.sendall(words[speak] + b"early")
        accepted = origin.accept()
        assert read_exactly(accepted, 5) == b"early"
        local = accepted.getpeername()
        granted = {
            "socks5": CHOSEN + b"\x05\x00\x00\x01" + socket.inet_aton(local[0]) + local[1].to_bytes(2),
            "connect": b"HTTP/1.1 200 Connection Established\r\n\r\n",
        }
        assert read_exactly(client, len(granted[speak])) == granted[speak]
        client.sendall(b"hello")
        assert read_exactly(accepted, 5) == b"hello"
        accepted.sendall(b"answer")
        assert read_exactly(client, 6) == b"answer"
        both_finish(Ends(client, accepted))
        line = worker.logged()
        assert (line["end"], line["forward_bytes"], line["backward_bytes"]) == ("--", 10, 6)


def test_a_name_is_resolved(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(Endpoint("localhost", origin.endpoint.port))) as worker:
        client = worker.connect()
        both_finish(Ends(client, origin.accept()))
        assert worker.logged()["destination"] == f"localhost:{origin.endpoint.port}"


def test_large_transfers_both_ways_at_once(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8000
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint)) as worker:
        client = worker.connect()
        accepted = origin.accept()
        for _ in range(3):
            client.sendall(data)
            accepted.sendall(data)
            assert read_exactly(accepted, len(data)) == data
            assert read_exactly(client, len(data)) == data
        both_finish(Ends(client, accepted))
        line = worker.logged()
        assert line["forward_bytes"] == line["backward_bytes"] == 3 * len(data)


@pytest.mark.parametrize("version", [ProxyHeader.V1, ProxyHeader.V2])
def test_the_destination_hears_who_the_client_is(tmp_path: Path, version: ProxyHeader) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint, send_proxy=version)) as worker:
        client = worker.connect()
        client.sendall(b"payload")
        accepted = origin.accept()
        ends = client.getsockname(), client.getpeername()
        v1 = f"PROXY TCP4 {ends[0][0]} {ends[1][0]} {ends[0][1]} {ends[1][1]}\r\n".encode()
        v2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"".join(
            [*(socket.inet_aton(end[0]) for end in ends), *(end[1].to_bytes(2) for end in ends)]
        )
        header = v1 if version is ProxyHeader.V1 else v2
        assert read_exactly(accepted, len(header) + 7) == header + b"payload"
        both_finish(Ends(client, accepted))


def test_a_proxied_client_is_known_by_its_own_name_and_passed_on(tmp_path: Path) -> None:
    with Origin() as origin:
        listen = forward(origin.endpoint, accept_proxy=True, send_proxy=ProxyHeader.V1)
        with forked_worker(tmp_path, listen) as worker:
            client = worker.connect()
            client.sendall(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\npay")
            accepted = origin.accept()
            header = f"PROXY TCP4 192.0.2.7 127.0.0.1 4711 {worker.addresses[0][1]}\r\n".encode()
            assert read_exactly(accepted, len(header) + 3) == header + b"pay"
            both_finish(Ends(client, accepted))
            assert worker.logged()["proxied_client"] == "192.0.2.7:4711"


def test_a_header_that_was_expected_and_did_not_come_is_refused(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint, accept_proxy=True)) as worker:
        client = worker.connect()
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_all(client)[0] == b""
        assert worker.logged()["end"] == "PR"


def test_a_proxy_header_before_socks(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, proxy(Mode.SOCKS5, accept_proxy=True)) as worker:
        client = worker.connect()
        header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
        client.sendall(header + GREETING + socks_request(origin.endpoint))
        accepted = origin.accept()
        assert read_exactly(client, 12)[3] == 0
        both_finish(Ends(client, accepted))


def test_a_source_at_its_limit_is_reset_until_one_of_its_sessions_ends(tmp_path: Path) -> None:
    limits = Limits(sessions_per_source=1)
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint), limits=limits) as worker:
        first = Ends(worker.connect(), origin.accept())
        with pytest.raises(ConnectionResetError):
            worker.connect().recv(1)
        worker.wait_for_row(Cell.SOURCE_REFUSED, 1)
        both_finish(first)
        worker.logged()
        both_finish(Ends(worker.connect(), origin.accept()))


def test_text_log_lines(tmp_path: Path) -> None:
    log = AccessLog(True, LogFormat.TEXT)
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint), access_log=log) as worker:
        both_finish(Ends(worker.connect(), origin.accept()))
        worker.wait_for(r"0-1 orders 127\.0\.0\.1:\d+ - \S+ \S+ -- - us=[\d/]+ bytes=0/0")


def test_no_log_lines_when_none_are_wanted(tmp_path: Path) -> None:
    with Origin() as origin, forked_worker(tmp_path, forward(origin.endpoint), access_log=AccessLog(False)) as worker:
        both_finish(Ends(worker.connect(), origin.accept()))
        worker.order(Order.STOP)
        assert worker.end() == 0
        assert worker.rest() == ""


def test_ipv6(tmp_path: Path) -> None:
    with Origin() as origin:
        listen = Listen("six", Endpoint("::1", 0), Mode.FORWARD, origin.endpoint)
        with forked_worker(tmp_path, listen) as worker:
            client = worker.connect()
            both_finish(Ends(client, origin.accept()))
            assert worker.logged()["client"].startswith("[::1]:")


def test_sessions_of_two_listeners_do_not_meet(tmp_path: Path) -> None:
    def speak(worker: ForkedWorker, listener: int, origin: Origin) -> Ends:
        ends = Ends(worker.connect(listener), origin.accept())
        ends.client.sendall(b"%d" % listener)
        assert read_exactly(ends.origin, 1) == b"%d" % listener
        return ends

    with Origin() as one, Origin() as two:
        listens = forward(one.endpoint), forward(two.endpoint)
        with forked_worker(tmp_path, *listens) as worker:
            for ends in [speak(worker, 0, one), speak(worker, 1, two)]:
                both_finish(ends)

"""The admin child: metrics, health and a page over HTTP, in a process of its own so that no session waits for them.

Only a forked child imports this module: it loads gevent. What it tells is judged in gateway.health, named in
gateway.metrics and shown by gateway.page; it answers GET and HEAD, changes nothing, and knows no session.
"""

import json
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import gevent
from gevent import socket as gevent_socket
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from gateway import health, metrics
from gateway.exit_codes import ExitCode
from gateway.page import assets
from gateway.page.facts import UNTOLD, Facts
from gateway.page.live import INTERVAL_S, Live
from gateway.processes import Processes
from gateway.reasons import Thresholds, Verdict
from gateway.status import GatewayStatus, read
from pools.net.clock import monotonic_ns
from pools.net.errors import ProtocolError
from pools.net.fd_passing import ChannelError, close_all, receive_message, send_message
from pools.net.orders import Order, OrderMessage, Report, ReportMessage
from pools.net.scoreboard import Cell, ChildState, Row, Scoreboard

_CONNECTIONS_MAX: Final = 32
_PATIENCE_S: Final = 10.0
_HEARTBEAT_S: Final = 0.25
_STOP_S: Final = 1.0  # for answers under way
_LAST_ORDERS: Final = frozenset({Order.STOP, Order.DRAIN})
_HELP: Final = b"Midmile admin: / for people, /metrics for Prometheus, /healthz for liveness, /readyz for readiness\n"
_DIGITS_MAX: Final = 15  # of a time in milliseconds
_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer.

    Attributes:
        allow: methods to name in an Allow header; empty for none.
        ends: close the connection. Pages that are open all day come back for each answer, and hold no place meanwhile.
    """

    status: HTTPStatus
    body: bytes
    type: str = _TEXT
    allow: str = ""
    ends: bool = False

    def headers(self) -> list[tuple[str, str]]:
        """Give its headers."""
        found = [("Content-Type", self.type), ("Content-Length", str(len(self.body))), *assets.HEADERS]
        return found + [("Allow", self.allow)] * bool(self.allow) + [("Connection", "close")] * self.ends


@dataclass(frozen=True, slots=True)
class Told:
    """What the pages need and the scoreboard does not hold.

    Attributes:
        listeners: names by their number on the scoreboard, in the configuration's order.
        peers: likewise.
        ready_when_filled: readiness waits for idle legs to the peers.
        health: from where on the gateway is degraded.
        page: what the page shows of the configuration.
    """

    listeners: Mapping[int, str]
    peers: Mapping[int, str] = field(default_factory=dict)
    ready_when_filled: bool = False
    health: Thresholds = health.USUAL
    page: Facts = UNTOLD


class Pages:
    """What each path answers. Knows HTTP's words and no socket.

    Args:
        scoreboard: read anew for each answer.

    Attributes:
        live: what the page shows; its counters are to be taken each INTERVAL_S.
    """

    def __init__(self, scoreboard: Scoreboard, told: Told) -> None:
        self._scoreboard = scoreboard
        self._told = told
        self.live = Live(scoreboard, told.page, judge=self._judge)
        self._processes = Processes()
        self._collector = metrics.ScoreboardCollector(scoreboard, told.listeners, told.peers, judge=self._judge)
        self._pages: dict[str, Callable[[str], Answer]] = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/page.json": self._page,
        }
        self._pages |= {path: _constant(asset) for path, asset in assets.load().items()}

    def answer(self, method: str, path: str, query: str = "") -> Answer:
        """Answer a request; HEAD gets GET's answer, of which the server sends the headers alone."""
        page = self._pages.get(path)
        if page is None:
            return Answer(HTTPStatus.NOT_FOUND, _HELP)
        if method not in {"GET", "HEAD"}:
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD only\n", allow="GET, HEAD")
        return page(query)

    def _metrics(self, _query: str) -> Answer:
        return Answer(HTTPStatus.OK, metrics.render(self._collector), _PROMETHEUS)

    def _healthz(self, _query: str) -> Answer:
        verdict = self._judge(self._status())
        return _json_answer(verdict.as_dict(), well=verdict.ok)

    def _readyz(self, _query: str) -> Answer:
        status = self._status()
        states = {str(worker.slot): worker.state.name.lower() for worker in status.workers}
        ready = health.is_ready(status, when_filled=self._told.ready_when_filled)
        return _json_answer({"ready": ready, "workers": states} | self._pools(status), well=ready)

    def _pools(self, status: GatewayStatus) -> dict[str, Any]:
        """Say of each peer whether its pool was filled, where readiness depends on that."""
        if not self._told.ready_when_filled:
            return {}
        links = [(self._told.peers.get(link.number), link) for link in status.links]
        return {"pools": {name: "filled" if link.was_filled else link.state.value for name, link in links if name}}

    def _page(self, query: str) -> Answer:
        document = self.live.document(after_ms=_after_ms(query), now_ns=monotonic_ns())
        return Answer(HTTPStatus.OK, json.dumps(document, separators=(",", ":")).encode(), _JSON, ends=True)

    def _judge(self, status: GatewayStatus) -> Verdict:
        return health.judge(status, self._told.health, peers=self._told.peers)

    def _status(self) -> GatewayStatus:
        return read(self._scoreboard, self._processes, now_ns=monotonic_ns())


class _Handler(WSGIHandler):  # type: ignore[misc]  # gevent ships no types
    """pywsgi's handler with an end to patience: a request that trickles in is cut off."""

    def handle_one_request(self) -> Any:
        with gevent.Timeout(self.server.patience_s, False):
            return super().handle_one_request()
        return None  # too slow, or a connection kept open without a request: pywsgi closes it


def serve(
    listening: socket.socket,
    scoreboard: Scoreboard,
    *,
    told: Told,
    channel: socket.socket,
    patience_s: float = _PATIENCE_S,
) -> int:
    """Spend the admin child's life: answer until the supervisor says stop, drain, or nothing any more.

    Args:
        listening: bound and listening; stays the caller's.
        scoreboard: has this child's own row among the others.
        channel: SOCK_SEQPACKET to the supervisor, non-blocking.
        patience_s: for a whole request and its answer, and for the next one on the same connection.

    Returns:
        The exit code.
    """
    row = scoreboard.admin
    row[Cell.PID] = os.getpid()
    row[Cell.BOOTED_NS] = row[Cell.HEARTBEAT_NS] = monotonic_ns()  # before READY: who is ready has been heard of
    pages = Pages(scoreboard, told)
    server = _server(listening, pages)
    server.patience_s = patience_s
    ended = Event()
    server.start()
    helpers = [gevent.spawn(_beat, row), gevent.spawn(_hear, channel, ended), gevent.spawn(_take_counters, pages.live)]
    row[Cell.STATE] = ChildState.READY
    _report_ready(channel, ended)
    ended.wait()
    row[Cell.STATE] = ChildState.DRAINING
    server.stop(timeout=_STOP_S)
    gevent.killall(helpers)
    return ExitCode.OK


def _server(listening: socket.socket, pages: Pages) -> Any:
    own = gevent_socket.socket(fileno=os.dup(listening.fileno()))  # gevent's server closes what it is given
    return WSGIServer(
        own,
        application=_application(pages),
        handler_class=_Handler,
        spawn=Pool(_CONNECTIONS_MAX),
        log=None,
        error_log=_log,
    )


def _application(pages: Pages) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = pages.answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"])
        start_response(f"{answer.status.value} {answer.status.phrase}", answer.headers())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    return application


def _json_answer(facts: dict[str, Any], *, well: bool) -> Answer:
    status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(status, json.dumps(facts).encode() + b"\n", _JSON)


def _constant(asset: assets.Asset) -> Callable[[str], Answer]:
    answer = Answer(HTTPStatus.OK, asset.body, asset.type, ends=True)
    return lambda _query: answer


def _after_ms(query: str) -> int:
    """Give the time that a page has all points up to; -1 for one that has none, or says nonsense."""
    found = parse_qs(query).get("after", [""])[-1]
    return int(found) if found.isascii() and found.isdigit() and len(found) <= _DIGITS_MAX else -1


def _take_counters(live: Live) -> None:
    while True:
        try:
            live.turn(monotonic_ns())
        except Exception:  # noqa: BLE001  # a loop that must live: what is wrong with one look may be right at the next
            _log.exception("the page's counters could not be taken; trying again in %g s", INTERVAL_S)
        gevent.sleep(INTERVAL_S)


def _beat(row: Row) -> None:
    due_ns = monotonic_ns()
    while True:
        now_ns = monotonic_ns()
        row.beat(now_ns, due_ns=due_ns)
        due_ns = now_ns + int(_HEARTBEAT_S * 1e9)
        gevent.sleep(_HEARTBEAT_S)


def _report_ready(channel: socket.socket, ended: Event) -> None:
    try:
        send_message(channel, ReportMessage(Report.READY).encode())
    except ChannelError:  # the supervisor died before we began
        ended.set()


def _hear(channel: socket.socket, ended: Event) -> None:
    """Wait for the order that ends us; a supervisor that is gone, or talks nonsense, gives it too."""
    try:
        while (order := _next_order(channel)) and order not in _LAST_ORDERS:
            _log.debug("order %s is not for the admin child", order)
    except (ChannelError, ProtocolError) as error:
        _log.error("the channel to the supervisor is broken, so this child ends: %s", error)
    ended.set()


def _next_order(channel: socket.socket) -> Order | None:
    while True:
        try:
            payload, descriptors = receive_message(channel)
        except BlockingIOError:
            gevent_socket.wait_read(channel.fileno())
            continue
        close_all(descriptors)
        return OrderMessage.decode(payload).order if payload else None

"""The scoreboard in Prometheus's words: names, units, labels. Serving them is gateway.admin's.

Names follow Prometheus's own practice: prefix, base units, `_total` for what only grows. Totals are sums over all
rows; a row outlives its process, so they stay monotonic when a worker is replaced. Per worker there is only what says
which worker is ill.
"""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway import health, link_metrics, release
from gateway.listener_status import summed
from gateway.processes import Processes
from gateway.reasons import Level, Verdict
from gateway.status import ChildStatus, GatewayStatus, read
from pools.net.clock import monotonic_ns
from pools.net.scoreboard import Cell, ChildState, ListenCell, Scoreboard


@dataclass(frozen=True, slots=True)
class Family:
    """One metric, which several cells may share under different labels.

    Attributes:
        name: without `_total`, which Prometheus's client adds to counters.
        label: what tells its cells apart; empty where it has but one.
    """

    name: str
    help: str
    label: str = ""


_SESSIONS = Family("midmile_sessions", "Sessions accepted.")
_BYTES = Family("midmile_relayed_bytes", "Bytes relayed; forward is from the inbound to the outbound leg.", "direction")
_MOVED = Family("midmile_moved_bytes", "Bytes relayed, by how they were moved.", "how")
_FAILED = Family("midmile_sessions_failed", "Sessions that did not end in order, by reason.", "reason")
_ACCEPT_ERRORS = Family("midmile_accept_errors", "Calls of accept that failed.")
_ACCEPT_PAUSES = Family("midmile_accept_pauses", "Times that a worker stopped accepting for want of room.")
_RETRIES = Family("midmile_connect_retries", "Further addresses tried after one failed.")
_LOOKUPS = Family("midmile_name_lookups_failed", "Names asked for in vain; an answer from before may have served.")
_RESTARTS = Family("midmile_child_restarts", "Children replaced because they died or hung.")
_OPENS = Family("midmile_overlay_opens", "Sessions that peers asked for, refused ones too.")
_OPENS_REFUSED = Family(
    "midmile_overlay_opens_refused", "Sessions that peers asked for and this gateway's own rules refused."
)
_OPEN_RETRIES = Family("midmile_open_retries", "Sessions begun again on another leg or path.")
_LEGS_ACCEPTED = Family("midmile_overlay_legs_accepted", "Legs accepted from peers that proved themselves.")
_LEGS_STALE = Family("midmile_pool_legs_stale", "Pool legs found dead when a session was opened on them.")
_STRANGERS = Family("midmile_overlay_strangers", "Connections to the overlay that did not prove themselves in time.")
_PEER_ERRORS = Family("midmile_overlay_protocol_errors", "Legs closed because the peer broke the protocol.")
_SYNS = Family("midmile_syns_captured", "SYNs seen before their connections could be accepted.")
_SYNS_LOST = Family("midmile_syns_lost", "SYNs for the capture that the kernel dropped, not being read in time.")
_EARLY = Family("midmile_early_syn_sessions", "Sessions begun at a SYN.")
_EARLY_ENDED = Family("midmile_early_syn_ended", "Sessions begun at a SYN, by what became of that.", "how")
_EARLY_SKIPPED = Family("midmile_early_syn_skipped", "SYNs at which nothing was begun because of a limit.")
_EARLY_PAUSES = Family("midmile_early_syn_pauses", "Times that SYNs were too many to be looked at for a while.")
_PRECONNECT_TAKES = Family(
    "midmile_preconnect_takes", "Sessions to a destination that connections are kept ready to.", "result"
)
_PRECONNECT_DIALLED = Family("midmile_preconnect_dialled", "Connections made to be kept ready.")
_PRECONNECT_FAILED = Family("midmile_preconnect_dials_failed", "Attempts that made no connection to be kept ready.")
_PRECONNECT_CLOSED = Family("midmile_preconnect_closed", "Connections kept ready that nobody used before their end.")
_DROPPED = Family("midmile_log_lines_dropped", "Access log lines that nobody read in time.")

TOTALS: Final[Mapping[Cell, tuple[Family, str]]] = {
    Cell.SESSIONS_TOTAL: (_SESSIONS, ""),
    Cell.FORWARD_BYTES: (_BYTES, "forward"),
    Cell.BACKWARD_BYTES: (_BYTES, "backward"),
    Cell.SPLICED_BYTES: (_MOVED, "splice"),
    Cell.COPIED_BYTES: (_MOVED, "copy"),
    Cell.ACCEPT_ERRORS: (_ACCEPT_ERRORS, ""),
    Cell.ACCEPT_PAUSES: (_ACCEPT_PAUSES, ""),
    Cell.SOURCE_REFUSED: (_FAILED, "source_limit"),
    Cell.BAD_REQUESTS: (_FAILED, "bad_request"),
    Cell.AUTH_FAILED: (_FAILED, "authentication"),
    Cell.NOT_CAPTURED: (_FAILED, "not_captured"),
    Cell.CONNECT_REFUSED: (_FAILED, "connect_refused"),
    Cell.CONNECT_TIMED_OUT: (_FAILED, "connect_timeout"),
    Cell.CONNECT_UNREACHABLE: (_FAILED, "connect_unreachable"),
    Cell.CONNECT_FAILED: (_FAILED, "connect_other"),
    Cell.RESOLVE_FAILED: (_FAILED, "resolve"),
    Cell.HANDSHAKE_TIMED_OUT: (_FAILED, "handshake_timeout"),
    Cell.IDLE_TIMED_OUT: (_FAILED, "idle_timeout"),
    Cell.HALF_CLOSED_TIMED_OUT: (_FAILED, "half_closed_timeout"),
    Cell.RESET_BY_INBOUND: (_FAILED, "reset_by_inbound"),
    Cell.RESET_BY_OUTBOUND: (_FAILED, "reset_by_outbound"),
    Cell.NULL_SESSIONS: (_FAILED, "closed_without_request"),
    Cell.INTERNAL_ERRORS: (_FAILED, "internal_error"),
    Cell.LOG_LINES_DROPPED: (_DROPPED, ""),
    Cell.RESTARTS: (_RESTARTS, ""),
    Cell.RETRIES: (_RETRIES, ""),
    Cell.LOOKUPS_FAILED: (_LOOKUPS, ""),
    Cell.LEGS_ACCEPTED: (_LEGS_ACCEPTED, ""),
    Cell.OPENS: (_OPENS, ""),
    Cell.OPENS_REFUSED: (_OPENS_REFUSED, ""),
    Cell.OPEN_RETRIES: (_OPEN_RETRIES, ""),
    Cell.LEGS_STALE: (_LEGS_STALE, ""),
    Cell.STRANGERS: (_STRANGERS, ""),
    Cell.PEER_PROTOCOL_ERRORS: (_PEER_ERRORS, ""),
    Cell.SYNS_SEEN: (_SYNS, ""),
    Cell.SYNS_LOST: (_SYNS_LOST, ""),
    Cell.EARLY_STARTED: (_EARLY, ""),
    Cell.EARLY_JOINED: (_EARLY_ENDED, "joined"),
    Cell.EARLY_CANCELLED: (_EARLY_ENDED, "cancelled"),
    Cell.EARLY_FAILED: (_EARLY_ENDED, "failed"),
    Cell.EARLY_SKIPPED: (_EARLY_SKIPPED, ""),
    Cell.EARLY_PAUSES: (_EARLY_PAUSES, ""),
    Cell.PRECONNECT_HITS: (_PRECONNECT_TAKES, "hit"),
    Cell.PRECONNECT_MISSES: (_PRECONNECT_TAKES, "miss"),
    Cell.PRECONNECT_DIALLED: (_PRECONNECT_DIALLED, ""),
    Cell.PRECONNECT_FAILED: (_PRECONNECT_FAILED, ""),
    Cell.PRECONNECT_CLOSED: (_PRECONNECT_CLOSED, ""),
}
"""Every total of the scoreboard, its metric, and its label's value there."""

GAUGES: Final[Mapping[Cell, Family]] = {
    Cell.SESSIONS: Family("midmile_sessions_open", "Live sessions."),
    Cell.SESSIONS_LIMIT: Family("midmile_sessions_limit", "Live sessions at which accepting pauses."),
    Cell.CONNECTING: Family("midmile_sessions_connecting", "Sessions being set up."),
    Cell.GREENLETS: Family("midmile_greenlets", "Greenlets that exist."),
    Cell.GREENLETS_IDLE: Family("midmile_greenlets_idle", "Greenlets that wait to be used again."),
    Cell.PIPES: Family("midmile_pipes", "Pipes that pumps hold now."),
    Cell.ACCEPT_PAUSED: Family("midmile_workers_paused", "Workers that take no new sessions for want of room."),
    Cell.LEGS_INBOUND: Family("midmile_overlay_legs", "Legs of peers that workers accepted and hold."),
    Cell.EARLY_PENDING: Family("midmile_early_syn_pending", "Sessions begun at a SYN and not accepted yet."),
    Cell.PRECONNECT_IDLE: Family("midmile_preconnect_idle", "Connections kept ready to destinations."),
}
"""Gauges that are summed over all workers."""

LISTENER_TOTALS: Final[Mapping[ListenCell, tuple[Family, str]]] = {
    ListenCell.SESSIONS_TOTAL: (Family("midmile_listener_sessions", "Sessions accepted, by listener."), ""),
    ListenCell.FORWARD_BYTES: (
        _LISTENER_BYTES := Family("midmile_listener_relayed_bytes", "Bytes relayed, by listener.", "direction"),
        "forward",
    ),
    ListenCell.BACKWARD_BYTES: (_LISTENER_BYTES, "backward"),
    ListenCell.FAILED: (Family("midmile_listener_sessions_failed", "Sessions without a relay, by listener."), ""),
}
"""Every total that is kept for each listener."""


_NOBODY: Final[Mapping[int, str]] = MappingProxyType({})


class ScoreboardCollector(Collector):
    """Reads the scoreboard and the kernel anew each time Prometheus asks.

    Args:
        scoreboard: read anew each time.
        listeners: names by their number on the scoreboard.
        peers: likewise.
        judge: gives the verdict that /healthz gives, too.
    """

    def __init__(
        self,
        scoreboard: Scoreboard,
        listeners: Mapping[int, str],
        peers: Mapping[int, str] = _NOBODY,
        *,
        judge: Callable[[GatewayStatus], Verdict] = health.judge,
    ) -> None:
        self._judge = judge
        self._scoreboard = scoreboard
        self._listeners = listeners
        self._peers = peers
        self._processes = Processes()
        started_ago_s = (monotonic_ns() - scoreboard.started_ns) / 1e9
        self._started_s = round(time.time() - started_ago_s, 3)

    def collect(self) -> Iterator[Metric]:
        """Give every metric with its current values."""
        status = read(self._scoreboard, self._processes, now_ns=monotonic_ns())
        yield from self._about_gateway(status)
        yield from _about_health(self._judge(status))
        yield from _totals({cell: (*at, self._sum(cell)) for cell, at in TOTALS.items()}.values())
        yield from (GaugeMetricFamily(at.name, at.help, value=self._sum(cell)) for cell, at in GAUGES.items())
        yield from self._about_listeners()
        yield from _about_workers(status.workers)
        if self._peers:
            yield from _about_broker(status.broker)
            yield from link_metrics.collect(self._scoreboard.links, self._peers)

    def describe(self) -> list[Metric]:
        """Name nothing in advance, which spares the registry a reading."""
        return []

    def _sum(self, cell: Cell) -> int:
        return sum(self._scoreboard.row(index)[cell] for index in range(self._scoreboard.rows))

    def _about_gateway(self, status: GatewayStatus) -> Iterator[Metric]:
        build = GaugeMetricFamily("midmile_build_info", "What runs; always 1.", labels=["version", "python"])
        build.add_metric([release.version(), platform.python_version()], 1)
        yield build
        yield GaugeMetricFamily("midmile_start_time_seconds", "When the supervisor started.", value=self._started_s)
        alive = float(status.is_supervisor_alive)
        yield GaugeMetricFamily("midmile_supervisor_up", "1 while the supervisor runs.", value=alive)
        yield from self._about_configuration(status)

    def _about_configuration(self, status: GatewayStatus) -> Iterator[Metric]:
        taken_s = (self._scoreboard.reloaded_ns - self._scoreboard.started_ns) / 1e9
        yield GaugeMetricFamily(
            "midmile_config_generation",
            "Number of the configuration that holds.",
            value=status.config_generation,
        )
        yield GaugeMetricFamily(
            "midmile_config_last_reload_successful",
            "0 after a reload that changed nothing because it could not be done.",
            value=float(not status.reload_failed),
        )
        yield GaugeMetricFamily(
            "midmile_config_last_reload_success_timestamp_seconds",
            "When the configuration that holds was taken.",
            value=round(self._started_s + taken_s, 3),
        )

    def _about_listeners(self) -> Iterator[Metric]:
        live = GaugeMetricFamily("midmile_listener_sessions_open", "Live sessions, by listener.", labels=["listener"])
        families: dict[str, CounterMetricFamily] = {}
        for number, name in self._listeners.items():
            live.add_metric([name], summed(self._scoreboard, number, ListenCell.SESSIONS))
            for cell, (family, value) in LISTENER_TOTALS.items():
                labels = ["listener", family.label] if family.label else ["listener"]
                at = families.setdefault(family.name, CounterMetricFamily(family.name, family.help, labels=labels))
                at.add_metric([name, value][: len(labels)], summed(self._scoreboard, number, cell))
        yield live
        yield from families.values()


def render(collector: ScoreboardCollector) -> bytes:
    """Give everything as Prometheus's text format 0.0.4, without the metrics of the process that asks."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)


def _about_health(verdict: Verdict) -> Iterator[Metric]:
    number = tuple(Level).index(verdict.level)
    yield GaugeMetricFamily("midmile_health_level", "How the gateway is: 0 well, 1 degraded, 2 dead.", value=number)
    reasons = GaugeMetricFamily(
        "midmile_health_reason", "1 for each reason why the gateway is not well.", labels=["code", "object"]
    )
    for reason in verdict.reasons:
        reasons.add_metric([reason.code.value, reason.of], 1)
    yield reasons


def _totals(samples: Iterable[tuple[Family, str, int]]) -> Iterator[Metric]:
    families: dict[str, CounterMetricFamily] = {}
    for family, value, number in samples:
        labels = [family.label] if family.label else []
        at = families.setdefault(family.name, CounterMetricFamily(family.name, family.help, labels=labels))
        at.add_metric([value] if labels else [], number)
    return iter(families.values())


def _about_workers(workers: Sequence[ChildStatus]) -> Iterator[Metric]:
    yield _per_worker("up", "1 while it accepts.", {w.slot: w.state is ChildState.READY for w in workers})
    yield _per_worker("sessions_open", "Live sessions.", {w.slot: w.sessions for w in workers})
    yield _per_worker(
        "loop_lag_seconds",
        "How late its loop is, smoothed over some ten seconds.",
        {w.slot: w.loop_lag_lately_us / 1e6 for w in workers},
    )
    yield _per_worker("heartbeat_age_seconds", "Since its loop turned.", {w.slot: w.heartbeat_age_s for w in workers})
    yield _per_worker("resident_memory_bytes", "Resident memory.", {w.slot: w.rss_bytes for w in workers})
    yield _per_worker("open_fds", "Open descriptors.", {w.slot: w.descriptors for w in workers})
    yield _per_worker("max_fds", "Descriptors it may open.", {w.slot: w.descriptors_limit for w in workers})
    cpu = CounterMetricFamily("midmile_worker_cpu_seconds", "Processor time of its process.", labels=["worker"])
    for worker in workers:
        if worker.cpu_s is not None:
            cpu.add_metric([str(worker.slot)], worker.cpu_s)
    yield cpu


def _about_broker(broker: ChildStatus) -> Iterator[Metric]:
    up = float(broker.state is ChildState.READY)
    yield GaugeMetricFamily("midmile_broker_up", "1 while the process that keeps pools filled is ready.", value=up)
    age = GaugeMetricFamily("midmile_broker_heartbeat_age_seconds", "Since the broker's loop turned.")
    if broker.heartbeat_age_s is not None:
        age.add_metric([], broker.heartbeat_age_s)
    yield age


def _per_worker(name: str, help: str, values: Mapping[int, float | None]) -> Metric:
    gauge = GaugeMetricFamily(f"midmile_worker_{name}", help, labels=["worker"])
    for slot, value in values.items():
        if value is not None:
            gauge.add_metric([str(slot)], float(value))
    return gauge

"""Whether the gateway is well: a judgement of gateway.status's numbers. Reads nothing itself.

`gateway health`, /healthz and the metrics give the same verdict of one look: what takes time to be told apart from
chance (a loop that is late, sessions that find no leg) is kept on the scoreboard by who counts it, over a time that is
long enough. So asking often is cheap and changes nothing.

A degraded gateway still serves, so it counts as able: killing it would cost the sessions it carries. That holds for
one that drains in order, too, which takes no new ones: newcomers are steered by `is_ready`.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from gateway.link_status import LinkStatus
from gateway.reasons import Code, Reason, Thresholds, Verdict
from gateway.status import ChildStatus, GatewayStatus
from pools.link_health import LinkState
from pools.net.scoreboard import ChildState

USUAL: Final = Thresholds()
NAMELESS: Final[Mapping[int, str]] = MappingProxyType({})

_TAKES_MIN: Final = 20
"""Sessions of the last minute below which a hit rate is chance."""


def judge(status: GatewayStatus, thresholds: Thresholds = USUAL, *, peers: Mapping[int, str] = NAMELESS) -> Verdict:
    """Judge how the gateway is.

    Args:
        peers: names by number; one without is spoken of by its number.
    """
    return Verdict((*_fatal(status), *_minor(status, thresholds, peers)))


def judge_as_told(status: GatewayStatus, told: Mapping[str, Any], *, is_answering: bool) -> Verdict:
    """Judge how the gateway is by what its supervisor told: its own thresholds, and the names of its peers.

    Args:
        told: its answer, see `gateway.answers`; an old one or an empty one where it does not answer.
        is_answering: it answered just now; otherwise that is a reason, too.
    """
    names = {peer.get("number", place): peer["name"] for place, peer in enumerate(told.get("peers", ()))}
    verdict = judge(status, Thresholds.of(told.get("health", {})), peers=names)
    if is_answering or not status.is_supervisor_alive:
        return verdict
    silent = Reason(Code.SUPERVISOR_SILENT, "supervisor", "the supervisor does not answer, so nobody is replaced")
    return Verdict((*verdict.reasons, silent))


def is_ready(status: GatewayStatus, *, when_filled: bool = False) -> bool:
    """Tell whether every worker accepts: false before the start is complete and as soon as a drain begins.

    Args:
        when_filled: not before each peer that is not down has once had pool_min idle legs.
    """
    wanted = _wanted(status)
    accepts = status.is_supervisor_alive and bool(wanted) and all(each.state is ChildState.READY for each in wanted)
    return accepts and not (when_filled and any(map(_is_to_be_filled, status.links)))


def _is_to_be_filled(link: LinkStatus) -> bool:
    return link.state is not LinkState.DOWN and not link.was_filled


def _fatal(status: GatewayStatus) -> Iterator[Reason]:
    if not status.is_supervisor_alive:
        text = f"the supervisor, process {status.supervisor_pid}, is gone"
        yield Reason(Code.SUPERVISOR_GONE, "supervisor", text)
    if not any(_turns(worker, status) for worker in _wanted(status)):
        yield Reason(Code.NO_WORKER, "gateway", "no worker takes new sessions", 0, 1, "workers")


def _minor(status: GatewayStatus, thresholds: Thresholds, peers: Mapping[int, str]) -> Iterator[Reason]:
    if _drains(status):
        yield Reason(Code.DRAINING, "gateway", "it takes no new sessions, and lets the others end")
    if status.reload_failed:
        age_s = status.reloaded_age_s
        text = f"the last reload failed, so the configuration of {age_s:.0f} s ago holds; its number is"
        yield Reason(Code.RELOAD_FAILED, "gateway", f"{text} {status.config_generation}", age_s, unit="s")
    for worker in status.workers:
        yield from _of_worker(worker, status, thresholds)
    if status.links:
        yield from _of_broker(status, thresholds)
    for link in status.links:
        yield from _of_link(link, thresholds, peers.get(link.number, str(link.number)))
    if status.admin.state is not ChildState.ABSENT:
        yield from _of_heartbeat(Code.ADMIN_SILENT, "admin", status.admin, status.heartbeat_limit_s)
    yield from _of_memory(status, thresholds)


def _wanted(status: GatewayStatus) -> list[ChildStatus]:
    """Give the workers that are to take new sessions: a reload may let others retire."""
    return [worker for worker in status.workers if not worker.retires]


def _turns(worker: ChildStatus, status: GatewayStatus) -> bool:
    """Tell whether a worker does what it was told: takes new sessions, or sees the last ones out."""
    is_at_work = worker.state in (ChildState.READY, ChildState.DRAINING)
    return is_at_work and not _is_silent(worker, status.heartbeat_limit_s)


def _drains(status: GatewayStatus) -> bool:
    """Tell whether the gateway drains: the order goes to all workers, and those that are done are gone."""
    states = {worker.state for worker in _wanted(status)}
    return ChildState.DRAINING in states and states <= {ChildState.DRAINING, ChildState.ABSENT}


def _of_worker(worker: ChildStatus, status: GatewayStatus, thresholds: Thresholds) -> Iterator[Reason]:
    name = f"worker {worker.slot}"
    if not worker.retires and not _drains(status):
        yield from _of_life(worker, name)
        yield from _of_successor(Code.WORKER_REPLACED, name, worker, thresholds)
        yield from _of_room(worker, name, thresholds)
    yield from _of_heartbeat(Code.WORKER_SILENT, name, worker, status.heartbeat_limit_s)
    lag_s = worker.loop_lag_lately_us / 1e6
    if lag_s > thresholds.loop_lag:
        text = f"{name} has a loop that is {lag_s:.3g} s late"
        yield Reason(Code.WORKER_LAGGING, name, text, lag_s, thresholds.loop_lag, "s")
    yield from _of_descriptors(worker, name, thresholds)


def _of_life(worker: ChildStatus, name: str) -> Iterator[Reason]:
    if worker.state is ChildState.ABSENT:
        yield Reason(Code.WORKER_MISSING, name, f"{name} is absent")
    elif worker.state is not ChildState.READY:
        yield Reason(Code.WORKER_NOT_READY, name, f"{name} is {worker.state.name.lower()}")


def _of_successor(code: Code, name: str, child: ChildStatus, thresholds: Thresholds) -> Iterator[Reason]:
    ago_s = child.restarted_ago_s
    if ago_s is not None and ago_s < thresholds.replaced:
        text = (
            f"{_spoken(name)} died or hung {ago_s:.0f} s ago and was replaced, {child.restarts} times since the start"
        )
        yield Reason(code, name, text, ago_s, thresholds.replaced, "s")


def _of_room(worker: ChildStatus, name: str, thresholds: Thresholds) -> Iterator[Reason]:
    used, limit = worker.sessions, worker.sessions_limit
    if worker.accept_paused:
        text = f"{name} takes no new sessions for now, at {used} of {limit}"
        yield Reason(Code.WORKER_PAUSED, name, text, used, limit, "sessions")
    if limit and used > thresholds.sessions * limit:
        text = f"{name} is near its limit of sessions: {used} of {limit}"
        yield Reason(Code.SESSIONS_NEAR_LIMIT, name, text, used, thresholds.sessions * limit, "sessions")


def _of_descriptors(child: ChildStatus, name: str, thresholds: Thresholds) -> Iterator[Reason]:
    used, limit = child.descriptors, child.descriptors_limit
    if used and limit and used > thresholds.descriptors * limit:
        text = f"{_spoken(name)} is near its limit of descriptors: {used} of {limit}"
        yield Reason(Code.DESCRIPTORS_NEAR_LIMIT, name, text, used, thresholds.descriptors * limit, "descriptors")


def _of_broker(status: GatewayStatus, thresholds: Thresholds) -> Iterator[Reason]:
    broker = status.broker
    if broker.state not in (ChildState.READY, ChildState.DRAINING):
        text = f"the broker is {broker.state.name.lower()}, so sessions to peers dial"
        yield Reason(Code.BROKER_MISSING, "broker", text)
    yield from _of_heartbeat(Code.BROKER_SILENT, "broker", broker, status.heartbeat_limit_s)
    yield from _of_successor(Code.BROKER_REPLACED, "broker", broker, thresholds)
    yield from _of_descriptors(broker, "broker", thresholds)


def _of_link(link: LinkStatus, thresholds: Thresholds, peer: str) -> Iterator[Reason]:
    name = f"peer {peer}"
    if link.state is LinkState.DOWN:
        yield Reason(Code.PEER_DOWN, name, f"{name} does not answer")
        return  # what its pool lacks follows from that
    takes = link.hits_lately + link.misses_lately
    if takes >= _TAKES_MIN and link.hits_lately < thresholds.hit_rate * takes:
        text = f"{link.misses_lately} of {takes} sessions to {name} found no leg ready in the last minute"
        yield Reason(Code.POOL_MISSES, name, text, link.hits_lately / takes, thresholds.hit_rate, "ratio")
    if thresholds.pool_short and link.short_s > thresholds.pool_short:
        text = f"{name} has had fewer than pool_min idle legs for {link.short_s:.0f} s; {link.idle} now"
        yield Reason(Code.POOL_SHORT, name, text, link.short_s, thresholds.pool_short, "s")


def _of_memory(status: GatewayStatus, thresholds: Thresholds) -> Iterator[Reason]:
    """Hold memory to the cgroup's limit, which the kernel enforces by killing, and to the operator's."""
    limits = {"gateway": (status.rss_bytes, thresholds.memory_limit)}
    if status.memory:
        limits["cgroup"] = (status.memory.used_bytes, status.memory.limit_bytes)
    for name, (used, limit) in limits.items():
        if limit and used > thresholds.memory * limit:
            text = f"memory of the {name} is near its limit: {used} of {limit} bytes"
            yield Reason(Code.MEMORY_NEAR_LIMIT, name, text, used, thresholds.memory * limit, "bytes")


def _of_heartbeat(code: Code, name: str, child: ChildStatus, limit_s: float) -> Iterator[Reason]:
    if _is_silent(child, limit_s):
        text = f"{_spoken(name)} gave its last heartbeat {child.heartbeat_age_s:.1f} s ago"
        yield Reason(code, name, text, child.heartbeat_age_s, limit_s, "s")


def _is_silent(child: ChildStatus, limit_s: float) -> bool:
    return bool(limit_s) and child.heartbeat_age_s is not None and child.heartbeat_age_s > limit_s


def _spoken(name: str) -> str:
    """Give what a sentence calls a child: there are many workers, and one of each other kind."""
    return name if name.startswith("worker ") else f"the {name}"

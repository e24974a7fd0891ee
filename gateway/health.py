"""Whether the gateway is well: a judgement of gateway.status's numbers. Reads nothing itself.

`gateway health` and /healthz give the same verdict. A degraded gateway still serves, so it counts as able: killing it
would cost the sessions it carries. That holds for one that drains in order, too, which takes no new ones: newcomers
are steered by `is_ready`. The command ends with 0 and /healthz answers 200 for well and degraded alike.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gateway.link_status import LinkStatus
from gateway.status import ChildStatus, GatewayStatus
from pools.link_health import LinkState
from pools.net.scoreboard import ChildState


class Level(StrEnum):
    """How the gateway is.

    WELL: everything as it should be. DEGRADED: it serves, but something needs a look, or it drains. DEAD: it takes no
    new sessions, and nobody asked for that.
    """

    WELL = "well"
    DEGRADED = "degraded"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a number is a reason.

    Attributes:
        loop_lag_us: how late a loop may be, a fifth of a second being felt by every session of that worker.
        share: of the descriptors or the memory that are allowed, 0 to 1.
    """

    loop_lag_us: int = 200_000
    share: float = 0.9


USUAL: Final = Thresholds()
"""The same for every gateway; only the limit on heartbeats is set by its configuration, and told by its status."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the gateway is, and why it is not well.

    Attributes:
        reasons: sentences without a full stop; empty when well.
    """

    level: Level
    reasons: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """It does its work, and ought to be left alone."""
        return self.level is not Level.DEAD

    def as_dict(self) -> dict[str, Any]:
        """Give what --json and /healthz say."""
        return {"ok": self.ok, "level": self.level.value, "reasons": list(self.reasons)}


def judge(status: GatewayStatus, thresholds: Thresholds = USUAL) -> Verdict:
    """Judge how the gateway is."""
    fatal = tuple(_fatal(status))
    minor = tuple(_minor(status, thresholds))
    level = Level.DEAD if fatal else Level.DEGRADED if minor else Level.WELL
    return Verdict(level, fatal + minor)


def is_ready(status: GatewayStatus, *, when_filled: bool = False) -> bool:
    """Tell whether every worker accepts: false before the start is complete and as soon as a drain begins.

    Args:
        when_filled: not before each peer that is not down has once had pool_min idle legs.
    """
    accepts = status.is_supervisor_alive and all(worker.state is ChildState.READY for worker in status.workers)
    return accepts and not (when_filled and any(map(_is_to_be_filled, status.links)))


def _fatal(status: GatewayStatus) -> Iterator[str]:
    if not status.is_supervisor_alive:
        yield f"the supervisor, process {status.supervisor_pid}, is gone"
    if not any(_turns(worker, status) for worker in status.workers):
        yield "no worker takes new sessions"


def _minor(status: GatewayStatus, thresholds: Thresholds) -> Iterator[str]:
    if _drains(status):
        yield "draining"
    for worker in status.workers:
        for reason in (*_of_state(worker, status), *_of_numbers(worker, thresholds)):
            yield f"worker {worker.slot} {reason}"
    yield from _of_links(status)
    if status.admin.state is not ChildState.ABSENT:
        yield from (f"admin {reason}" for reason in _of_heartbeat(status.admin, status.heartbeat_limit_s))
    memory = status.memory
    if memory and memory.used_bytes > thresholds.share * memory.limit_bytes:
        yield f"memory is near its limit: {memory.used_bytes} of {memory.limit_bytes} bytes"


def _is_to_be_filled(link: LinkStatus) -> bool:
    return link.state is not LinkState.DOWN and not link.was_filled


def _of_links(status: GatewayStatus) -> Iterator[str]:
    if not status.links:
        return
    if status.broker.state not in (ChildState.READY, ChildState.DRAINING):
        yield f"the broker is {status.broker.state.name.lower()}, so sessions to peers dial"
    yield from (f"the broker {reason}" for reason in _of_heartbeat(status.broker, status.heartbeat_limit_s))
    if all(link.state is LinkState.DOWN for link in status.links):
        yield "the links to all peers are down"


def _turns(worker: ChildStatus, status: GatewayStatus) -> bool:
    """Tell whether a worker does what it was told: takes new sessions, or sees the last ones out."""
    is_at_work = worker.state in (ChildState.READY, ChildState.DRAINING)
    return is_at_work and not any(_of_heartbeat(worker, status.heartbeat_limit_s))


def _drains(status: GatewayStatus) -> bool:
    """Tell whether the gateway drains: the order goes to all workers, and those that are done are gone."""
    states = {worker.state for worker in status.workers}
    return ChildState.DRAINING in states and states <= {ChildState.DRAINING, ChildState.ABSENT}


def _of_state(worker: ChildStatus, status: GatewayStatus) -> Iterator[str]:
    if worker.state is not ChildState.READY and not _drains(status):
        yield f"is {worker.state.name.lower()}"
    yield from _of_heartbeat(worker, status.heartbeat_limit_s)


def _of_numbers(worker: ChildStatus, thresholds: Thresholds) -> Iterator[str]:
    if worker.loop_lag_us > thresholds.loop_lag_us:
        yield f"has a loop that is {worker.loop_lag_us} us late"
    if worker.accept_paused:
        yield f"takes no new sessions for now, at {worker.sessions} of {worker.sessions_limit}"
    if worker.descriptors and worker.descriptors > thresholds.share * (worker.descriptors_limit or math.inf):
        yield f"is near its limit of descriptors: {worker.descriptors} of {worker.descriptors_limit}"


def _of_heartbeat(child: ChildStatus, limit_s: float) -> Iterator[str]:
    if limit_s and child.heartbeat_age_s is not None and child.heartbeat_age_s > limit_s:
        yield f"gave its last heartbeat {child.heartbeat_age_s:.1f} s ago"

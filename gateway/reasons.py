"""The words of a verdict on a gateway, and from where on a number is a reason. Deciding is gateway.health's."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, Self


class Level(StrEnum):
    """How the gateway is.

    WELL: everything as it should be. DEGRADED: it serves, but something needs a look, or it drains. DEAD: it takes no
    new sessions, and nobody asked for that.
    """

    WELL = "well"
    DEGRADED = "degraded"
    DEAD = "dead"


class Code(StrEnum):
    """What programs know a reason by. docs/health.md says of each what it means and what to do; names stay."""

    SUPERVISOR_GONE = "supervisor_gone"
    NO_WORKER = "no_worker"
    DRAINING = "draining"
    SUPERVISOR_SILENT = "supervisor_silent"
    RELOAD_FAILED = "reload_failed"
    WORKER_MISSING = "worker_missing"
    WORKER_NOT_READY = "worker_not_ready"
    WORKER_SILENT = "worker_silent"
    WORKER_REPLACED = "worker_replaced"
    WORKER_LAGGING = "worker_lagging"
    WORKER_PAUSED = "worker_paused"
    BROKER_MISSING = "broker_missing"
    BROKER_SILENT = "broker_silent"
    BROKER_REPLACED = "broker_replaced"
    ADMIN_SILENT = "admin_silent"
    SESSIONS_NEAR_LIMIT = "sessions_near_limit"
    DESCRIPTORS_NEAR_LIMIT = "descriptors_near_limit"
    MEMORY_NEAR_LIMIT = "memory_near_limit"
    PEER_DOWN = "peer_down"
    POOL_MISSES = "pool_misses"
    POOL_SHORT = "pool_short"


FATAL: Final = frozenset({Code.SUPERVISOR_GONE, Code.NO_WORKER})
"""Reasons for DEAD; each of the others is one for DEGRADED."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a gateway is not well.

    Attributes:
        of: what it is about, as in "worker 1", "peer mumbai", "gateway".
        text: a sentence without a full stop.
        value: the number that was found; None where the reason is none of numbers.
        threshold: what it was held to.
        unit: of both.
    """

    code: Code
    of: str
    text: str
    value: float | None = None
    threshold: float | None = None
    unit: str = ""

    @property
    def level(self) -> Level:
        """What it makes of a gateway that is well but for this."""
        return Level.DEAD if self.code in FATAL else Level.DEGRADED

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"

    def as_dict(self) -> dict[str, Any]:
        """Give what --json and /healthz say."""
        return {
            "code": self.code.value,
            "object": self.of,
            "level": self.level.value,
            "value": self.value,
            "threshold": self.threshold,
            "unit": self.unit,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the gateway is, and why it is not well.

    Attributes:
        reasons: those for DEAD first; empty when well.
    """

    reasons: tuple[Reason, ...] = ()

    @property
    def level(self) -> Level:
        """The worst that a reason makes of it."""
        if any(reason.level is Level.DEAD for reason in self.reasons):
            return Level.DEAD
        return Level.DEGRADED if self.reasons else Level.WELL

    @property
    def ok(self) -> bool:
        """It does its work, and ought to be left alone."""
        return self.level is not Level.DEAD

    def as_dict(self) -> dict[str, Any]:
        """Give what --json and /healthz say."""
        return {"ok": self.ok, "level": self.level.value, "reasons": [reason.as_dict() for reason in self.reasons]}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a number is a reason: the table [health]. The limit on heartbeats is timeouts.worker_heartbeat.

    Attributes:
        loop_lag: seconds that a worker's loop is late, lately; a fifth of one is felt by every session of that worker.
        replaced: seconds for which a worker or a broker that took a dead one's place is a reason; 0 for none.
        sessions: part of a worker's share of limits.sessions, 0 to 1, of which 1 is never.
        descriptors: likewise, of the descriptors that a process may open.
        memory: likewise, of what the cgroup or `memory_limit` allows.
        memory_limit: bytes of resident memory that all processes together may have; 0 for no such limit.
        hit_rate: part of the sessions of the last minute that must have found a pool leg ready; 0 for no matter.
        pool_short: seconds for which fewer than pool_min legs may be idle; 0 for ever.
    """

    loop_lag: float = 0.2
    replaced: float = 60.0
    sessions: float = 0.9
    descriptors: float = 0.9
    memory: float = 0.9
    memory_limit: int = 0
    hit_rate: float = 0.5
    pool_short: float = 60.0

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Read what another process told, which may be of another version: what it does not say is as usual."""
        return cls(**{field.name: told[field.name] for field in fields(cls) if field.name in told})

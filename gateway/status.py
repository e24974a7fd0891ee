"""How the gateway is, as numbers: the scoreboard's and the kernel's, side by side. Judging them is gateway.health's.

Works without the supervisor's help, so that a gateway whose supervisor hangs can still be looked at.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gateway.link_status import LinkStatus, read_links
from gateway.processes import Memory, Processes, ProcessReading, memory_of_cgroup
from pools.net.clock import monotonic_ns
from pools.net.scoreboard import Cell, ChildState, Duty, Row, Scoreboard


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """A worker, the broker or the admin child. None where there is no living process, or this user may not look.

    Attributes:
        slot: the worker's, 0 and up; the broker's and the admin child's are beyond those that workers may have.
        core: the one it is pinned to, None for several.
        pid: 0 where none was ever started, or the last one died.
        state: what it said last; ABSENT when its process is gone, whatever it said.
        uptime_s: since it booted.
        heartbeat_age_s: since it last said that its loop turns.
        loop_lag_us: how late its loop last was.
        loop_lag_lately_us: how late it has been lately, a mean that forgets within some ten seconds.
        sessions_per_second: new ones, as it counted lately.
        legs_inbound: legs of peers that it accepted and holds.
        accept_paused: it takes no new sessions for want of room.
        moved_bytes: both directions, as they move; a direction's are those of sessions that were looked at or ended.
        cpu_percent: of one core, since the reading before.
        cpu_s: processor time of this process.
        restarts: how often the slot was filled again.
        restarted_ago_s: since the death that it was last filled again for; None before the first.
        retires: it is a worker that sees its last sessions out and gets no successor, after a reload.
    """

    slot: int
    core: int | None
    pid: int
    state: ChildState
    uptime_s: float | None
    heartbeat_age_s: float | None
    loop_lag_us: int
    loop_lag_lately_us: int
    sessions: int
    sessions_limit: int
    sessions_total: int
    sessions_per_second: int
    legs_inbound: int
    accept_paused: bool
    moved_bytes: int
    forward_bytes: int
    backward_bytes: int
    cpu_percent: float | None
    cpu_s: float | None
    rss_bytes: int | None
    descriptors: int | None
    descriptors_limit: int | None
    restarts: int
    restarted_ago_s: float | None
    retires: bool = False


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """The whole gateway at one moment.

    Attributes:
        supervisor_pid: who made the scoreboard.
        is_supervisor_alive: that process still runs.
        uptime_s: since the scoreboard was made.
        heartbeat_limit_s: how old a child's heartbeat may grow, its timeouts.worker_heartbeat; 0 for no limit.
        workers: in slot order, those that retire among them.
        broker: state ABSENT where there is none.
        admin: likewise.
        links: one for each peer, in the configuration's order.
        memory: of the cgroup that limits the supervisor; None without a limit.
        config_generation: number of the configuration that holds; 1 at the start.
        reload_failed: the last reload changed nothing because it could not be done.
        reloaded_age_s: since the configuration that holds was taken.
    """

    supervisor_pid: int
    is_supervisor_alive: bool
    uptime_s: float
    heartbeat_limit_s: float
    workers: tuple[ChildStatus, ...]
    broker: ChildStatus
    admin: ChildStatus
    links: tuple[LinkStatus, ...]
    memory: Memory | None
    config_generation: int = 1
    reload_failed: bool = False
    reloaded_age_s: float = 0.0

    @property
    def sessions(self) -> int:
        """Live sessions over all workers."""
        return sum(worker.sessions for worker in self.workers)

    @property
    def rss_bytes(self) -> int:
        """Resident memory of all children that can be seen; pages that they share count for each."""
        return sum(child.rss_bytes or 0 for child in (*self.workers, self.broker, self.admin))

    def as_dict(self) -> dict[str, Any]:
        """Give what --json prints: the attributes by their names, states as lower-case words."""
        facts = asdict(self)
        for child in (*facts["workers"], facts["broker"], facts["admin"]):
            child["state"] = ChildState(child["state"]).name.lower()
        return facts | {"sessions": self.sessions}


def read(scoreboard: Scoreboard, processes: Processes, *, now_ns: int) -> GatewayStatus:
    """Read how the gateway is now.

    Args:
        scoreboard: read as it is at this moment.
        processes: kept by the caller between calls; processor shares are since its last reading, None at the first.
        now_ns: monotonic clock.
    """
    pid, started_ns = scoreboard.supervisor_pid, scoreboard.started_ns
    slots = (*scoreboard.slots, scoreboard.rows - 2, scoreboard.rows - 1)
    children = [_read_child(scoreboard.row(slot), slot, processes, now_ns) for slot in slots]
    return GatewayStatus(
        supervisor_pid=pid,
        is_supervisor_alive=processes.is_alive(pid, since_ns=started_ns, now_ns=now_ns),
        uptime_s=(now_ns - started_ns) / 1e9,
        heartbeat_limit_s=scoreboard.heartbeat_limit_ns / 1e9,
        config_generation=scoreboard.config_generation,
        reload_failed=bool(scoreboard.reload_failed),
        reloaded_age_s=_age_s(scoreboard.reloaded_ns, now_ns),
        workers=tuple(children[:-2]),
        broker=children[-2],
        admin=children[-1],
        links=read_links(scoreboard.links, now_ns=now_ns),
        memory=memory_of_cgroup(Path(f"/proc/{pid}")),
    )


def read_once(scoreboard: Scoreboard, *, over_s: float = 0.2) -> GatewayStatus:
    """Read how the gateway is for a command that looks once: waits `over_s`, for processor shares need two readings."""
    processes = Processes()
    if over_s:
        read(scoreboard, processes, now_ns=monotonic_ns())
        time.sleep(over_s)
    return read(scoreboard, processes, now_ns=monotonic_ns())


def _read_child(row: Row, slot: int, processes: Processes, now_ns: int) -> ChildStatus:
    process = processes.read(row[Cell.PID], since_ns=row[Cell.BOOTED_NS], now_ns=now_ns)
    return ChildStatus(
        slot=slot,
        retires=row[Cell.DUTY] == Duty.RETIRES,
        core=process.core if process else None,
        pid=row[Cell.PID],
        state=_state(row, process),
        uptime_s=_age_s(row[Cell.BOOTED_NS], now_ns) if process else None,
        heartbeat_age_s=_age_s(row[Cell.HEARTBEAT_NS], now_ns) if process else None,
        loop_lag_us=row[Cell.LOOP_LAG_US],
        loop_lag_lately_us=row[Cell.LOOP_LAG_LATELY_US],
        sessions=row[Cell.SESSIONS],
        sessions_limit=row[Cell.SESSIONS_LIMIT],
        sessions_total=row[Cell.SESSIONS_TOTAL],
        sessions_per_second=row[Cell.SESSIONS_PER_SECOND],
        legs_inbound=row[Cell.LEGS_INBOUND],
        accept_paused=bool(row[Cell.ACCEPT_PAUSED]),
        moved_bytes=row[Cell.COPIED_BYTES] + row[Cell.SPLICED_BYTES],
        forward_bytes=row[Cell.FORWARD_BYTES],
        backward_bytes=row[Cell.BACKWARD_BYTES],
        cpu_percent=process.cpu_percent if process else None,
        cpu_s=process.cpu_s if process else None,
        rss_bytes=process.rss_bytes if process else None,
        descriptors=process.descriptors if process else None,
        descriptors_limit=process.descriptors_limit if process else None,
        restarts=row[Cell.RESTARTS],
        restarted_ago_s=_age_s(row[Cell.RESTARTED_NS], now_ns) if row[Cell.RESTARTED_NS] else None,
    )


def _state(row: Row, process: ProcessReading | None) -> ChildState:
    known = row[Cell.STATE] in tuple(ChildState)
    return ChildState(row[Cell.STATE]) if process and known else ChildState.ABSENT


def _age_s(then_ns: int, now_ns: int) -> float:
    """Give the age of what another process wrote down, perhaps after our own reading of the clock."""
    return max(0, now_ns - then_ns) / 1e9

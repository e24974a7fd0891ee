"""What the service manager is told of a gateway, and when: from a look at it at each turn of the supervisor's loop.

How it is said is systemd's protocol (gateway.systemd). What is told comes from `look` alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.restart_policy import KILL_AFTER_S
from gateway.supervisor import Phase
from gateway.systemd import Notifier
from pools.net.scoreboard import Cell, ChildState, Duty, Scoreboard

STATUS_S: Final = 2.0
"""At most one status line in this time: sessions come and go by the thousand."""

EXTENSION_S: Final = 20.0
"""What a drain asks for, again and again: a supervisor that hangs in the middle of it is not waited for much longer."""

HOPELESS_S: Final = KILL_AFTER_S + 3.0
"""A worker silent for this long beyond its limit is one that the supervisor does not get rid of."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a gateway stands.

    Attributes:
        phase: of its life.
        wanted: workers, by its configuration.
        silent_s: for each of them that is there and was ready, how long ago its loop last turned.
        silence_limit_s: how long that may be (timeouts.worker_heartbeat).
        sessions: live ones.
        generation: of the configuration; one more with each reload.
        reload_failed: the last reload changed nothing, for it could not be done.
        left_s: until a drain ends; 0 where none is under way.
    """

    phase: Phase
    wanted: int
    silent_s: tuple[float, ...]
    silence_limit_s: float
    sessions: int
    generation: int = 1
    reload_failed: bool = False
    left_s: float = 0.0


def standing_of(scoreboard: Scoreboard, phase: Phase, *, now_s: float, left_s: float) -> Standing:
    """Look at what workers write of themselves. Who retires is not missed, but sessions there count.

    Args:
        now_s: monotonic clock.
        left_s: until a drain ends.
    """
    rows = scoreboard.workers
    wanted = [row for row in rows if row[Cell.DUTY] == Duty.SERVES]
    present = [row for row in wanted if row[Cell.STATE] in (ChildState.READY, ChildState.DRAINING)]
    return Standing(
        phase=phase,
        wanted=len(wanted),
        silent_s=tuple(now_s - row[Cell.HEARTBEAT_NS] / 1e9 for row in present),
        silence_limit_s=scoreboard.heartbeat_limit_ns / 1e9,
        sessions=sum(row[Cell.SESSIONS] for row in (*rows, scoreboard.carried)),
        generation=scoreboard.config_generation,
        reload_failed=bool(scoreboard.reload_failed),
        left_s=left_s,
    )


def status_line(now: Standing, *, refusal: str = "") -> str:
    """Say in one line how the gateway stands, for `systemctl status`.

    Args:
        refusal: why the last reload was refused, where it was and that is known.
    """
    present = len(now.silent_s)
    workers = str(now.wanted) if present == now.wanted else f"{present} of {now.wanted}"
    noun = "worker" if now.wanted == 1 else "workers"
    sessions = f"{now.sessions} session" if now.sessions == 1 else f"{now.sessions} sessions"
    match now.phase:
        case Phase.STARTING:
            return f"starting: {workers} {noun} ready"
        case Phase.RUNNING:
            why = f": {refusal}" if refusal else ""
            failed = f", the last reload was refused{why}" if now.reload_failed else ""
            return f"serving: {workers} {noun}, {sessions}; config generation {now.generation}{failed}"
        case Phase.DRAINING:
            return f"draining: {sessions} left, up to {now.left_s:.0f} s"
        case Phase.STOPPING:
            return "stopping"


def is_well(now: Standing) -> bool:
    """Tell whether the watchdog is to be fed.

    What it does ends every session, so it is for what nobody here can mend. A worker that hangs is replaced, so it
    counts only once that should have happened. While running, somebody must serve. A start and an end have limits of
    their own.
    """
    if now.phase in (Phase.STARTING, Phase.STOPPING):
        return True
    if now.phase is Phase.RUNNING and not now.silent_s:
        return False
    return all(silent_s <= now.silence_limit_s + HOPELESS_S for silent_s in now.silent_s)


class ServiceReport:
    """Keeps the service manager informed.

    Args:
        look: gives the gateway's standing at a time, monotonic seconds.
        speaks: tells whether it is for us to say anything; nothing is said while another speaks for the service.
    """

    def __init__(
        self, notifier: Notifier, look: Callable[[float], Standing], *, speaks: Callable[[], bool] = lambda: True
    ) -> None:
        self._notifier = notifier
        self._look = look
        self._speaks = speaks
        self._refusal = ""
        self._phase = Phase.STARTING
        self._told_s = float("-inf")

    def ready(self, now_s: float, *, refusal: str = "") -> None:
        """Tell that every worker is ready: after the start, or after a reload, done or refused.

        Args:
            refusal: why a reload was refused; empty where none was.
        """
        if self._is_heard:
            self._refusal = refusal
            self._notifier.ready(status_line(self._look(now_s), refusal=refusal))

    def reloading(self) -> None:
        """Tell that a reload begins, be it to be refused; `ready` ends it."""
        if self._is_heard:
            self._notifier.reloading()

    def turn(self, now_s: float) -> None:
        """Tell what has changed, and that the gateway is alive."""
        if not self._is_heard:
            return
        now = self._look(now_s)
        has_come_further = now.phase is not self._phase
        if has_come_further and self._phase in (Phase.STARTING, Phase.RUNNING) and now.phase is not Phase.RUNNING:
            self._notifier.stopping()
        self._phase = now.phase
        if has_come_further or now_s - self._told_s >= STATUS_S:
            self._told_s = now_s
            self._tell(now)
        self._notifier.turn(now_s, well=is_well(now))

    @property
    def _is_heard(self) -> bool:
        return self._notifier.is_heard and self._speaks()

    def _tell(self, now: Standing) -> None:
        self._notifier.status(status_line(now, refusal=self._refusal))
        if now.phase is Phase.DRAINING:
            self._notifier.extend(EXTENSION_S)

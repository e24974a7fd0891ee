"""When a child is restarted, given up or killed: decisions only. No process, no clock, no signal is touched here."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from gateway.exit_codes import ExitCode

FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 10.0
HEALTHY_S: Final = 30.0
"""A child that was ready this long owes nothing to earlier failures."""

KILL_AFTER_S: Final = 2.0
"""Between ABRT, which shows where a child hangs, and KILL. A stopped child acts on KILL alone (signal(7))."""

BOOT_LIMIT_S: Final = 30.0
"""How long a child may take to begin, however short its heartbeat's limit: imports wait for a cold disk."""

_BOOT_FAILURES: Final = (ExitCode.CANNOT_START, ExitCode.CONFIGURATION)


@dataclass(frozen=True, slots=True)
class BackOff:
    """How often in a row a slot's child has died.

    Attributes:
        deaths: since the last child that was healthy.
    """

    deaths: int = 0

    def after_death(self, *, ready_s: float) -> "BackOff":
        """Count one more death of a child that had been ready for `ready_s` seconds."""
        return BackOff(1 if ready_s >= HEALTHY_S else self.deaths + 1)

    @property
    def delay_s(self) -> float:
        """Seconds before the next child is started."""
        doublings = min(max(self.deaths - 1, 0), 16)
        return min(FIRST_DELAY_S * 2.0**doublings, LONGEST_DELAY_S)


def fatal_exit_code(*, starting: bool, was_ready: bool, exit_code: int) -> ExitCode | None:
    """Tell whether a child's death ends the gateway's start, and with which code.

    A child that finds during the start that it cannot work will find the same again. One that was killed, or that
    fails once the gateway has been up, is tried again: an outage of a dependency must not end what still serves.

    Args:
        starting: not all children have been ready yet.
        was_ready: this one had been.
        exit_code: its own, or the negative number of the signal that ended it.
    """
    if starting and not was_ready and exit_code in _BOOT_FAILURES:
        return ExitCode(exit_code)
    return None


class Cure(Enum):
    """What to do about a child that may hang."""

    NONE = auto()
    ABORT = auto()
    KILL = auto()


def cure(*, silent_s: float, limit_s: float, was_ready: bool, aborted_s: float | None) -> Cure:
    """Judge a child by its heartbeat.

    Args:
        silent_s: seconds since its last beat, or since it was started.
        limit_s: how many are allowed once it has been ready.
        was_ready: it has been.
        aborted_s: seconds since it was sent ABRT; None if it was not.
    """
    if aborted_s is not None:
        return Cure.KILL if aborted_s >= KILL_AFTER_S else Cure.NONE
    allowed_s = limit_s if was_ready else max(limit_s, BOOT_LIMIT_S)
    return Cure.ABORT if silent_s > allowed_s else Cure.NONE

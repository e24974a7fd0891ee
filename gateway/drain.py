"""A drain by the clock: how long sessions still have, and when to say so. Pure: time is an argument."""

from dataclasses import dataclass
from typing import Final

GRACE_S: Final = 1.0
"""What a worker may need beyond its limit to reset what is left."""

PROGRESS_S: Final = 5.0
"""Between two lines in the log."""

STOP_LIMIT_S: Final = 5.0
"""What `gateway stop` gives sessions to end, where timeouts.drain is not less."""

LONGEST_S: Final = 365 * 24 * 3600.0
"""The longest that may be asked for, as in a configuration."""


@dataclass(slots=True)
class Drain:
    """One that is under way.

    Attributes:
        until_s: when what is left is reset, monotonic clock.
        retires: another supervisor has the gateway; nobody asked for an end of it.
    """

    until_s: float
    retires: bool = False
    _told_s: float = float("-inf")

    def left_s(self, now_s: float) -> float:
        """Give how long sessions still have."""
        return max(0.0, self.until_s - now_s)

    def is_over(self, now_s: float) -> bool:
        """Tell whether even workers that needed the grace must be done."""
        return now_s >= self.until_s + GRACE_S

    def gives_more(self, limit_s: float, now_s: float) -> bool:
        """Tell whether it gives sessions more time than one of `limit_s` that begins now would."""
        return self.until_s > now_s + limit_s

    def is_line_due(self, now_s: float) -> bool:
        """Tell whether to say how far it is; true once for each time that it is."""
        is_due = now_s - self._told_s >= PROGRESS_S
        if is_due:
            self._told_s = now_s
        return is_due

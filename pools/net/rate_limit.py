"""At most so many of something in a time, decided without a clock of its own. No lines are written here."""


class OncePer:
    """Let one event pass per period and count those held back, as for a warning that would repeat a thousand times.

    Args:
        period_s: seconds that must lie between two events that pass.
    """

    __slots__ = ("_held", "_next_s", "_period_s", "suppressed")

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._next_s = float("-inf")
        self._held = 0
        self.suppressed = 0
        """Events held back between the last one that passed and the one before it, for saying so in the line."""

    def allow(self, now_s: float) -> bool:
        """Tell whether an event at `now_s` (monotonic clock) may pass; the first one always may."""
        if now_s < self._next_s:
            self._held += 1
            return False
        self._next_s = now_s + self._period_s
        self.suppressed, self._held = self._held, 0
        return True


class TokenBucket:
    """Let so many events pass in a second, on the long run; after a quiet time, a whole second's worth at once.

    Args:
        rate: events a second, at least 1.
        now_s: monotonic clock, as for all other times.
    """

    __slots__ = ("_rate", "_seen_s", "_tokens")

    def __init__(self, rate: int, *, now_s: float) -> None:
        self._rate = rate
        self._tokens = float(rate)
        self._seen_s = now_s

    def take(self, now_s: float) -> bool:
        """Tell whether an event at `now_s` may pass; one that may not costs nothing."""
        self._tokens = min(float(self._rate), self._tokens + (now_s - self._seen_s) * self._rate)
        self._seen_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

"""What two totals have grown by in about the last minute. Pure: the clock's readings are arguments."""

from collections import deque
from typing import Final

MINUTE_S: Final = 60.0
_STEP_S: Final = 5.0  # between two totals that are kept, so the minute is at most this much longer


class LastMinute:
    """Remembers how large hits and misses were, and tells by how much they have grown since.

    A gauge of a minute, kept by who counts, is the same for everybody who looks, however often and at whatever moment.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[float, int, int]] = deque()

    def growth(self, hits: int, misses: int, *, now_s: float) -> tuple[int, int]:
        """Give by how much `hits` and `misses` have grown in the last minute, or since the first call.

        Args:
            hits, misses: totals as they are now; they never shrink.
            now_s: seconds on a monotonic clock.
        """
        kept = self._kept
        if not kept or now_s - kept[-1][0] >= _STEP_S:
            kept.append((now_s, hits, misses))
        while len(kept) > 1 and kept[1][0] <= now_s - MINUTE_S:
            kept.popleft()
        _, hits_then, misses_then = kept[0]
        return hits - hits_then, misses - misses_then

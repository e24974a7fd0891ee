"""The last minutes, in a ring: readings of counters, and the rates between them. Pure."""

from collections import deque
from itertools import pairwise, takewhile
from typing import Final

from gateway.page.reading import Reading
from gateway.page.troubles import FAILED
from pools.net.scoreboard import Cell

COLUMNS: Final = ("at_ms", "sessions", "new_per_s", "failed_per_s", "bytes_per_s")
"""What each number of a point is. Bytes are those of both directions, as they move."""

Point = tuple[int, int, float, float, int]


class History:
    """Readings, the oldest first; the oldest is forgotten when there is no room.

    Args:
        length: how many readings it holds, 2 or more.
    """

    def __init__(self, length: int) -> None:
        self._readings: deque[Reading] = deque(maxlen=length)

    def add(self, reading: Reading) -> None:
        """Remember a reading; one that is not later than the last is dropped."""
        if not self._readings or reading.at_ms > self._readings[-1].at_ms:
            self._readings.append(reading)

    def points(self, *, after_ms: int = -1) -> list[Point]:
        """Give what there is after a time, each point with the rates since the reading before it."""
        newest_first = pairwise(reversed(self._readings))
        later = takewhile(lambda two: two[0].at_ms > after_ms, newest_first)
        return [_point(before, after) for after, before in later][::-1]

    def directions(self, *, over_ms: int) -> tuple[float, float]:
        """Give bytes a second forward and backward over the last while.

        They are counted at each look at a session and at its end, seconds apart, so a short while says nothing.
        """
        if len(self._readings) < 2:
            return 0.0, 0.0
        now, then = self._readings[-1], self._since(over_ms)
        return _rate(then, now, Cell.FORWARD_BYTES), _rate(then, now, Cell.BACKWARD_BYTES)

    def _since(self, over_ms: int) -> Reading:
        """Give the newest reading that is at least so old; where there is none, the oldest."""
        at_ms = self._readings[-1].at_ms - over_ms
        return next((each for each in reversed(self._readings) if each.at_ms <= at_ms), self._readings[0])


def _point(before: Reading, after: Reading) -> Point:
    return (
        after.at_ms,
        after.sessions,
        round(_rate(before, after, Cell.SESSIONS_TOTAL), 1),
        round(_rate(before, after, *FAILED), 1),
        round(_rate(before, after, Cell.SPLICED_BYTES, Cell.COPIED_BYTES)),
    )


def _rate(before: Reading, after: Reading, *cells: Cell) -> float:
    """Give by how much these totals grew each second."""
    grown = sum(after.totals[cell] - before.totals[cell] for cell in cells)
    return 1000 * grown / (after.at_ms - before.at_ms)

"""The last minute of a gateway: rates between its last two samples, and a trail for a picture. Has no clock."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from gateway.top.counters import Counters, Flow, counters, flow
from gateway.top.sample import Sample

WINDOW_S: Final = 60.0
"""How far back a trail reaches, or CELLS samples where those take longer."""

CELLS: Final = 30

DIVIDED_OVER_S: Final = 30.0
"""A session that lives on is counted by direction when its worker looks at it: each 7.5 s, with the usual timeouts."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened in a second, on average since the last sample but one.

    Attributes:
        sessions: that began; of a link, those that asked it for a leg.
        failed: of a listener's sessions, those without a relay.
        moved_bytes: both directions, as they moved; 0 of a listener.
        forward_bytes: None where nothing was counted lately that would tell directions apart; backward_bytes, too.
    """

    sessions: float
    failed: float
    moved_bytes: float
    forward_bytes: float | None
    backward_bytes: float | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """The time between two samples that follow one another, and what moved in it. Seconds of the monotonic clock."""

    began_s: float
    ended_s: float
    moved_bytes_per_s: float


class Recent:
    """Remembers what the samples of the last minute counted.

    Args:
        every_s: time between two samples.
    """

    def __init__(self, *, every_s: float) -> None:
        self._cell_s = max(WINDOW_S / CELLS, every_s)
        self._life: int | None = None
        self._moments: list[tuple[float, Mapping[str, Counters]]] = []

    def add(self, sample: Sample) -> None:
        """Take in the next sample; one of another life begins anew."""
        if sample.life != self._life:
            self._moments.clear()
        self._life = sample.life
        self._moments.append((sample.taken_s, counters(sample)))
        oldest_s = sample.taken_s - CELLS * self._cell_s
        while len(self._moments) > 2 and self._moments[1][0] <= oldest_s:
            del self._moments[0]

    @property
    def interval_s(self) -> float | None:
        """Time between the last two samples; None before there are two."""
        return self._moments[-1][0] - self._moments[-2][0] if len(self._moments) > 1 else None

    def rates(self, key: str, *, whole: str = "") -> Rates | None:
        """Give the rates between the last two samples; None where one of them does not know `key`.

        What moved is known at once, and which way it went only seconds later, for much at a time. So it is divided as
        what was counted over DIVIDED_OVER_S.

        Args:
            key: see `gateway.top.counters`.
            whole: what `key` is a part of, where it does not count by itself what moves.
        """
        latest, lately = self._flow(key), self._flow(key, over_s=DIVIDED_OVER_S)
        if latest is None or lately is None:
            return None
        scale = self._moving_for_counted(whole or key)
        forward = None if scale is None else scale * lately.forward_bytes
        backward = None if scale is None else scale * lately.backward_bytes
        return Rates(latest.sessions, latest.failed, latest.moved_bytes, forward, backward)

    def trail(self, key: str) -> tuple[float, ...]:
        """Give bytes a second, both directions, the oldest first, in CELLS cells; empty before there is a rate."""
        return trail(list(_stretches(self._moments, key)), cell_s=self._cell_s)

    def _moving_for_counted(self, key: str) -> float | None:
        """Give how many bytes move now for each that was counted lately; None where bytes move and none was counted."""
        latest, lately = self._flow(key), self._flow(key, over_s=DIVIDED_OVER_S)
        if latest is None or not latest.moved_bytes:
            return 0.0
        return latest.moved_bytes / lately.counted_bytes if lately and lately.counted_bytes else None

    def _flow(self, key: str, *, over_s: float = 0.0) -> Flow | None:
        """Give the flow since the oldest sample of the last `over_s`, at least since the last but one."""
        if len(self._moments) < 2:
            return None
        ended_s, after = self._moments[-1]
        known = (moment for moment in self._moments if key in moment[1] and ended_s - moment[0] <= over_s)
        began_s, before = next(known, self._moments[-1])
        if began_s == ended_s:
            began_s, before = self._moments[-2]
        return flow(before[key], after[key], ended_s - began_s) if key in before and key in after else None


def trail(stretches: Sequence[Stretch], *, cell_s: float) -> tuple[float, ...]:
    """Spread what moved over CELLS cells of `cell_s` each, the last one with the latest moment; 0 where none is known.

    Where a cell begins depends on the clock alone, so that a picture moves on by whole cells and its past stays.
    """
    if not stretches:
        return ()
    first = math.ceil(stretches[-1].ended_s / cell_s) - CELLS
    return tuple(_mean(stretches, place * cell_s, (place + 1) * cell_s) for place in range(first, first + CELLS))


def _mean(stretches: Sequence[Stretch], began_s: float, ended_s: float) -> float:
    shares = [(min(ended_s, each.ended_s) - max(began_s, each.began_s), each.moved_bytes_per_s) for each in stretches]
    known_s = sum(overlap_s for overlap_s, _ in shares if overlap_s > 0)
    return sum(overlap_s * rate for overlap_s, rate in shares if overlap_s > 0) / known_s if known_s else 0.0


def _stretches(moments: Sequence[tuple[float, Mapping[str, Counters]]], key: str) -> Iterator[Stretch]:
    for (began_s, before), (ended_s, after) in pairwise(moments):
        if key in before and key in after and (flowed := flow(before[key], after[key], ended_s - began_s)):
            yield Stretch(began_s, ended_s, flowed.moved_bytes)

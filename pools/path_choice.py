"""Which of several paths new sessions take, so that the choice follows the links and does not flap.

Values only: one sample of every path goes in at a time, and a new, frozen choice comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MARGIN: Final = 0.15
"""By which part a path must be better before it is worth a change."""

SAMPLES: Final = 3
"""For how many samples in a row it must be."""

LOSS_WEIGHT: Final = 10.0
"""1 % of lost probes costs as much as 10 % more round-trip time: a loss stalls a stream for several round trips."""


class Choose(StrEnum):
    """The operator's rule: the first path that is up, or the fastest."""

    FIRST = "first"
    FASTEST = "fastest"


@dataclass(frozen=True, slots=True)
class PathSample:
    """One path at one moment.

    Attributes:
        is_up: no link on it is known to be down.
        rtt_s: over all its links; None while unknown.
        loss: part of the probes that is lost on it, 0.0 to 1.0.
    """

    is_up: bool
    rtt_s: float | None = None
    loss: float = 0.0

    @property
    def cost_s(self) -> float:
        """What paths are compared by; what is unknown costs more than anything known."""
        return float("inf") if self.rtt_s is None else self.rtt_s * (1 + LOSS_WEIGHT * self.loss)


def chained(links: Sequence[PathSample]) -> PathSample:
    """Give what is known of a path that consists of `links`, one after another; at least one.

    Of a link that nobody has told of, nothing is known to be wrong, and its round-trip time is not known.
    """
    rtts = [link.rtt_s for link in links]
    passes = 1.0
    for link in links:
        passes *= 1 - link.loss
    return PathSample(
        is_up=all(link.is_up for link in links),
        rtt_s=None if None in rtts else sum(rtt for rtt in rtts if rtt is not None),
        loss=1 - passes,
    )


@dataclass(frozen=True, slots=True)
class PathChoice:
    """The path in use.

    Attributes:
        rule: the operator's.
        current: its position in the configuration; None while no path is up.
        rival: a path that has been better for `wins` samples in a row.
    """

    rule: Choose
    current: int | None = None
    rival: int | None = None
    wins: int = 0

    def after(self, samples: Sequence[PathSample]) -> "PathChoice":
        """Take in one sample of every path, in the order of the configuration.

        A path that is down is left at once. FIRST returns to an earlier path as soon as that is up: its links' rise
        counts are the hysteresis. FASTEST changes between paths that are up only for one that was better by MARGIN for
        SAMPLES in a row.
        """
        up = [position for position, sample in enumerate(samples) if sample.is_up]
        if not up:
            return PathChoice(self.rule)
        if self.rule is Choose.FIRST:
            return PathChoice(self.rule, up[0])
        best = min(up, key=lambda position: samples[position].cost_s)  # the earlier of two equals
        if self.current not in up:
            return PathChoice(self.rule, best)
        return self._against(best, samples)

    def in_turn(self, samples: Sequence[PathSample]) -> tuple[int, ...]:
        """List the paths to try for one session: the current one, then the others that are up, by rule."""
        up = [position for position, sample in enumerate(samples) if sample.is_up]
        if self.rule is Choose.FASTEST:
            up.sort(key=lambda position: samples[position].cost_s)
        return tuple(sorted(up, key=lambda position: position != self.current))

    def _against(self, best: int, samples: Sequence[PathSample]) -> "PathChoice":
        assert self.current is not None
        if not samples[best].cost_s < (1 - MARGIN) * samples[self.current].cost_s:
            return PathChoice(self.rule, self.current)
        wins = self.wins + 1 if best == self.rival else 1
        if wins >= SAMPLES:
            return PathChoice(self.rule, best)
        return PathChoice(self.rule, self.current, rival=best, wins=wins)

"""Whether a peer answers, how fast and how reliably: what probes tell, and when the next one is due.

Values only: each event gives a new, frozen state. Time and jitter are arguments; sending a PING and dialling are the
broker's. The constants make a promise together: a peer that falls silent is down within 5 s, since
FALL × INTERVAL_S × (1 + JITTER) + LONGEST_WAIT_S is 4.8 s.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

INTERVAL_S: Final = 1.0
JITTER: Final = 0.1
FALL: Final = 3
"""Probes in a row without an answer that make a link down. TCP repeats a lost PING; three are no chance any more."""

RISE: Final = 2
"""Answers in a row that make a link that was down up again."""

SHORTEST_WAIT_S: Final = 1.0
"""RFC 6298 (2.4). A PING lost on the way is repeated by TCP within this time, on any path shorter than half of it."""

LONGEST_WAIT_S: Final = 1.5

_GRANULARITY_S: Final = 0.001
_LOSS_GAIN: Final = 1 / 16  # about the last 16 probes count


class LinkState(StrEnum):
    """What is known of a peer. UNKNOWN is before the first answer."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"

    @property
    def number(self) -> int:
        """What stands for it on the scoreboard; 0 for UNKNOWN."""
        return tuple(LinkState).index(self)

    @classmethod
    def of_number(cls, number: int) -> "LinkState":
        """Give the state that `number` stands for, UNKNOWN for one that stands for none."""
        states = tuple(cls)
        return states[number] if 0 <= number < len(states) else cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Smoothed round-trip time and its variation, in seconds.

    Source: RFC 6298, section 2.
    """

    smoothed_s: float
    variation_s: float

    @classmethod
    def first(cls, sample_s: float) -> "RoundTrip":
        """Begin with the first measurement, rule (2.2)."""
        return cls(sample_s, sample_s / 2)

    def after(self, sample_s: float) -> "RoundTrip":
        """Take in a further measurement, rule (2.3)."""
        return RoundTrip(
            smoothed_s=7 / 8 * self.smoothed_s + 1 / 8 * sample_s,
            variation_s=3 / 4 * self.variation_s + 1 / 4 * abs(self.smoothed_s - sample_s),
        )

    @property
    def timeout_s(self) -> float:
        """How long to wait for an answer, rules (2.3) and (2.4), before LONGEST_WAIT_S cuts it."""
        return max(SHORTEST_WAIT_S, self.smoothed_s + max(_GRANULARITY_S, 4 * self.variation_s))


@dataclass(frozen=True, slots=True)
class Probe:
    """One PING on its way.

    Attributes:
        number: what its PONG repeats.
        deadline_s: when it counts as lost.
    """

    number: int
    sent_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class LinkHealth:
    """One peer's link. The first probe is due at once.

    Attributes:
        round_trip: None before the first answer.
        loss: part of the recent probes that was lost, 0.0 to 1.0.
        streak: answers in a row if positive, failures in a row if negative.
        waiting: probes without an answer yet, the oldest first.
        next_number: of the next probe.
        next_probe_s: when it is due, on the broker's monotonic clock.
    """

    state: LinkState = LinkState.UNKNOWN
    round_trip: RoundTrip | None = None
    loss: float = 0.0
    streak: int = 0
    waiting: tuple[Probe, ...] = ()
    next_number: int = 1
    next_probe_s: float = float("-inf")

    @property
    def wake_s(self) -> float:
        """When something is to be done next: a probe to send, or one to give up."""
        return min([self.next_probe_s, *(probe.deadline_s for probe in self.waiting)])

    def probed(self, *, now_s: float, jitter: float) -> "LinkHealth":
        """Send a probe: it is the last of `waiting`, and the caller's to put on a leg.

        With no leg to put it on the caller dials, and the probe stands for that attempt.

        Args:
            now_s: seconds on the broker's monotonic clock.
            jitter: drawn evenly from 0 to 1.
        """
        wait_s = min(self.round_trip.timeout_s, LONGEST_WAIT_S) if self.round_trip else LONGEST_WAIT_S
        return replace(
            self,
            waiting=(*self.waiting, Probe(self.next_number, now_s, now_s + wait_s)),
            next_number=self.next_number + 1,
            next_probe_s=now_s + INTERVAL_S * (1 + JITTER * (2 * jitter - 1)),
        )

    def answered(self, number: int, *, now_s: float) -> "LinkHealth":
        """Take in the answer to a probe. One that was given up, or never sent, changes nothing."""
        probe = next((probe for probe in self.waiting if probe.number == number), None)
        if probe is None or now_s >= probe.deadline_s:
            return self
        waiting = tuple(each for each in self.waiting if each is not probe)
        return replace(self, waiting=waiting)._after_answer(now_s - probe.sent_s)

    def judged(self, now_s: float) -> "LinkHealth":
        """Give up the probes whose deadline is over."""
        health = replace(self, waiting=tuple(probe for probe in self.waiting if probe.deadline_s > now_s))
        for _ in range(len(self.waiting) - len(health.waiting)):
            health = health.failed()
        return health

    def failed(self) -> "LinkHealth":
        """Take in evidence against the peer: a lost probe, a refused dial."""
        streak = min(self.streak, 0) - 1
        state = LinkState.DOWN if streak <= -FALL else self.state
        return replace(self, state=state, streak=streak, loss=_moved(self.loss, 1.0))

    def _after_answer(self, sample_s: float) -> "LinkHealth":
        streak = max(self.streak, 0) + 1
        is_up = streak >= RISE or self.state is not LinkState.DOWN
        return replace(
            self,
            state=LinkState.UP if is_up else self.state,
            streak=streak,
            loss=_moved(self.loss, 0.0),
            round_trip=self.round_trip.after(sample_s) if self.round_trip else RoundTrip.first(sample_s),
        )


def _moved(average: float, sample: float) -> float:
    return average + _LOSS_GAIN * (sample - average)

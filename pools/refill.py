"""How many legs to one peer a gateway keeps: what to dial now, and what to let go. Policy only.

A frozen snapshot goes in, a frozen decision comes out; time and jitter are arguments. Legs are used again, so what must
be covered is not the rate of sessions but how many have a leg at once, and how fast that number can rise before a leg
dialled in answer is there.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

DEMAND_INTERVAL_S: Final = 1.0
"""How often workers report; each report is one entry of a demand."""

DEMAND_MEMORY: Final = 60
"""Reports that count. A burst that comes once a minute finds its legs."""

WORKING_SET_INTERVAL_S: Final = 15.0
"""How long a leg must have lain unused before it is surplus; the interval of the paper's implementation."""

SLACK: Final = 1.25
"""Legs are let go above this multiple of what demand asks for, so that chance does not dial and close in turns."""

AGE_JITTER: Final = 0.25
"""Legs that were dialled together must not leave together: their lives differ by up to this part."""

_DIAL_ROUND_TRIPS: Final = 3  # SYN and SYN-ACK; HELLO both ways; PROOF both ways
_FIRST_DELAY_S: Final = 0.25
_LONGEST_DELAY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What the operator allows for one peer.

    Attributes:
        pool_min: idle legs always kept, over all workers.
        pool_max: idle, lent and being dialled together. A session that found no leg dials past it; see `Decision`.
        dials: at once, from the broker.
        max_age_s: seconds after which a leg is replaced.
    """

    pool_min: int
    pool_max: int
    dials: int = 64
    max_age_s: float = 3600.0

    def __post_init__(self) -> None:
        if not 0 <= self.pool_min <= self.pool_max:
            raise ValueError(f"pool_min must be from 0 to pool_max, {self.pool_max}; found {self.pool_min}")


@dataclass(frozen=True, slots=True)
class Demand:
    """How many legs were lent at once, over all workers, in each of the last intervals.

    Attributes:
        peaks: the latest last; 1 to DEMAND_MEMORY.
    """

    peaks: tuple[int, ...] = (0,)

    def after(self, peak: int) -> "Demand":
        """Take in one more interval."""
        return Demand((*self.peaks, peak)[-DEMAND_MEMORY:])

    def needed(self, lead_s: float) -> int:
        """Tell how many legs cover the highest peak and its fastest rise going on for `lead_s` seconds."""
        rise = max((later - sooner for sooner, later in pairwise(self.peaks)), default=0)
        return max(self.peaks) + max(rise, 0) * math.ceil(lead_s / DEMAND_INTERVAL_S)


@dataclass(frozen=True, slots=True)
class BackOff:
    """Pauses before a peer that cannot be reached is dialled again.

    Attributes:
        failures: dials in a row that did not end in an authenticated leg.
        retry_s: when one dial may be tried, on the broker's monotonic clock.
    """

    failures: int = 0
    retry_s: float = float("-inf")

    def after_failure(self, *, now_s: float, jitter: float) -> "BackOff":
        """Count one failed dial. Failures within one pause count once: they were started together.

        Args:
            now_s: seconds on the broker's monotonic clock.
            jitter: drawn evenly from 0 to 1.
        """
        if self.failures and now_s < self.retry_s:
            return self
        longest_s = min(_FIRST_DELAY_S * 2.0 ** min(self.failures, 16), _LONGEST_DELAY_S)
        return BackOff(self.failures + 1, now_s + longest_s * (0.5 + jitter / 2))


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """All legs to one peer at one moment, over all processes of this gateway.

    Attributes:
        depot: idle at the broker.
        unused: the fewest that lay there in the working-set interval that has just ended; 0 within one.
        worker_idle: idle in workers' magazines, or on their way there.
        lent: with sessions.
        dialling: by the broker; worker_dialling: by workers, on a miss.
        expiring: idle at the broker, and due to be replaced before a dial started now is done.
        rtt_s: to the peer, smoothed; 0.0 while unknown.
        is_up: False once the peer is known to be down.
    """

    now_s: float
    depot: int
    unused: int
    worker_idle: int
    lent: int
    dialling: int
    worker_dialling: int
    expiring: int
    rtt_s: float
    demand: Demand = Demand()
    back_off: BackOff = BackOff()
    is_up: bool = True

    @property
    def total(self) -> int:
        """All that counts towards pool_max."""
        return self.depot + self.worker_idle + self.lent + self.dialling + self.worker_dialling


@dataclass(frozen=True, slots=True)
class Decision:
    """What the broker does now.

    Attributes:
        dial: dials to start.
        shed: legs of the depot to close, the oldest.
        is_crowded: there are more legs than pool_max, since sessions that found none dialled. A worker then closes a
            leg whose session ends, rather than keep it.
    """

    dial: int
    shed: int
    is_crowded: bool


def lead_s(rtt_s: float) -> float:
    """Tell how long it takes from a demand to a leg: until it is reported, and until the leg has proved itself."""
    return DEMAND_INTERVAL_S + _DIAL_ROUND_TRIPS * rtt_s


def expires_s(*, born_s: float, max_age_s: float, jitter: float) -> float:
    """Tell when a leg is to be replaced; `jitter` is drawn evenly from 0 to 1 for each leg."""
    return born_s + max_age_s * (1 - AGE_JITTER * jitter)


def decide(limits: PoolLimits, snapshot: PoolSnapshot) -> Decision:
    """Choose what to dial and what to let go."""
    needed = snapshot.demand.needed(lead_s(snapshot.rtt_s))
    floor = limits.pool_min + snapshot.lent + snapshot.worker_dialling  # what is lent, or will be at once, is not idle
    excess = snapshot.total - limits.pool_max
    surplus = snapshot.total - snapshot.dialling - max(floor, math.ceil(SLACK * needed))
    return Decision(
        dial=_dials(limits, snapshot, wanted=max(floor, needed)),
        shed=min(snapshot.depot, max(excess, _half(min(surplus, snapshot.unused)), 0)),
        is_crowded=excess > 0,
    )


def _dials(limits: PoolLimits, snapshot: PoolSnapshot, *, wanted: int) -> int:
    missing = wanted - (snapshot.total - snapshot.expiring)
    room = min(limits.pool_max - snapshot.total, limits.dials - snapshot.dialling)
    if (
        snapshot.back_off.failures or not snapshot.is_up
    ):  # one dial finds out whether the peer is back; a volley would tell no more
        may_try = snapshot.now_s >= snapshot.back_off.retry_s and not snapshot.dialling
        room = min(room, int(may_try))
    return max(0, min(missing, room))


def _half(count: int) -> int:
    """Round up; to let go by halves leaves time for a demand that comes back."""
    return -(-count // 2)

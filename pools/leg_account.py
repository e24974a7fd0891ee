"""What the broker hears of one worker's legs to one peer: which there are, which are gone, how they are used."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from statistics import median_low
from typing import Final, Protocol, TypeVar

from pools import idle_leg
from pools.broker_messages import FromWorker, Give, Gone, Held, Stats
from pools.leg import PoolLeg
from pools.message_rules import IDS_LIMIT
from pools.net.readiness import Readiness
from pools.net.tcp_info import tcp_info
from pools.peer import PoolKey

Item = TypeVar("Item")

_ASKED: Final = 16  # idle legs whose windows are looked at: those to be lent next


class Line(Protocol):
    """The way to the broker. Each call tells whether it was taken; it is not while no broker knows the pool."""

    def say(self, message: FromWorker) -> bool:
        """Send a message, in order."""

    def give(self, message: Give, legs: Sequence[PoolLeg]) -> bool:
        """Send legs at once or not at all; if not, they stay the caller's."""


class LegAccount:
    """Keeps the broker's ledger right, as far as it is this worker's to say.

    Args:
        pool: which legs.
        line: to the broker.
        readiness: the worker's.

    Attributes:
        dialling: sessions that found no leg, and dial now.
        hits: takes that found a leg, since the worker began.
        misses: takes that found none.
        unfit: legs that were found dead or too old while they were idle.
        dial_failures: dials of sessions that found no leg, and came to nothing.
    """

    def __init__(self, pool: PoolKey, *, line: Line, readiness: Readiness) -> None:
        self.dialling = 0
        self.hits = 0
        self.misses = 0
        self.unfit = 0
        self.dial_failures = 0
        self._peer, self._edition = pool
        self._line = line
        self._readiness = readiness
        self._lent_peak = 0
        self._told = (0, 0, 0, 0)  # hits, misses, unfit and failed dials, as a broker heard them last
        self._gone: list[int] = []

    def open(self, legs: Iterable[PoolLeg], *, lent: int) -> None:
        """Tell a new broker all that it must know: what this worker has, and from where it counts on."""
        self._gone.clear()
        self.holds(legs)
        self._report(lent, self._told)

    def holds(self, legs: Iterable[PoolLeg]) -> None:
        """Enter legs that the broker does not know."""
        for portion in portions(legs, IDS_LIMIT):
            self._line.say(Held(self._peer, tuple(idle_leg.card_of(leg).leg for leg in portion), edition=self._edition))

    def note_lent(self, lent: int) -> None:
        """Take note of how many are lent now that there is one more."""
        self._lent_peak = max(self._lent_peak, lent)

    def strike_out(self, leg: PoolLeg) -> None:
        """Say that a leg was closed, soon: a peer that ends takes many with it, which make one message."""
        if not self._gone:
            self._readiness.defer(self.settle)
        self._gone.append(idle_leg.card_of(leg).leg)

    def settle(self) -> None:
        """Say what is still to be said."""
        gone, self._gone = self._gone, []
        for portion in portions(gone, IDS_LIMIT):
            self._line.say(Gone(self._peer, tuple(portion), edition=self._edition))

    def report(self, lent: int, idle: Sequence[PoolLeg]) -> None:
        """Report on the interval of demand that ends now; `idle` legs, lent last first, are asked for their windows."""
        counts = (self.hits, self.misses, self.unfit, self.dial_failures)
        if self._report(lent, counts, window=median_window(idle[-_ASKED:])):
            self._told = counts
            self._lent_peak = lent

    def _report(self, lent: int, counts: tuple[int, int, int, int], *, window: int = 0) -> bool:
        peak = max(lent, self._lent_peak)
        report = Stats(self._peer, lent, peak, self.dialling, *counts, window, edition=self._edition)
        return self._line.say(report)


def median_window(legs: Iterable[PoolLeg]) -> int:
    """Give the median congestion window of `legs` in segments, 0 without any: a system call for each."""
    windows = [tcp_info(leg.socket).snd_cwnd_segments for leg in legs]
    return median_low(windows) if windows else 0


def portions(items: Iterable[Item], limit: int) -> Iterator[list[Item]]:
    """Give `items` in lists of at most `limit`."""
    rest = iter(items)
    while portion := list(islice(rest, limit)):
        yield portion

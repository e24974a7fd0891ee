"""What the lab has found, as values: times of each stage beside the model, downloads as curves, costs of relaying.

Every result becomes JSON by `as_dict`, and is drawn and printed elsewhere.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import ceil
from operator import itemgetter
from statistics import median
from typing import Any, Final

_TOLERATED: Final = 0.01  # of all packets, that are late


class Stage(StrEnum):
    """One rung of the ladder, as it is called in tables and pictures; each has all that those before it have."""

    END_TO_END = "end to end"
    SPLIT = "split"
    EARLY_SYN = "+ early SYN"
    POOL_LEGS = "+ pool legs"
    TURBO_START = "+ turbo start"
    PRECONNECT = "+ preconnect"


@dataclass(frozen=True, slots=True)
class Times:
    """How long one request took: seconds since the client began to connect.

    Attributes:
        first_byte_s: until the first byte of the answer was there.
        all_bytes_s: until all of them were.
    """

    first_byte_s: float
    all_bytes_s: float


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound that no gateway can do better than, with what bounds it in a word or two."""

    name: str
    times: Times


@dataclass(frozen=True, slots=True)
class Punctuality:
    """How well the emulated lines kept their times while something was measured.

    Attributes:
        packets: that were carried.
        late: those of them that were more than 1 ms late.
        worst_s: how late the latest was.
    """

    packets: int
    late: int
    worst_s: float

    @property
    def is_good(self) -> bool:
        """Whether figures taken meanwhile can be trusted: not more than 1 % of the packets were late."""
        return self.late <= _TOLERATED * self.packets

    @property
    def warnings(self) -> list[str]:
        """Give what to say beside figures that were taken meanwhile: nothing where the lines kept their times."""
        if self.is_good:
            return []
        late = f"{self.late} of {self.packets} packets were over 1 ms late, the worst {self.worst_s * 1e3:.0f} ms"
        return [f"the emulated lines must keep their times, and {late}: the machine has other work"]


@dataclass(frozen=True, slots=True)
class StageResult:
    """One stage, measured.

    Attributes:
        samples: in the order in which they were taken; at least one.
        model: what the model gives for the stage.
    """

    stage: Stage
    samples: Sequence[Times]
    model: Times

    @property
    def median(self) -> Times:
        """Give the median of the first bytes, and that of all bytes; they may be of two samples."""
        return Times(self._median(lambda times: times.first_byte_s), self._median(lambda times: times.all_bytes_s))

    def _median(self, of: Callable[[Times], float]) -> float:
        return median(map(of, self.samples))


@dataclass(frozen=True, slots=True)
class LadderResult:
    """The ladder, measured.

    Attributes:
        rtts_s: round-trip times of the lines, the client's first.
        size_bytes: of the answer's body.
        warnings: why the figures may mean less than they should; sentences.
    """

    rtts_s: Sequence[float]
    size_bytes: int
    stages: Sequence[StageResult]
    limits: Sequence[Limit]
    punctuality: Punctuality
    warnings: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it, the medians added."""
        found = asdict(self)
        for told, stage in zip(found["stages"], self.stages, strict=True):
            told["median"] = asdict(stage.median)
        return found


@dataclass(frozen=True, slots=True)
class Curve:
    """How much of a download had come by when.

    Attributes:
        points: (seconds since the client began to connect, bytes of the body so far), growing in both.
    """

    points: Sequence[tuple[float, int]]

    @property
    def took_s(self) -> float:
        """How long the whole of it took."""
        return self.points[-1][0]

    def thinned(self, most: int) -> "Curve":
        """Give the same with about `most` points, spread over its duration, the last of them kept."""
        kept, apart_s = [self.points[0]], self.took_s / most
        for point in self.points[1:]:
            if point[0] >= kept[-1][0] + apart_s or point is self.points[-1]:
                kept.append(point)
        return Curve(kept)

    def mbit_s(self, *, window_s: float, step_s: float) -> list[tuple[float, float]]:
        """Give the throughput at each step and at the end: (seconds, Mbit/s over the window that ends then)."""
        steps = [number * step_s for number in range(ceil(self.took_s / step_s))]
        return [(at_s, self._since(at_s - window_s, at_s) * 8e-6 / window_s) for at_s in (*steps, self.took_s)]

    def _since(self, from_s: float, until_s: float) -> int:
        return self._bytes_at(until_s) - self._bytes_at(from_s)

    def _bytes_at(self, at_s: float) -> int:
        place = bisect_right(self.points, at_s, key=itemgetter(0))
        return self.points[place - 1][1] if place else 0


class Way(StrEnum):
    """How something large is downloaded, as it is called in tables and pictures."""

    END_TO_END = "end to end"
    SPLIT = "split"
    EVERYTHING = "everything on"
    BBR = "and BBR to the client"


@dataclass(frozen=True, slots=True)
class DownloadWay:
    """One way of downloading, at one loss of the last mile.

    Attributes:
        loss: the share of packets lost on the last mile, 0 to 1.
        curves: one for each repeat.
        model_s: how long the model gives for it.
    """

    way: Way
    loss: float
    curves: Sequence[Curve]
    model_s: float

    @property
    def typical(self) -> Curve:
        """Give the curve of the median duration, the shorter of the two in the middle."""
        return sorted(self.curves, key=lambda curve: curve.took_s)[(len(self.curves) - 1) // 2]


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """Downloads, measured.

    Attributes:
        rate_bits_s: of the last mile.
        allowed_s: how long rate and propagation allow at best, and the headers of packets.
    """

    rtts_s: Sequence[float]
    size_bytes: int
    rate_bits_s: float
    ways: Sequence[DownloadWay]
    allowed_s: float
    punctuality: Punctuality
    warnings: Sequence[str] = ()

    def found(self, way: Way, loss: float) -> DownloadWay:
        """Give what was found of a way at a loss."""
        return next(each for each in self.ways if (each.way, each.loss) == (way, loss))

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it, the seconds that the typical download took added."""
        found = asdict(self)
        for told, way in zip(found["ways"], self.ways, strict=True):
            told["took_s"] = way.typical.took_s
        return found


@dataclass(frozen=True, slots=True)
class RelayCost:
    """What one way of relaying costs, and what it does for a reader that reads nothing. None: it could not be tried.

    Attributes:
        how: copy, splice or sockmap.
        cpu_s_per_gb: processor time of the whole machine for 10^9 bytes, less what it takes without a relay.
        own_cpu_s_per_gb: that of the relay's own processes. None where it has none: then others pay for it.
        taken_in_bytes: what it took in for the reader that read nothing, up to a bound.
        keeps_back_pressure: whether it had stopped taking in below that bound.
        note: why it was not tried; empty where it was.
    """

    how: str
    cpu_s_per_gb: float | None = None
    own_cpu_s_per_gb: float | None = None
    taken_in_bytes: int | None = None
    keeps_back_pressure: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class RelayResult:
    """Ways of relaying, measured in turns.

    Attributes:
        size_bytes: that each way relayed in each turn.
        warnings: as in LadderResult.
    """

    costs: Sequence[RelayCost]
    size_bytes: int
    warnings: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return asdict(self)

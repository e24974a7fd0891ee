"""Figures and what is made of them: medians, ratios, targets. Pure: no process, no file, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.configurations import RelayName


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on Midmile's ratio to HAProxy; or, where `own`, on Midmile's figure itself."""

    limit: float
    at_most: bool = True
    own: bool = False

    def met(self, value: float) -> bool:
        """Tell whether `value` keeps the bound."""
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:.2f}"


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured; two of the same title are the same row.

    Attributes:
        may_be_zero: nothing at all is an honest figure; elsewhere it is taken for a fault of the measurement.
    """

    title: str
    unit: str
    target: Target | None = None
    may_be_zero: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one relay in one round."""

    round: int
    relay: RelayName
    metric: Metric
    value: float

    def __str__(self) -> str:
        return f"round {self.round}, {self.metric.title}, {self.relay}: {self.value:g} {self.metric.unit}"


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, between the lowest and the highest."""

    middle: float
    low: float
    high: float


def rows(samples: Sequence[Sample]) -> list[Metric]:
    """Give each metric once, in the order in which they were first measured."""
    return list(dict.fromkeys(sample.metric for sample in samples))


def by_round(samples: Sequence[Sample], metric: Metric, relay: RelayName) -> dict[int, float]:
    """Give a relay's figures by round."""
    return {s.round: s.value for s in samples if s.metric == metric and s.relay == relay}


def spread(values: Sequence[float]) -> Spread | None:
    """Sum up figures; None where there are none."""
    return Spread(median(values), min(values), max(values)) if values else None


def ratio(samples: Sequence[Sample], metric: Metric, relay: RelayName) -> Spread | None:
    """Sum up a relay's ratios to HAProxy, one for each round that has both.

    Round by round, not median by median: what slowed the whole machine for one round slowed both, and cancels out.
    """
    own, base = by_round(samples, metric, relay), by_round(samples, metric, RelayName.HAPROXY)
    return spread([own[number] / base[number] for number in own if base.get(number)])


def quotients(samples: Sequence[Sample], result: Metric, *, over: Metric, under: Metric) -> list[Sample]:
    """Make a metric that is one metric divided by another, for each relay and round that has both."""
    bottom = {(s.round, s.relay): s.value for s in samples if s.metric == under and s.value}
    tops = [s for s in samples if s.metric == over and (s.round, s.relay) in bottom]
    return [Sample(s.round, s.relay, result, s.value / bottom[s.round, s.relay]) for s in tops]


def verdict(samples: Sequence[Sample], metric: Metric) -> bool | None:
    """Tell whether Midmile met the metric's target; None without a target or without figures."""
    if metric.target is None:
        return None
    own = spread(list(by_round(samples, metric, RelayName.MIDMILE).values()))
    judged = own if metric.target.own else ratio(samples, metric, RelayName.MIDMILE)
    return metric.target.met(judged.middle) if judged else None


def not_positive(samples: Sequence[Sample]) -> list[Sample]:
    """Give the samples that cannot be true: nearly everything measured here costs or carries something."""
    return [sample for sample in samples if not (sample.value > 0 or (sample.metric.may_be_zero and sample.value == 0))]

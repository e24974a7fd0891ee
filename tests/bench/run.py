"""One run: every measurement of every round with every relay, each started for it and ended after it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import measures, origins
from tests.bench.catalogue import QUOTIENTS
from tests.bench.configurations import Doors, Plan, RelayName
from tests.bench.figures import Sample, not_positive, quotients
from tests.bench.machine import Cores
from tests.bench.measures import Measure, Scale, Setting
from tests.bench.processes import BenchError, UnpunctualError


@dataclass(frozen=True, slots=True)
class Outcome:
    """All figures of a run, and a line for each measurement that gave none: it failed, or ran late."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    unpunctual: list[str] = field(default_factory=list)

    def faults(self, *, smoke: bool) -> list[str]:
        """Give a line for all that was wrong. A smoke judges code, not machines: a nought is wrong, late is not."""
        noughts = [f"{sample}, expected more than 0" for sample in not_positive(self.samples)]
        return [*self.failures, *(noughts if smoke else self.unpunctual)]


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement of one relay in one round."""

    round: int
    measure: Measure
    relay: RelayName

    def __str__(self) -> str:
        return f"round {self.round}, {self.measure.name}, {self.relay}"


def steps(chosen: Sequence[Measure], names: Sequence[RelayName], *, rounds: int) -> Iterator[Step]:
    """Give the order of a run: round by round, in a round measurement by measurement, in a measurement relay by relay.

    So figures to be compared are taken within seconds of each other. The relays take turns at going first.
    """
    for number in range(1, rounds + 1):
        first = (number - 1) % len(names)
        turn = [*names[first:], *names[:first]]
        for measure in (each for each in chosen if number <= each.most_rounds):
            yield from (Step(number, measure, name) for name in turn if name in measure.relays)


def run(todo: Sequence[Step], *, scale: Scale, cores: Cores, tell: Callable[[str], None]) -> Outcome:
    """Take all steps. One that fails is told and kept as a failure, and the rest goes on."""
    outcome = Outcome()
    with TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with origins.started(directory, core=cores.loads, sessions=scale.sessions) as ends:
            setting = Setting(scale, ends, cores.loads, directory / "loads.log")
            for count, step in enumerate(todo, 1):
                tell(f"{count}/{len(todo)} {step}")
                _take(step, setting, outcome, cores=cores)
    made = [quotients(outcome.samples, row, over=over, under=under) for row, over, under in QUOTIENTS]
    return replace(outcome, samples=[*outcome.samples, *chain.from_iterable(made)])


def _take(step: Step, setting: Setting, outcome: Outcome, *, cores: Cores) -> None:
    try:
        figures = _figures(step, setting, cores=cores)
    except UnpunctualError as reason:
        outcome.unpunctual.append(f"{step}: {reason}")
        return
    except (BenchError, OSError) as failure:
        outcome.failures.append(f"{step}: {failure}")
        return
    found = [(metric, value) for metric, value in figures.items() if value is not None]
    outcome.samples.extend(Sample(step.round, step.relay, metric, value) for metric, value in found)


def _figures(step: Step, setting: Setting, *, cores: Cores) -> measures.Figures:
    measure = step.measure
    with TemporaryDirectory(prefix="relay-", dir=setting.log.parent) as directory:
        doors, sessions = Doors.free(), setting.scale.sessions
        plan = Plan(Path(directory), doors, setting.origins.doors, sessions, splice=measure.splice)
        with measure.start(step.relay, plan, cores) as relay:
            return measure.run(relay, setting)

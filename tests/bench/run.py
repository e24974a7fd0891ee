"""One run: every measurement of every round with every relay, each started for it and ended after it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import measures, origins, relays
from tests.bench.figures import Sample, quotients
from tests.bench.machine import Cores
from tests.bench.measures import Measure, Scale, Setting
from tests.bench.processes import BenchError, free_ports
from tests.bench.relays import Plan, RelayName


@dataclass(frozen=True, slots=True)
class Outcome:
    """All figures of a run, and a line for each measurement that gave none."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


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
        for measure in chosen:
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
                _take(step, setting, outcome, relay_core=cores.relay)
    derived = quotients(outcome.samples, measures.COPY_TIMES, over=measures.COPY_CPU, under=measures.BULK_CPU)
    return Outcome([*outcome.samples, *derived], outcome.failures)


def _take(step: Step, setting: Setting, outcome: Outcome, *, relay_core: int) -> None:
    try:
        figures = _figures(step, setting, relay_core=relay_core)
    except (BenchError, OSError) as failure:
        outcome.failures.append(f"{step}: {failure}")
        return
    found = [(metric, value) for metric, value in figures.items() if value is not None]
    outcome.samples.extend(Sample(step.round, step.relay, metric, value) for metric, value in found)


def _figures(step: Step, setting: Setting, *, relay_core: int) -> measures.Figures:
    with TemporaryDirectory(prefix="relay-", dir=setting.log.parent) as directory:
        http_port, bulk_port = free_ports(2)
        plan = Plan(Path(directory), setting.origins, http_port, bulk_port, setting.scale.sessions, step.measure.splice)
        with relays.started(step.relay, plan=plan, core=relay_core) as relay:
            return step.measure.run(relay, setting)

"""Midmile next to HAProxy and nginx stream: `python -m tests.bench` from the project's root, or `make bench`.

How it is done, and why:

- Each relay has one worker, pinned to one core that it has for itself; loads and origins share another. A row of rates
  near the direct row tells of the loads' core, not of the relay: then compare CPU.
- Every single measurement starts the relay anew, warms it up, and ends it. No figure depends on what ran before it,
  and memory kept from a former load cannot hide what sessions cost.
- Relays are interleaved, round by round; the ratio is taken within each round, and the median over the rounds.
- CPU and memory count the relay's whole process tree: master, workers and helpers.
- A load that met an error, a rate that was not held, a process that came or went: no figure, but a failure. The
  smoke form judges the code and not the machine: a rate or a line's times that were not held are only told there.

Everything stays on 127.0.0.0/8. Loopback has no wire: no delay, no loss, no interrupts of a network card, and packets
of 64 KiB. Ratios carry over to other machines better than absolute figures, and both only from a machine with nothing
else to do. Targets are marked, never enforced; the exit code is 1 only where a measurement failed.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.bench import machine, report
from tests.bench.catalogue import MEASURES
from tests.bench.configurations import RelayName
from tests.bench.measures import FULL, SMOKE, Measure, Scale
from tests.bench.processes import BenchError
from tests.bench.run import Outcome, run, steps


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="everything for a moment: shows that it runs, no figures")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"instead of {FULL.rounds}")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[m.name for m in MEASURES], help="%(choices)s")
    parser.add_argument("--relays", nargs="+", metavar="NAME", choices=[*RelayName], help="%(choices)s")
    parser.add_argument(
        "--rate", type=int, metavar="N", help=f"of the latency, instead of {FULL.latency_rate} messages/s"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="instead of bench-results/DATE-COMMIT.json")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def scale(options: argparse.Namespace) -> Scale:
    """Give the scale that the command line asks for."""
    chosen = SMOKE if options.smoke else FULL
    return replace(chosen, rounds=options.rounds or chosen.rounds, latency_rate=options.rate or chosen.latency_rate)


def tell(line: str) -> None:
    """Say how far the run is, apart from its result."""
    print(line, file=sys.stderr, flush=True)


def choose(only: Sequence[str] | None) -> list[Measure]:
    """Give the measurements that were asked for: all, but without root not those that need it."""
    if only:
        return [entry for entry in MEASURES if entry.name in only]
    left_out = [entry for entry in MEASURES if entry.needs_root and os.geteuid() != 0]
    if left_out:
        tell(f"left out, for they need root: {' '.join(entry.name for entry in left_out)}")
    return [entry for entry in MEASURES if entry not in left_out]


def measure(options: argparse.Namespace) -> int:
    """Run, write the file, print the table, and give the exit code."""
    size, cores = scale(options), machine.choose_cores()
    machine.require_programs()
    machine.require_descriptors(size.sessions)
    os.sched_setaffinity(0, {cores.loads})  # what warms up and watches belongs to the load
    about = {**machine.facts(cores), "scale": asdict(size)}
    chosen = choose(options.only)
    names = [name for name in RelayName if name in (options.relays or RelayName)]
    outcome = run(list(steps(chosen, names, rounds=size.rounds)), scale=size, cores=cores, tell=tell)
    publish(outcome, options, about)
    return 1 if outcome.faults(smoke=options.smoke) else 0


def publish(outcome: Outcome, options: argparse.Namespace, about: dict[str, Any]) -> None:
    """Write all of the run to its file and print the table."""
    faults = outcome.faults(smoke=options.smoke)
    path = options.json or Path("bench-results", f"{about['date'].replace(':', '')}-{about['commit']}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report.document(outcome.samples, about=about, failures=faults), indent=1) + "\n")
    cells = report.grid(outcome.samples)
    print(report.markdown(cells) if options.markdown else report.text(cells))
    tell(f"all rounds: {path}")
    if options.smoke and outcome.unpunctual:
        tell("\n".join([f"{len(outcome.unpunctual)} ran late, which a smoke does not judge:", *outcome.unpunctual]))
    if faults:
        tell("\n".join([f"{len(faults)} failed:", *faults]))


def main() -> int:
    """Run the bench; SIGTERM ends it as Ctrl-C does, with all that it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return measure(arguments())
    except BenchError as failure:
        tell(f"bench: {failure}")
        return 1


if __name__ == "__main__":
    sys.exit(main())

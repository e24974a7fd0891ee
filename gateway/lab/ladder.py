"""Measures the ladder: the same request by each stage in turn, over a path of emulated lines, beside the model."""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.lab import model
from gateway.lab.delay_line import LineTerms
from gateway.lab.results import LadderResult, Punctuality, Stage, StageResult, Times
from gateway.lab.scene import Progress, Scene
from gateway.lab.wan import Traffic

STAGES: Final = tuple(Stage)
"""The stages that are measured: all."""

FEWEST_REPEATS: Final = 5
"""For a median that one disturbed sample does not move."""


def run_ladder(
    rtts_s: Sequence[float], *, size_bytes: int = 43_000, repeats: int = FEWEST_REPEATS, progress: Progress
) -> LadderResult:
    """Measure every stage, `repeats` times, in turns.

    Args:
        rtts_s: round-trip times of the lines, the client's first; two at least.
        size_bytes: what is asked for.
        progress: is told of each measurement.

    Raises:
        StartError: it needs root, or something of the system; the message says what.
        FetchError: an answer did not come.
    """
    lines = [LineTerms(delay_s=rtt_s / 2) for rtt_s in rtts_s]
    with Scene(lines, STAGES, progress=progress) as scene:
        before = scene.wan.traffic()
        samples = _measured(scene, size_bytes, repeats, progress)
        punctuality = since(before, scene.wan.traffic())
    transfer = model.Transfer(size_bytes=size_bytes)
    predicted = model.ladder(rtts_s, transfer)
    stages = [StageResult(stage, samples[stage], predicted[stage]) for stage in STAGES]
    limits = model.limits(rtts_s, transfer)
    return LadderResult(rtts_s, size_bytes, stages, limits, punctuality, _warnings(punctuality, repeats))


def _measured(scene: Scene, size_bytes: int, repeats: int, progress: Progress) -> Mapping[Stage, Sequence[Times]]:
    samples: dict[Stage, list[Times]] = {stage: [] for stage in STAGES}
    for turn in range(1, repeats + 1):
        for stage in STAGES:
            times = scene.fetch(stage, size_bytes).times
            samples[stage].append(times)
            told = f"first byte {times.first_byte_s * 1e3:.0f} ms, all bytes {times.all_bytes_s * 1e3:.0f} ms"
            progress(f"{turn}/{repeats} {stage}: {told}")
    return samples


def since(before: Traffic, now: Traffic) -> Punctuality:
    """Give how well the lines kept their times between two looks at the traffic."""
    return Punctuality(now.left - before.left, now.late - before.late, now.worst_s)


def _warnings(punctuality: Punctuality, repeats: int) -> list[str]:
    few = [f"a median wants {FEWEST_REPEATS} samples or more; found {repeats}"] if repeats < FEWEST_REPEATS else []
    return [*punctuality.warnings, *few]

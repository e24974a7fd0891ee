"""The ladder in small: each stage once, over lines so short that it takes seconds; `make lab` shows how exact it is."""

import os
from collections.abc import Sequence

import pytest

from gateway.lab.ladder import STAGES, run_ladder, since
from gateway.lab.results import LadderResult, Punctuality
from gateway.lab.wan import Traffic

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")

RTTS_S = (0.014, 0.04, 0.016)


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def result(told: list[str]) -> LadderResult:
    return run_ladder(RTTS_S, repeats=1, progress=told.append)


@needs_root
def test_every_stage_is_measured_beside_its_model(result: LadderResult) -> None:
    assert [stage.stage for stage in result.stages] == list(STAGES)
    for stage in result.stages:
        assert stage.median.first_byte_s >= stage.model.first_byte_s
        assert stage.median.all_bytes_s >= stage.median.first_byte_s


@needs_root
def test_no_answer_is_earlier_than_light_allows(result: LadderResult) -> None:
    assert min(stage.median.first_byte_s for stage in result.stages) >= sum(RTTS_S)
    assert [limit.name for limit in result.limits] == ["unmodified client", "propagation"]


@needs_root
def test_progress_and_too_few_samples_are_told(result: LadderResult, told: Sequence[str]) -> None:
    assert [line for line in told if line.startswith(f"1/1 {STAGES[-1]}: first byte ")]
    assert "a median wants 5 samples or more; found 1" in result.warnings


def test_punctuality_is_of_what_was_measured_alone() -> None:
    before, now = Traffic({}, left=1_000, late=900, worst_s=0.5), Traffic({}, left=3_000, late=901, worst_s=0.002)
    assert since(before, now) == Punctuality(packets=2_000, late=1, worst_s=0.002)

import json
from itertools import pairwise

import pytest

from gateway.lab.results import (
    Curve,
    DownloadResult,
    DownloadWay,
    LadderResult,
    Limit,
    Punctuality,
    RelayCost,
    RelayResult,
    Stage,
    StageResult,
    Times,
    Way,
)

PUNCTUAL = Punctuality(packets=1_000, late=10, worst_s=0.002)


def test_the_median_is_taken_of_each_time_by_itself() -> None:
    samples = [Times(0.3, 0.6), Times(0.1, 0.5), Times(0.2, 0.9)]
    assert StageResult(Stage.SPLIT, samples, Times(0.2, 0.6)).median == Times(0.2, 0.6)


def test_a_hundredth_of_late_packets_is_tolerated_and_no_more() -> None:
    assert PUNCTUAL.is_good
    assert not Punctuality(packets=1_000, late=11, worst_s=0.002).is_good
    assert Punctuality(packets=0, late=0, worst_s=0).is_good


def test_a_ladder_becomes_json_with_its_medians() -> None:
    stage = StageResult(Stage.EARLY_SYN, [Times(0.1, 0.2)], Times(0.11, 0.21))
    result = LadderResult([0.01, 0.02], 43_000, [stage], [Limit("propagation", Times(0.05, 0.05))], PUNCTUAL)
    told = json.loads(json.dumps(result.as_dict()))["stages"][0]
    assert (told["stage"], told["median"]) == ("+ early SYN", {"first_byte_s": 0.1, "all_bytes_s": 0.2})


def test_throughput_is_told_over_the_window_before() -> None:
    curve = Curve([(0.0, 0), (0.5, 1_000_000), (1.5, 1_500_000), (2.5, 2_000_000)])
    assert curve.mbit_s(window_s=1.0, step_s=1.0) == [(0.0, 0.0), (1.0, 8.0), (2.0, 4.0), (2.5, 4.0)]
    assert curve.mbit_s(window_s=2.0, step_s=9.0) == [(0.0, 0.0), (2.5, 4.0)]


def test_a_window_in_which_nothing_came_is_told_as_zero() -> None:
    found = Curve([(0.1, 9), (2.5, 1_000_009)]).mbit_s(window_s=1.0, step_s=2.0)
    assert found == [(0.0, 0.0), (2.0, 0.0), (2.5, 8.0)]


def test_a_curve_is_thinned_to_its_shape() -> None:
    curve = Curve([(number / 1_000, number) for number in range(10_001)])
    thin = curve.thinned(100)
    assert len(thin.points) == pytest.approx(100, abs=3)
    assert (thin.points[0], thin.points[-1]) == (curve.points[0], curve.points[-1])
    assert max(later[0] - sooner[0] for sooner, later in pairwise(thin.points)) < 0.11
    assert Curve([(2.0, 5)]).thinned(100) == Curve([(2.0, 5)])


def test_the_typical_download_is_one_that_was_made() -> None:
    curves = [Curve([(took_s, 1)]) for took_s in (4.0, 1.0, 2.0, 3.0)]
    assert DownloadWay(Way.SPLIT, 0.0, curves, 2.0).typical is curves[2]


def test_a_download_becomes_json_and_its_ways_are_found() -> None:
    ways = [DownloadWay(Way.SPLIT, loss, [Curve([(3.0 + loss, 50)])], 2.5) for loss in (0.0, 0.001)]
    result = DownloadResult([0.1], 50, 2e8, ways, 2.0, PUNCTUAL)
    assert result.found(Way.SPLIT, 0.001) is ways[1]
    assert [way["took_s"] for way in json.loads(json.dumps(result.as_dict()))["ways"]] == [3.0, 3.001]


@pytest.mark.parametrize(
    "cost", [RelayCost("splice", 0.5, 0.2, 1_000_000, True), RelayCost("sockmap", note="not tried")]
)
def test_a_cost_becomes_json(cost: RelayCost) -> None:
    assert json.loads(json.dumps(RelayResult([cost], 10**9).as_dict()))["costs"][0]["note"] == cost.note

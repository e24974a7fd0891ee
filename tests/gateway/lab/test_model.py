import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.lab.model import Bound, Leg, Path, Transfer, arrivals, ladder, limits, lossy_spacing_s, predict
from gateway.lab.results import Limit, Stage, Times

A, M, B = CHAIN = (0.028, 0.214, 0.032)  # San Francisco, Oregon, Mumbai, Bangalore
RUNGS = (*Stage, *Bound)
NEAREST_S = 1e-9  # sums of floating-point numbers; a line's time is a million times longer

rtts = st.lists(st.floats(0, 0.5), min_size=2, max_size=5)
transfers = st.builds(
    Transfer,
    size_bytes=st.integers(1, 3_000_000),
    rate_bits_s=st.just(0.0) | st.floats(1e6, 1e10),
    initial_window=st.integers(1, 40),
)
losses = st.just(0.0) | st.floats(1e-5, 0.1)


def times(rung: Stage | Bound, chain: Sequence[float] = CHAIN, transfer: Transfer | None = None) -> Times:
    return predict(Path.of(rung, chain), transfer or Transfer())


@pytest.mark.parametrize(
    ("rung", "first_byte_ms", "all_bytes_ms"),
    [
        (Stage.END_TO_END, 548, 822),
        (Stage.SPLIT, 548, 762),
        (Stage.EARLY_SYN, 488, 702),
        (Stage.POOL_LEGS, 306, 520),
        (Stage.TURBO_START, 306, 338),
        (Stage.PRECONNECT, 302, 334),
        (Bound.UNMODIFIED_CLIENT, 302, 302),
        (Bound.PROPAGATION, 274, 274),
    ],
)
def test_the_predecessors_path_takes_what_its_talk_told(
    rung: Stage | Bound, first_byte_ms: int, all_bytes_ms: int
) -> None:
    found = times(rung)
    assert found.first_byte_s * 1e3 == pytest.approx(first_byte_ms, abs=1e-6)
    assert found.all_bytes_s * 1e3 == pytest.approx(all_bytes_ms, abs=1e-6)


def test_the_ladder_has_each_stage_and_both_limits() -> None:
    assert ladder(CHAIN, Transfer()) == {stage: times(stage) for stage in Stage}
    assert limits(CHAIN, Transfer()) == tuple(Limit(bound.value, times(bound)) for bound in Bound)


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5))
def test_first_bytes_are_as_the_page_derives_them(a: float, m: float, b: float) -> None:
    total = a + m + b
    expected: dict[Stage | Bound, float] = {
        Stage.END_TO_END: 2 * total,
        Stage.SPLIT: 2 * total,
        Stage.EARLY_SYN: total + max(a, m, b),
        Stage.POOL_LEGS: total + max(a, b),
        Stage.TURBO_START: total + max(a, b),
        Stage.PRECONNECT: total + a,
        Bound.UNMODIFIED_CLIENT: total + a,
        Bound.PROPAGATION: total,
    }
    for rung, first_byte_s in expected.items():
        assert times(rung, (a, m, b)).first_byte_s == pytest.approx(first_byte_s, abs=NEAREST_S), rung


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), st.integers(1, 6))
def test_what_takes_some_windows_takes_one_round_less_than_these(a: float, m: float, b: float, windows: int) -> None:
    """1, 3, 7, 15 .. initial windows are 1, 2, 3, 4 .. rounds: of the whole path, of its longest leg, of a cold one."""
    transfer = Transfer(size_bytes=(2**windows - 1) * 10 * 1_448)
    longest: dict[Stage | Bound, float] = {
        Stage.END_TO_END: a + m + b,
        Stage.SPLIT: max(a, m, b),
        Stage.EARLY_SYN: max(a, m, b),
        Stage.POOL_LEGS: max(a, m, b),
        Stage.TURBO_START: max(a, b),
        Bound.UNMODIFIED_CLIENT: 0,
    }
    for rung, round_s in longest.items():
        found = times(rung, (a, m, b), transfer)
        rounds_s = found.all_bytes_s - found.first_byte_s
        assert rounds_s == pytest.approx((windows - 1) * round_s, abs=NEAREST_S), rung


@given(rtts, transfers, losses)
@settings(max_examples=30, deadline=None)
def test_no_rung_is_slower_than_the_one_before_it(chain: list[float], transfer: Transfer, loss: float) -> None:
    descending = (*Stage, Bound.UNMODIFIED_CLIENT, Bound.PROPAGATION)
    found = [predict(Path.of(rung, chain, loss=loss), transfer) for rung in descending]
    for above, below in pairwise(found):
        assert below.first_byte_s <= above.first_byte_s + NEAREST_S
        assert below.all_bytes_s <= above.all_bytes_s + NEAREST_S


@given(rtts, transfers)
@settings(max_examples=30, deadline=None)
def test_nothing_is_faster_than_propagation_and_rate(chain: list[float], transfer: Transfer) -> None:
    for rung in RUNGS:
        found = times(rung, chain, transfer)
        assert found.first_byte_s >= sum(chain) - NEAREST_S
        assert found.all_bytes_s >= sum(chain) + (transfer.segments - 1) * transfer.spacing_s - NEAREST_S


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_longer_leg_or_a_larger_answer_is_never_faster(data: st.DataObject) -> None:
    rung, chain, transfer, loss = (data.draw(each) for each in (st.sampled_from(RUNGS), rtts, transfers, losses))
    place = data.draw(st.integers(0, len(chain) - 1))
    longer = [*chain[:place], chain[place] + data.draw(st.floats(0, 0.2)), *chain[place + 1 :]]
    larger = Transfer(transfer.size_bytes + data.draw(st.integers(0, 100_000)), transfer.rate_bits_s)
    like = Transfer(transfer.size_bytes, transfer.rate_bits_s)
    before, after = (predict(Path.of(rung, rtts_s, loss=loss), like) for rtts_s in (chain, longer))
    assert before.first_byte_s <= after.first_byte_s + NEAREST_S
    assert before.all_bytes_s <= after.all_bytes_s + NEAREST_S
    assert predict(Path.of(rung, chain, loss=loss), larger).all_bytes_s >= before.all_bytes_s


@given(rtts, transfers)
@settings(max_examples=30, deadline=None)
def test_segments_arrive_in_order_and_not_above_the_rate(chain: list[float], transfer: Transfer) -> None:
    for rung in RUNGS:
        at_s = arrivals(Path.of(rung, chain), transfer)
        assert len(at_s) == transfer.segments
        assert all(later - sooner >= transfer.spacing_s - NEAREST_S for sooner, later in pairwise(at_s))


def test_bytes_go_on_as_they_come_so_short_legs_open_while_a_long_one_waits() -> None:
    """A cold leg of 100 ms delivers 10, 20 and 40 segments; the 30 ms leg behind it has opened by then."""
    chain = (0.030, 0.100, 0.030)
    transfer = Transfer(size_bytes=70 * 1_448)
    found = arrivals(Path.of(Stage.POOL_LEGS, chain), transfer)
    rounds = [round((at_s - found[0]) * 1e3) for at_s in found]
    assert rounds == [0] * 10 + [100] * 20 + [200] * 40


def test_a_long_clients_leg_delays_what_a_short_one_lets_through() -> None:
    """Behind a window of its own each burst of the server waits for the client's acknowledgements."""
    found = arrivals(Path.of(Stage.TURBO_START, (0.100, 0.200, 0.010)), Transfer(size_bytes=31 * 1_448))
    rounds = [round((at_s - found[0]) * 1e3) for at_s in found]
    assert rounds == [0] * 10 + [100] * 20 + [200]


@pytest.mark.parametrize("chain", [(0.028, 0.032), (0.028, 0.1, 0.2, 0.032)])
def test_a_chain_may_have_any_number_of_gateways(chain: tuple[float, ...]) -> None:
    total, ends = sum(chain), max(chain[0], chain[-1])
    assert times(Stage.POOL_LEGS, chain).first_byte_s == pytest.approx(total + ends)
    assert times(Stage.TURBO_START, chain).all_bytes_s == pytest.approx(total + 2 * ends)


def test_one_gateway_has_no_pool_and_gains_nothing_by_it() -> None:
    chain = (0.028, 0.032)
    assert times(Stage.EARLY_SYN, chain) == times(Stage.POOL_LEGS, chain) == times(Stage.TURBO_START, chain)


def test_a_download_ramps_up_and_then_takes_its_size_by_the_rate() -> None:
    """End to end: nine rounds until 200 Mbit/s are on the way, 5,110 segments, the rest at the line's rate."""
    transfer = Transfer(50_000_000, rate_bits_s=200e6)
    rest_s = (transfer.segments - 10 * (2**9 - 1)) * transfer.spacing_s
    found = times(Stage.END_TO_END, CHAIN, transfer)
    assert found.all_bytes_s == pytest.approx(0.548 + 9 * 0.274 + rest_s, abs=0.01)
    assert found.all_bytes_s / times(Stage.TURBO_START, CHAIN, transfer).all_bytes_s > 1.8


def test_a_packet_on_a_line_has_its_headers() -> None:
    assert Transfer(rate_bits_s=12e6).spacing_s == pytest.approx(0.001)
    assert Transfer().spacing_s == 0


@pytest.mark.parametrize(("size", "segments"), [(1, 1), (1_448, 1), (1_449, 2), (43_000, 30), (50_000_000, 34_531)])
def test_an_answer_is_cut_into_segments(size: int, segments: int) -> None:
    assert Transfer(size).segments == segments


def test_loss_holds_a_long_leg_back_more_than_a_short_one() -> None:
    rates = [1_448 * 8 / lossy_spacing_s(Leg(rtt_s, loss=0.001)) for rtt_s in (0.274, 0.028)]
    assert rates == [pytest.approx(3.0e6, rel=0.02), pytest.approx(16.0e6, rel=0.02)]
    assert lossy_spacing_s(Leg(0.274)) == 0


def test_loss_is_the_clients_legs_and_the_whole_path_has_it_where_nothing_divides_it() -> None:
    assert [leg.loss for leg in Path.of(Stage.SPLIT, CHAIN, loss=0.1).legs] == [0.1, 0, 0]
    assert [leg.loss for leg in Path.of(Stage.END_TO_END, CHAIN, loss=0.1).legs] == [0.1]


@pytest.mark.parametrize("chain", [(), (0.1,), (0.1, -0.001), (0.1, math.inf), (math.nan, 0.1)])
def test_a_chain_that_is_none_is_refused(chain: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="round-trip time"):
        Path.of(Stage.SPLIT, chain)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"size_bytes": 0}, "size_bytes"),
        ({"initial_window": 0}, "initial_window"),
        ({"segment_bytes": 0}, "segment_bytes"),
        ({"rate_bits_s": -1.0}, "rate_bits_s"),
        ({"rate_bits_s": math.inf}, "rate_bits_s"),
    ],
)
def test_a_transfer_that_is_none_is_refused(wrong: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*found {next(iter(wrong.values()))}"):
        Transfer(**wrong)  # type: ignore[arg-type]  # as a caller without types might

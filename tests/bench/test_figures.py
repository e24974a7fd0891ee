from hypothesis import given
from hypothesis import strategies as st

from tests.bench.configurations import RelayName
from tests.bench.figures import Metric, Sample, Spread, Target, by_round, not_positive, quotients, ratio, rows, verdict

COST = Metric("cost", "s", Target(0.80))
RATE = Metric("rate", "1/s", Target(0.75, at_most=False))
TIMES = Metric("times", "×", Target(2.0, at_most=False, own=True))
PLAIN = Metric("plain", "s")


def samples(metric: Metric, **by_relay: list[float]) -> list[Sample]:
    names = {"haproxy": RelayName.HAPROXY, "midmile": RelayName.MIDMILE}
    return [
        Sample(number, names[relay], metric, value)
        for relay, values in by_relay.items()
        for number, value in enumerate(values, 1)
    ]


def test_the_ratio_is_taken_round_by_round_so_a_slow_round_cancels_out() -> None:
    measured = samples(COST, haproxy=[1.0, 10.0, 1.0], midmile=[0.5, 5.0, 0.7])
    assert ratio(measured, COST, RelayName.MIDMILE) == Spread(0.5, 0.5, 0.7)


def test_a_round_that_lacks_either_relay_gives_no_ratio() -> None:
    measured = samples(COST, haproxy=[1.0], midmile=[0.5, 100.0])
    assert ratio(measured, COST, RelayName.MIDMILE) == Spread(0.5, 0.5, 0.5)
    assert ratio(samples(COST, midmile=[0.5]), COST, RelayName.MIDMILE) is None


@given(st.lists(st.floats(min_value=1e-3, max_value=1e6), min_size=1, max_size=9))
def test_haproxy_is_once_itself(values: list[float]) -> None:
    assert ratio(samples(COST, haproxy=values), COST, RelayName.HAPROXY) == Spread(1.0, 1.0, 1.0)


def test_targets_bound_from_the_side_they_name() -> None:
    assert verdict(samples(COST, haproxy=[1.0], midmile=[0.80]), COST) is True
    assert verdict(samples(COST, haproxy=[1.0], midmile=[0.81]), COST) is False
    assert verdict(samples(RATE, haproxy=[1.0], midmile=[0.75]), RATE) is True
    assert verdict(samples(RATE, haproxy=[1.0], midmile=[0.74]), RATE) is False


def test_a_target_on_midmile_itself_needs_no_haproxy() -> None:
    assert verdict(samples(TIMES, midmile=[2.5, 2.1, 1.0]), TIMES) is True
    assert verdict(samples(TIMES, haproxy=[9.0], midmile=[1.9]), TIMES) is False


def test_nothing_is_judged_without_a_target_or_without_figures() -> None:
    assert verdict(samples(PLAIN, haproxy=[1.0], midmile=[1.0]), PLAIN) is None
    assert verdict(samples(COST, haproxy=[1.0]), COST) is None


def test_quotients_pair_relay_and_round() -> None:
    measured = [*samples(COST, haproxy=[1.0, 2.0], midmile=[1.0]), *samples(PLAIN, haproxy=[3.0, 3.0], midmile=[4.0])]
    made = [*measured, *quotients(measured, TIMES, over=PLAIN, under=COST)]
    assert by_round(made, TIMES, RelayName.HAPROXY) == {1: 3.0, 2: 1.5}
    assert by_round(made, TIMES, RelayName.MIDMILE) == {1: 4.0}


def test_rows_keep_the_order_of_measuring() -> None:
    assert rows([*samples(RATE, haproxy=[1.0, 1.0]), *samples(COST, haproxy=[1.0]), *samples(RATE, midmile=[1.0])]) == [
        RATE,
        COST,
    ]


def test_zero_negative_and_nan_cannot_have_been_measured() -> None:
    wrong = samples(COST, midmile=[0.0, -1.0, float("nan")])
    assert not_positive([*wrong, *samples(COST, haproxy=[0.001])]) == wrong

"""Rates and trails, from samples whose clock the tests turn."""

import pytest

from gateway.top.counters import GATEWAY, of_link, of_listener, of_worker
from gateway.top.recent import CELLS, Rates, Recent, Stretch, trail
from tests.gateway.top.samples import link, listener, sample, worker

LOOKS_S = 7.5  # between two looks of a worker at a session
SPEED = 1000  # bytes a second


def test_rates_are_those_between_the_last_two_samples() -> None:
    recent = Recent(every_s=1.0)
    for at_s, begun in ((10.0, 0), (11.0, 50), (13.0, 56)):
        recent.add(sample(worker(sessions_total=begun), at_s=at_s, links=(link(hits=begun),)))
    assert recent.rates(GATEWAY) == recent.rates(of_worker(0)) == Rates(3.0, 0.0, 0.0, 0.0, 0.0)
    assert recent.rates(of_link("mumbai")) == Rates(3.0, 0.0, 0.0, 0.0, 0.0)
    assert recent.interval_s == 2.0


def test_one_sample_has_no_rates() -> None:
    recent = Recent(every_s=1.0)
    recent.add(sample())
    assert (recent.rates(GATEWAY), recent.interval_s, recent.trail(GATEWAY)) == (None, None, ())


def test_what_is_new_has_no_rates_and_nothing_of_another_life_counts() -> None:
    recent = Recent(every_s=1.0)
    recent.add(sample(worker(sessions_total=5), at_s=1.0))
    recent.add(sample(worker(sessions_total=6), at_s=2.0, listeners=(listener("added"),)))
    assert recent.rates(of_listener("added"), whole=GATEWAY) is None
    recent.add(sample(worker(sessions_total=9), at_s=3.0, life=2))
    assert (recent.rates(GATEWAY), recent.interval_s) == (None, None)


def test_what_moves_is_told_at_once_and_divided_as_it_was_counted_though_that_comes_seconds_later() -> None:
    recent = Recent(every_s=1.0)
    for second in range(40):
        counted = round(second // LOOKS_S * LOOKS_S * SPEED)
        forward = {"forward_bytes": counted // 4, "backward_bytes": counted * 3 // 4}
        moving = worker(moved_bytes=second * SPEED, **forward)
        recent.add(sample(moving, at_s=500.0 + second, listeners=(listener("web", **forward), listener("idle"))))
        rates = recent.rates(GATEWAY)
        if 0 < second < LOOKS_S:
            assert rates == Rates(0.0, 0.0, SPEED, None, None)
        elif second:
            of_web = recent.rates(of_listener("web"), whole=GATEWAY)
            assert rates is not None
            assert of_web is not None
            assert (rates.forward_bytes, rates.backward_bytes) == pytest.approx((SPEED / 4, SPEED * 3 / 4))
            assert (of_web.forward_bytes, of_web.backward_bytes) == pytest.approx((SPEED / 4, SPEED * 3 / 4))
            assert recent.rates(of_listener("idle"), whole=GATEWAY) == Rates(0.0, 0.0, 0.0, 0.0, 0.0)


def test_when_nothing_moves_any_more_no_direction_does() -> None:
    recent = Recent(every_s=1.0)
    for at_s, moved in ((1.0, 0), (2.0, 500), (3.0, 500)):
        recent.add(sample(worker(moved_bytes=moved, forward_bytes=moved), at_s=at_s))
    assert recent.rates(GATEWAY) == Rates(0.0, 0.0, 0.0, 0.0, 0.0)


def test_a_minute_is_remembered_and_no_more() -> None:
    recent = Recent(every_s=1.0)
    for second in range(200):
        recent.add(sample(worker(moved_bytes=min(second, 100) * SPEED), at_s=float(second)))
    assert recent.trail(GATEWAY) == (0.0,) * CELLS
    assert len(recent._moments) <= 62


def test_a_trail_has_the_latest_last_and_keeps_its_past_as_the_clock_goes_on() -> None:
    ramp = [Stretch(second, second + 1.0, 100.0 * second) for second in range(9)]
    before, after = (trail(ramp[:count], cell_s=2.0) for count in (8, 9))
    assert before[-4:] == (50.0, 250.0, 450.0, 650.0)
    assert before[:-4] == (0.0,) * (CELLS - 4)
    assert after[-5:-1] == before[-4:]


def test_samples_that_are_further_apart_than_cells_leave_no_gaps() -> None:
    recent = Recent(every_s=5.0)
    for step in range(40):
        recent.add(sample(worker(moved_bytes=step * 5 * SPEED), at_s=step * 5.0 + step % 2 * 0.3))
    assert all(value == pytest.approx(SPEED, rel=0.1) for value in recent.trail(GATEWAY)[1:])

"""Which counters tell of trouble."""

from gateway.metrics import TOTALS
from gateway.page.troubles import FAILED, TROUBLES, Weight
from pools.net.scoreboard import Cell

REASONS = {cell for cell, (family, _) in TOTALS.items() if family.label == "reason"}


def test_each_is_a_total_and_each_reason_for_a_failure_is_among_them() -> None:
    assert REASONS <= TROUBLES.keys() <= TOTALS.keys()


def test_each_says_something_else() -> None:
    assert len({text for _, text in TROUBLES.values()}) == len(TROUBLES)


def test_failures_are_reasons_that_are_more_than_a_note() -> None:
    assert {cell for cell in REASONS if TROUBLES[cell][0] is not Weight.NOTE} == FAILED
    assert Cell.CONNECT_REFUSED in FAILED
    assert Cell.RESET_BY_INBOUND not in FAILED

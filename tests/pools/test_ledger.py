import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.ledger import DEPOT, ORIGINS, Ledger, leg_id
from pools.net.errors import Fault, ProtocolError


def booked() -> Ledger:
    ledger = Ledger()
    ledger.enter([1, 2, 3], DEPOT)
    ledger.move([2, 3], DEPOT, 0)
    return ledger


@given(st.integers(0, ORIGINS - 1), st.integers(0, 2**40 - 1), st.integers(0, ORIGINS - 1), st.integers(0, 2**40 - 1))
def test_each_origin_and_serial_have_a_number_of_their_own(origin: int, serial: int, other: int, next_: int) -> None:
    assert (leg_id(origin, serial) == leg_id(other, next_)) == ((origin, serial) == (other, next_))
    assert 0 <= leg_id(origin, serial) < 2**64


@pytest.mark.parametrize(("origin", "serial"), [(-1, 0), (ORIGINS, 0), (0, -1), (0, 2**40)])
def test_a_number_out_of_range_is_refused(origin: int, serial: int) -> None:
    with pytest.raises(ValueError, match="found"):
        leg_id(origin, serial)


def test_legs_are_counted_where_they_are() -> None:
    ledger = booked()
    assert (ledger.count(DEPOT), ledger.count(0), ledger.count(1), len(ledger)) == (1, 2, 0, 3)
    assert ledger.legs_of(0) == {2, 3}


@pytest.mark.parametrize("legs", [[1], [2, 1], [2, 2], [9]])
def test_what_is_not_with_the_one_who_gives_it_changes_nothing(legs: list[int]) -> None:
    ledger = booked()
    with pytest.raises(ProtocolError) as error:
        ledger.move(legs, 0, DEPOT)
    assert error.value.fault is Fault.OURS
    with pytest.raises(ProtocolError):
        ledger.strike(legs, 0)
    assert (ledger.legs_of(DEPOT), ledger.legs_of(0)) == (frozenset({1}), frozenset({2, 3}))


@pytest.mark.parametrize("legs", [[1], [4, 2], [5, 5]])
def test_what_is_known_cannot_be_entered_again(legs: list[int]) -> None:
    ledger = booked()
    with pytest.raises(ProtocolError):
        ledger.enter(legs, 1)
    assert len(ledger) == 3


def test_a_dead_holder_leaves_nothing() -> None:
    ledger = booked()
    assert ledger.strike_all(0) == 2
    assert ledger.strike_all(0) == 0
    assert (len(ledger), ledger.count(0), ledger.count(DEPOT)) == (1, 0, 1)


def test_what_was_struck_out_is_unknown() -> None:
    ledger = booked()
    ledger.strike([1], DEPOT)
    with pytest.raises(ProtocolError, match="found with None"):
        ledger.strike([1], DEPOT)


def test_who_has_a_leg_can_be_asked() -> None:
    ledger = Ledger()
    ledger.enter([7], 1)
    assert [ledger.is_with(7, 1), ledger.is_with(7, DEPOT), ledger.is_with(8, 1)] == [True, False, False]

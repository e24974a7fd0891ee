import pytest

from pools.depot import CONTENDED_PER_S, Delivery, Depot, largest_size


def depot(*legs: int, size: int = 4, largest: int = 16) -> Depot[int]:
    """A depot of legs, each of which was born at the second it is named for."""
    made: Depot[int] = Depot(size, largest=largest, born_s=float)
    made.restock(legs)
    return made


def test_an_empty_magazine_is_filled_with_the_youngest() -> None:
    legs = depot(1, 2, 3, 4, 5, 6)
    legs.hand_in_empty(0, 4)
    assert legs.deal() == [Delivery(0, (3, 4, 5, 6))]
    assert list(legs) == [1, 2]


def test_an_empty_magazine_waits_until_there_is_something() -> None:
    legs = depot()
    legs.hand_in_empty(0, 4)
    assert legs.deal() == []
    legs.restock([1])
    assert legs.deal() == [Delivery(0, (1,))]
    assert legs.empties == 0


def test_what_one_worker_gives_another_gets() -> None:
    legs = depot()
    legs.hand_in_empty(1, 4)
    legs.hand_in_full([1, 2, 3, 4])
    assert legs.deal() == [Delivery(1, (1, 2, 3, 4))]


def test_what_is_scarce_is_shared() -> None:
    legs = depot(1, 2, 3, 4, 5)
    for slot in range(3):
        legs.hand_in_empty(slot, 4)
    assert legs.deal() == [Delivery(0, (4, 5)), Delivery(1, (2, 3)), Delivery(2, (1,))]


def test_nobody_gets_more_than_asked_for() -> None:
    legs = depot(1, 2, 3)
    legs.hand_in_empty(0, 1)
    assert legs.deal() == [Delivery(0, (3,))]


def test_a_worker_has_one_empty_magazine_here() -> None:
    legs = depot()
    legs.hand_in_empty(0, 4)
    legs.hand_in_empty(0, 2)
    assert legs.empties == 1
    legs.withdraw(0)
    assert legs.empties == 0


def test_empty_magazines_are_refused_as_they_came() -> None:
    legs = depot()
    legs.hand_in_empty(1, 4)
    legs.hand_in_empty(0, 4)
    assert legs.refuse() == [Delivery(1, ()), Delivery(0, ())]
    assert legs.refuse() == []


def test_the_oldest_leave_first_and_the_rest_keeps_its_order() -> None:
    legs = depot(5, 1, 4, 2, 3)
    assert legs.shed(2) == (1, 2)
    assert list(legs) == [5, 4, 3]
    assert legs.shed(9) == (3, 4, 5)
    assert legs.shed(1) == ()


def test_weeding_takes_what_is_not_fit() -> None:
    legs = depot(1, 2, 3, 4)
    assert legs.weed(lambda leg: leg % 2 == 0) == (1, 3)
    assert list(legs) == [2, 4]


def test_the_working_set_is_what_was_touched_in_the_interval() -> None:
    legs = depot(1, 2, 3, 4, 5, 6)
    legs.turn_tide()
    legs.hand_in_empty(0, 4)
    legs.deal()
    legs.hand_in_full([3, 4, 5, 6])
    assert legs.turn_tide() == 2
    assert legs.turn_tide() == 6


def test_legs_of_the_first_interval_are_not_surplus_yet() -> None:
    assert depot(1, 2, 3).turn_tide() == 0


def test_contention_doubles_the_magazines_up_to_the_largest() -> None:
    legs = depot(size=6, largest=16)
    sizes = []
    for _ in range(3):
        for _ in range(int(CONTENDED_PER_S) + 1):
            legs.hand_in_full([])
        grew = legs.adapt(1.0)
        sizes.append((legs.size, grew))
    assert sizes == [(12, True), (16, True), (16, False)]


def test_a_rate_at_the_threshold_is_no_contention_and_each_interval_counts_anew() -> None:
    legs = depot()
    for _ in range(int(CONTENDED_PER_S)):
        legs.hand_in_empty(0, 4)
    assert not legs.adapt(1.0)
    legs.hand_in_empty(0, 4)
    assert not legs.adapt(1.0)


@pytest.mark.parametrize(("misses", "lying_here", "grows"), [(1, 5, True), (1, 4, False), (1, 0, False), (0, 5, False)])
def test_a_miss_while_more_than_a_magazine_lies_here_doubles_them(misses: int, lying_here: int, grows: bool) -> None:
    legs = depot(*range(lying_here), size=4, largest=16)
    assert legs.adapt(1.0, misses=misses) is grows
    assert legs.size == (8 if grows else 4)


@pytest.mark.parametrize(("size", "largest"), [(0, 4), (5, 4)])
def test_a_size_beyond_the_largest_is_refused(size: int, largest: int) -> None:
    with pytest.raises(ValueError, match=f"from 1 to its largest, {largest}; found {size}"):
        depot(size=size, largest=largest)


@pytest.mark.parametrize(
    ("pool_max", "workers", "largest"), [(512, 8, 32), (16, 8, 1), (4, 8, 1), (10_000, 1, 253), (0, 1, 1)]
)
def test_two_magazines_a_worker_fit_into_the_pool(pool_max: int, workers: int, largest: int) -> None:
    assert largest_size(pool_max=pool_max, workers=workers) == largest


def test_it_shows_what_it_has() -> None:
    assert repr(depot(1, 2)) == "<Depot 2 rounds, 0 empty magazines of 4>"


def test_magazines_shrink_only_where_they_may_not_grow_that_far_any_more() -> None:
    legs = depot(size=6, largest=16)
    legs.refit(8)
    assert (legs.size, legs.largest) == (6, 8)
    legs.refit(4)
    legs.refit(32)
    assert (legs.size, legs.largest) == (4, 32)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.core_cache import ASK_AGAIN_S, CoreCache, NoLegReady


def fit(_: int) -> bool:
    return True


def cache(size: int, *legs: int) -> CoreCache[int]:
    """A core cache to which the broker has delivered `legs`, and which has asked for nothing since."""
    made: CoreCache[int] = CoreCache(size)
    assert made.receive(legs) == ()
    return made


def test_an_empty_one_says_what_to_ask_and_asks_once() -> None:
    empty = cache(4)
    for ask in (4, 0):
        with pytest.raises(NoLegReady) as miss:
            empty.take(fit, now_s=0.0)
        assert miss.value.ask == ask


def test_the_youngest_is_lent_first() -> None:
    legs = cache(4, 1, 2, 3)
    assert [legs.take(fit, now_s=0.0).leg for _ in range(3)] == [3, 2, 1]


def test_a_leg_given_back_is_the_next_one_lent() -> None:
    legs = cache(4, 1, 2, 3)
    leg = legs.take(fit, now_s=0.0).leg
    assert legs.give(leg) == ()
    assert legs.take(fit, now_s=0.0).leg == leg


def test_an_empty_loaded_magazine_is_swapped_with_the_previous() -> None:
    legs = cache(2, 1, 2, 3)
    assert repr(legs) == "<CoreCache loaded=<Magazine 1/2> previous=<Magazine 2/2> lent=0>"
    assert [legs.take(fit, now_s=0.0).leg for _ in range(2)] == [3, 2]
    assert repr(legs) == "<CoreCache loaded=<Magazine 1/2> previous=<Magazine 0/2> lent=2>"


def test_it_asks_before_the_last_round_is_gone() -> None:
    legs = cache(4, 1, 2, 3, 4)
    assert [legs.take(fit, now_s=0.0).ask for _ in range(4)] == [0, 4, 0, 0]


def test_after_an_ask_in_vain_it_rests() -> None:
    legs = cache(4)
    assert legs.ask(now_s=10.0) == 4
    legs.refused(now_s=10.0)
    assert legs.ask(now_s=10.0 + ASK_AGAIN_S / 2) == 0
    assert legs.ask(now_s=10.0 + ASK_AGAIN_S) == 4


def test_a_new_broker_is_asked_at_once() -> None:
    legs = cache(4)
    assert legs.ask(now_s=10.0) == 4
    legs.broker_came()
    assert legs.ask(now_s=10.0) == 4


def test_a_third_full_magazine_is_handed_back_the_longer_idle_one() -> None:
    legs = cache(2, 1, 2)
    for leg in (3, 4, 5):
        legs.adopt(leg)
    assert [legs.give(leg) for leg in (3, 4, 5)] == [(), (), (1, 2)]
    assert legs.idle == (3, 4, 5)


def test_what_comes_too_late_to_have_room_goes_back() -> None:
    legs = cache(2, 1, 2, 3)
    assert legs.receive([4, 5, 6]) == (5, 6)
    assert legs.idle == (1, 2, 3, 4)


def test_legs_of_the_broker_go_under_those_just_given_back() -> None:
    legs = cache(4)
    legs.adopt(9)
    legs.give(9)
    legs.receive([1, 2])
    assert legs.take(fit, now_s=0.0).leg == 9


def test_a_leg_that_is_not_fit_is_set_aside_and_the_next_is_tried() -> None:
    legs = cache(4, 1, 2, 3)
    assert legs.take(lambda leg: leg == 1, now_s=0.0).leg == 1
    assert legs.collect() == (3, 2)
    assert legs.collect() == ()


def test_none_fit_is_a_miss_that_tells_how_many() -> None:
    legs = cache(4, 1, 2, 3)
    with pytest.raises(NoLegReady) as miss:
        legs.take(lambda _: False, now_s=0.0)
    assert (miss.value.dropped, miss.value.ask) == (3, 4)
    assert sorted(legs.collect()) == [1, 2, 3]


def test_a_verdict_that_raises_loses_no_leg() -> None:
    legs = cache(4, 0)
    with pytest.raises(ZeroDivisionError):
        legs.take(lambda leg: 1 / leg > 0, now_s=0.0)
    assert (legs.collect(), legs.lent) == ((0,), frozenset())


def test_sweeping_finds_what_lies_at_the_bottom() -> None:
    legs = cache(2, 1, 2, 3)
    legs.sweep(lambda leg: leg != 1)
    assert (legs.collect(), legs.idle) == ((1,), (2, 3))


@pytest.mark.parametrize("leg", [1, 7])
def test_what_is_not_lent_cannot_be_given_back(leg: int) -> None:
    legs = cache(4, 1, 2)
    with pytest.raises(ValueError, match="must be lent"):
        legs.give(leg)
    with pytest.raises(ValueError, match="must be lent"):
        legs.forget(leg)
    assert legs.idle == (1, 2)


def test_a_leg_is_adopted_once() -> None:
    legs = cache(4, 1)
    legs.adopt(7)
    for leg in (1, 7):
        with pytest.raises(ValueError, match="held already"):
            legs.adopt(leg)


def test_a_leg_forgotten_is_held_no_longer() -> None:
    legs = cache(4, 1)
    legs.forget(legs.take(fit, now_s=0.0).leg)
    assert (legs.idle, legs.lent, legs.lent_count) == ((), frozenset(), 0)


@pytest.mark.parametrize(("size", "surplus"), [(8, ()), (4, ()), (2, (1,)), (1, (1, 2, 3))])
def test_a_new_size_keeps_the_youngest_that_it_has_room_for(size: int, surplus: tuple[int, ...]) -> None:
    legs = cache(4, 1, 2, 3, 4, 5)
    assert legs.resize(size) == surplus
    assert legs.idle == (1, 2, 3, 4, 5)[len(surplus) :]
    assert legs.size == size


def test_surrender_gives_all_idle_legs_and_no_lent_one() -> None:
    legs = cache(2, 1, 2, 3)
    legs.take(fit, now_s=0.0)
    assert (legs.surrender(), legs.idle, legs.lent) == ((1, 2), (), frozenset({3}))


@given(st.integers(2, 16), st.lists(st.booleans(), max_size=300))
def test_half_a_magazine_of_one_kind_lies_between_two_exchanges(size: int, takes: list[bool]) -> None:
    legs: CoreCache[int] = CoreCache(size)
    number, since, lent = 0, size, []
    number += legs.ask(now_s=0.0)
    assert legs.receive(range(number)) == ()
    for is_take in takes:
        since += 1
        if is_take:
            taken = legs.take(fit, now_s=0.0)
            lent.append(taken.leg)
            exchanged = taken.ask
            legs.receive(range(number, number + taken.ask))
            number += taken.ask
        elif lent:
            exchanged = len(legs.give(lent.pop()))
        else:
            continue
        if exchanged:
            assert exchanged == size
            assert since >= size // 2
            since = 0

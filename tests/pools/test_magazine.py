import pytest

from pools.magazine import Magazine


def loaded(size: int, *rounds: int) -> Magazine[int]:
    magazine: Magazine[int] = Magazine(size)
    for leg in rounds:
        magazine.push(leg)
    return magazine


def test_the_last_pushed_is_the_first_popped() -> None:
    magazine = loaded(3, 1, 2, 3)
    assert [magazine.pop(), magazine.pop(), magazine.pop()] == [3, 2, 1]
    assert magazine.is_empty


def test_a_full_one_takes_no_more_and_stays_as_it_is() -> None:
    magazine = loaded(2, 1, 2)
    assert magazine.is_full
    with pytest.raises(IndexError, match="full magazine of 2"):
        magazine.push(3)
    assert list(magazine) == [1, 2]


def test_an_empty_one_has_nothing_to_pop() -> None:
    with pytest.raises(IndexError):
        loaded(2).pop()


def test_weeding_keeps_the_order_and_judges_each_once() -> None:
    magazine = loaded(4, 1, 2, 3, 4)
    verdicts = iter([False, True, False, True])
    assert magazine.weed(lambda _: next(verdicts)) == [1, 3]
    assert list(magazine) == [2, 4]


def test_a_verdict_that_raises_loses_no_leg() -> None:
    magazine = loaded(2, 1, 0)
    with pytest.raises(ZeroDivisionError):
        magazine.weed(lambda leg: 1 / leg > 0)
    assert list(magazine) == [1, 0]


def test_unloading_gives_the_bottom_one_first() -> None:
    magazine = loaded(3, 1, 2)
    assert (magazine.unload(), len(magazine)) == ([1, 2], 0)


def test_its_size_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1; found 0"):
        Magazine(0)


def test_it_shows_how_full_it_is() -> None:
    assert repr(loaded(8, 1, 2, 3)) == "<Magazine 3/8>"

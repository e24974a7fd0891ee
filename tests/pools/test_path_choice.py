import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.path_choice import SAMPLES, Choose, PathChoice, PathSample

DOWN = PathSample(is_up=False)
FIRST = PathChoice(Choose.FIRST)
FASTEST = PathChoice(Choose.FASTEST)


def up(rtt_s: float | None, loss: float = 0.0) -> PathSample:
    return PathSample(is_up=True, rtt_s=rtt_s, loss=loss)


def test_first_takes_the_first_that_is_up_and_comes_back() -> None:
    choice = FIRST.after([up(0.3), up(0.1)])
    assert choice.current == 0
    assert (choice := choice.after([DOWN, up(0.1)])).current == 1
    assert choice.after([up(0.3), up(0.1)]).current == 0


def test_with_no_path_up_there_is_no_choice() -> None:
    for choice in (FIRST, FASTEST):
        assert choice.after([DOWN, DOWN]).current is None
        assert choice.in_turn([DOWN, DOWN]) == ()


def test_fastest_begins_with_the_best_and_the_earlier_of_equals() -> None:
    assert FASTEST.after([up(0.3), up(0.2), up(0.2)]).current == 1
    assert FASTEST.after([up(None), up(9.0)]).current == 1
    assert FASTEST.after([up(None), up(None)]).current == 0


def test_a_change_takes_samples_in_a_row() -> None:
    choice = FASTEST.after([up(0.2), up(0.3)])
    current = []
    for _ in range(SAMPLES):
        choice = choice.after([up(0.2), up(0.16)])
        current.append(choice.current)
    assert current == [0] * (SAMPLES - 1) + [1]


def test_a_sample_that_is_not_better_begins_the_count_anew() -> None:
    choice = FASTEST.after([up(0.2), up(0.3)])
    for _ in range(10):
        choice = choice.after([up(0.2), up(0.1)]).after([up(0.2), up(0.1)]).after([up(0.2), up(0.19)])
    assert choice.current == 0


def test_two_rivals_are_counted_apart() -> None:
    choice = FASTEST.after([up(0.2), up(0.3), up(0.3)])
    for _ in range(10):
        choice = choice.after([up(0.2), up(0.1), up(0.3)]).after([up(0.2), up(0.3), up(0.1)])
    assert choice.current == 0


@given(st.lists(st.tuples(st.floats(0.186, 0.214), st.floats(0.186, 0.214)), max_size=50))
def test_differences_below_the_margin_never_change_it(samples: list[tuple[float, float]]) -> None:
    choice = FASTEST.after([up(0.2), up(0.21)])
    for one, other in samples:
        choice = choice.after([up(one), up(other)])
    assert choice == PathChoice(Choose.FASTEST, 0)


def test_a_path_that_is_down_is_left_at_once() -> None:
    assert FASTEST.after([up(0.1), up(0.9)]).after([DOWN, up(0.9)]).current == 1


def test_loss_makes_a_path_worse() -> None:
    assert FASTEST.after([up(0.2, loss=0.1), up(0.3)]).current == 1


@pytest.mark.parametrize(("choice", "turn"), [(FIRST, (1, 0, 2)), (FASTEST, (1, 2, 0))])
def test_one_session_tries_the_current_path_then_the_others(choice: PathChoice, turn: tuple[int, ...]) -> None:
    samples = [up(0.3), up(0.1), up(0.2), DOWN]
    assert PathChoice(choice.rule, 1).in_turn(samples) == turn

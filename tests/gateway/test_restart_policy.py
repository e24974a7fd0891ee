import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exit_codes import ExitCode
from gateway.restart_policy import (
    FIRST_DELAY_S,
    HEALTHY_S,
    KILL_AFTER_S,
    LONGEST_DELAY_S,
    BackOff,
    Cure,
    cure,
    fatal_exit_code,
)


def test_delay_doubles_up_to_its_bound() -> None:
    back_off, delays_s = BackOff(), []
    for _ in range(9):
        back_off = back_off.after_death(ready_s=0.0)
        delays_s.append(back_off.delay_s)
    assert delays_s == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


@given(st.lists(st.floats(min_value=0, max_value=2 * HEALTHY_S), max_size=2000))
def test_delay_stays_within_its_bounds_and_health_forgives(lives_s: list[float]) -> None:
    back_off = BackOff()
    for ready_s in lives_s:
        back_off = back_off.after_death(ready_s=ready_s)
        assert FIRST_DELAY_S <= back_off.delay_s <= LONGEST_DELAY_S
        assert ready_s < HEALTHY_S or back_off.delay_s == FIRST_DELAY_S


@pytest.mark.parametrize(
    ("starting", "was_ready", "exit_code", "expected"),
    [
        (True, False, 3, ExitCode.CANNOT_START),
        (True, False, 4, ExitCode.CONFIGURATION),
        (True, True, 3, None),  # it had worked, while others were still booting
        (False, False, 3, None),  # the gateway serves: it backs off
        (True, False, -9, None),  # killed from outside
        (True, False, 1, None),
    ],
)
def test_only_a_boot_failure_during_the_start_ends_it(
    starting: bool, was_ready: bool, exit_code: int, expected: ExitCode | None
) -> None:
    assert fatal_exit_code(starting=starting, was_ready=was_ready, exit_code=exit_code) is expected


def test_silence_beyond_the_limit_is_aborted_and_then_killed() -> None:
    def judge(silent_s: float, aborted_s: float | None = None, *, was_ready: bool = True) -> Cure:
        return cure(silent_s=silent_s, limit_s=10.0, was_ready=was_ready, aborted_s=aborted_s)

    assert judge(10.0) is Cure.NONE
    assert judge(10.1) is Cure.ABORT
    assert judge(10.1, was_ready=False) is Cure.NONE
    assert judge(30.1, was_ready=False) is Cure.ABORT
    assert judge(11.0, KILL_AFTER_S - 0.1) is Cure.NONE
    assert judge(12.0, KILL_AFTER_S) is Cure.KILL

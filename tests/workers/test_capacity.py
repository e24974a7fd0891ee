"""How sessions and descriptors turn into one another."""

from hypothesis import given
from hypothesis import strategies as st

from workers.capacity import (
    HANDSHAKES,
    RESERVED_DESCRIPTORS,
    descriptors_for,
    legs_within,
    sessions_within,
    share_of,
)

counts = st.integers(1, 10_000_000)


@given(counts, st.integers(1, 1024))
def test_shares_hold_all_sessions_and_hardly_more(sessions: int, workers: int) -> None:
    share = share_of(sessions, workers=workers)
    assert sessions <= share * workers < sessions + workers


@given(counts)
def test_a_worker_has_room_for_the_sessions_that_its_descriptors_were_counted_for(sessions: int) -> None:
    assert sessions_within(descriptors_for(sessions)) == sessions
    assert sessions_within(descriptors_for(sessions) - 1) == sessions - 1


def test_two_descriptors_a_session_come_on_top_of_the_reserve() -> None:
    assert descriptors_for(10_000) == 20_000 + RESERVED_DESCRIPTORS
    assert sessions_within(RESERVED_DESCRIPTORS - 1) == sessions_within(0) == 0


@given(st.integers(0, 10_000_000), counts)
def test_legs_get_what_sessions_leave_or_an_eighth_and_never_more_than_there_are_sessions(
    descriptors: int, sessions: int
) -> None:
    legs = legs_within(descriptors, sessions=sessions)
    free = descriptors - RESERVED_DESCRIPTORS - HANDSHAKES
    assert 1 <= legs <= sessions
    assert legs in (1, sessions, free - 2 * sessions, free // 8)


def test_with_descriptors_to_spare_there_may_be_a_leg_for_each_session() -> None:
    assert legs_within(1_000_000, sessions=5_000) == 5_000
    assert legs_within(descriptors_for(1_000) + HANDSHAKES + 300, sessions=1_000) == 300
    assert legs_within(descriptors_for(1_000) + HANDSHAKES, sessions=1_000) == 250
    assert legs_within(0, sessions=1) == 1

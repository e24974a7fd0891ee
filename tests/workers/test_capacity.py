"""How sessions and descriptors turn into one another."""

from hypothesis import given
from hypothesis import strategies as st

from workers.capacity import RESERVED_DESCRIPTORS, descriptors_for, sessions_within, share_of

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

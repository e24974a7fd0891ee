"""What is read of links, over plain memory: that it is shared is the scoreboard's own test."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.link_status import LinkStatus, read_links
from pools.link_health import LinkState
from pools.net.link_board import LINK_WORDS, LinkBoard, LinkCell


def board_of(peers: int) -> LinkBoard:
    board = LinkBoard(memoryview(bytearray(peers * LINK_WORDS * 8)).cast("Q"))
    board.use(range(peers))
    return board


def read_one(cells: dict[LinkCell, int], *, now_ns: int = 0) -> LinkStatus:
    board = board_of(1)
    for cell, value in cells.items():
        board.link(0)[cell] = value
    return read_links(board, now_ns=now_ns)[0]


def test_each_peer_in_order() -> None:
    board = board_of(3)
    for index, state in enumerate((LinkState.UP, LinkState.DOWN, LinkState.UNKNOWN)):
        board.link(index)[LinkCell.STATE] = state.number
    assert [link.state for link in read_links(board, now_ns=0)] == [LinkState.UP, LinkState.DOWN, LinkState.UNKNOWN]
    assert read_links(board_of(0), now_ns=0) == ()


def test_a_reload_changes_who_is_there_and_in_which_order() -> None:
    board = board_of(3)
    board.use([2, 0])
    assert [link.number for link in read_links(board, now_ns=0)] == [2, 0]


def test_before_the_first_session_there_is_no_hit_rate_and_without_a_broker_no_age() -> None:
    link = read_one({}, now_ns=10)
    assert (link.hit_rate, link.age_s, link.was_filled, link.is_crowded) == (None, None, False, False)


def test_idle_legs_are_those_of_all_processes() -> None:
    link = read_one({LinkCell.IDLE_DEPOT: 5, LinkCell.IDLE_WORKERS: 7, LinkCell.LENT: 11})
    assert (link.idle, link.lent) == (12, 11)


def test_each_cell_is_read_into_one_attribute() -> None:
    """But for those that are shown otherwise, every cell's number turns up once, and no attribute is made of two."""
    told = read_one({cell: 100 + cell for cell in LinkCell}, now_ns=100 + LinkCell.UPDATED_NS)
    attributes = set(LinkStatus.__slots__) - {"number"}
    numbers = [value for name in attributes if type(value := getattr(told, name)) is int]
    otherwise = {LinkCell.STATE, LinkCell.CROWDED, LinkCell.SHORT_MS, LinkCell.UPDATED_NS, LinkCell.FILLED_TOTAL}
    assert sorted(numbers) == sorted(100 + cell for cell in LinkCell if cell not in otherwise)
    assert (told.is_crowded, told.was_filled, told.age_s) == (True, True, 0.0)
    assert told.short_s == (100 + LinkCell.SHORT_MS) / 1000
    assert (told.rtt_us, told.window_segments, told.misses) == (
        100 + LinkCell.RTT_US,
        100 + LinkCell.WINDOW_SEGMENTS,
        100 + LinkCell.MISSES_TOTAL,
    )


@pytest.mark.parametrize(("now_ns", "age_s"), [(3_000_000_000, 2.0), (500_000_000, 0.0)])
def test_age_is_since_the_broker_wrote_and_never_negative(now_ns: int, age_s: float) -> None:
    assert read_one({LinkCell.UPDATED_NS: 1_000_000_000}, now_ns=now_ns).age_s == age_s


@given(hits=st.integers(0, 2**63), misses=st.integers(0, 2**63))
def test_a_hit_rate_is_a_part_of_all(hits: int, misses: int) -> None:
    rate = read_one({LinkCell.HITS_TOTAL: hits, LinkCell.MISSES_TOTAL: misses}).hit_rate
    if hits + misses == 0:
        assert rate is None
    else:
        assert rate is not None
        assert 0 <= rate <= 1
        assert (rate == 0) == (hits == 0)

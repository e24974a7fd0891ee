"""A child's row over plain memory. That it is shared between processes is in test_scoreboard.py."""

import pytest

from pools.net.child_row import GAUGES, LISTEN_WORDS, ROW_WORDS, Cell, ChildState, ListenCell, Row

LISTENERS = 2


@pytest.fixture
def row() -> Row:
    return Row(memoryview(bytearray((ROW_WORDS + LISTENERS * LISTEN_WORDS) * 8)).cast("Q"))


def test_cells_and_listener_cells_keep_apart(row: Row) -> None:
    for value, cell in enumerate(Cell, start=1):
        row[cell] = value
    for index in range(LISTENERS):
        for column in ListenCell:
            row.set_listener(index, column, 1000 * (index + 1) + column)
    assert [row[cell] for cell in Cell] == list(range(1, len(Cell) + 1))
    assert row.listener(1, ListenCell.FAILED) == 2000 + ListenCell.FAILED
    assert row.listener(0, ListenCell.SESSIONS) == 1000


def test_add_counts(row: Row) -> None:
    row.add(Cell.SESSIONS_TOTAL)
    row.add(Cell.SESSIONS_TOTAL, 41)
    assert row[Cell.SESSIONS_TOTAL] == 42


def test_a_loop_that_is_late_for_an_instant_is_not_late_lately_and_one_that_is_for_long_is(row: Row) -> None:
    beat_ns, second_ns = 250_000_000, 10**9
    now_ns = row[Cell.HEARTBEAT_NS] = 100 * second_ns
    row.beat(now_ns + beat_ns + second_ns, due_ns=now_ns + beat_ns)
    assert row[Cell.LOOP_LAG_US] == 1_000_000
    assert row[Cell.LOOP_LAG_LATELY_US] < 120_000
    now_ns = row[Cell.HEARTBEAT_NS]
    for _ in range(60):
        now_ns += 2 * beat_ns
        row.beat(now_ns, due_ns=now_ns - beat_ns)
    assert 220_000 < row[Cell.LOOP_LAG_LATELY_US] <= 250_000
    for _ in range(400):
        now_ns += beat_ns
        row.beat(now_ns, due_ns=now_ns)
    assert (row[Cell.HEARTBEAT_NS], row[Cell.LOOP_LAG_US]) == (now_ns, 0)
    assert row[Cell.LOOP_LAG_LATELY_US] < 100


def test_a_beat_before_its_time_is_not_late(row: Row) -> None:
    row.beat(1000, due_ns=5000)
    assert (row[Cell.LOOP_LAG_US], row[Cell.LOOP_LAG_LATELY_US]) == (0, 0)


def test_a_number_of_64_bits_fits_and_a_larger_one_changes_nothing(row: Row) -> None:
    row[Cell.FORWARD_BYTES] = 2**64 - 1
    with pytest.raises(ValueError, match="invalid value"):
        row.add(Cell.FORWARD_BYTES)
    assert row[Cell.FORWARD_BYTES] == 2**64 - 1


def test_clear_gauges_keeps_totals_and_what_the_successor_needs(row: Row) -> None:
    for cell in Cell:
        row[cell] = 7
    for column in ListenCell:
        row.set_listener(1, column, 9)
    row.clear_gauges()
    assert (row[Cell.PID], row[Cell.STATE]) == (0, ChildState.ABSENT)
    assert all(row[cell] == 0 for cell in Cell if cell in GAUGES)
    assert all(row[cell] == 7 for cell in Cell if cell >= Cell.SESSIONS_TOTAL)
    assert row.listener(1, ListenCell.SESSIONS) == 0
    assert row.listener(1, ListenCell.SESSIONS_TOTAL) == 9

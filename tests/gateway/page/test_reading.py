"""One look at the counters of a real scoreboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.metrics import TOTALS
from gateway.page.reading import LinkReading, read_counters
from pools.link_health import LinkState
from pools.net.link_board import LinkCell
from pools.net.scoreboard import Cell, Layout, Scoreboard

START_NS = 5 * 10**9


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Scoreboard]:
    found = Scoreboard.create(tmp_path / "board", Layout(2, 1, 2), supervisor_pid=1, started_ns=START_NS)
    yield found
    found.close()


def test_totals_are_sums_over_workers_broker_and_admin_child(board: Scoreboard) -> None:
    for amount, row in enumerate((*board.workers, board.broker, board.admin), start=1):
        row.add(Cell.RESTARTS, amount)
        row[Cell.SESSIONS] = amount
    reading = read_counters(board, peers=(), now_ns=START_NS + 2_500_000_000)
    assert (reading.at_ms, reading.sessions, reading.totals[Cell.RESTARTS]) == (2500, 10, 10)
    assert reading.totals.keys() == TOTALS.keys()


def test_links_are_those_asked_for_in_their_order(board: Scoreboard) -> None:
    near, far = board.links.link(0), board.links.link(1)
    near[LinkCell.STATE], far[LinkCell.STATE] = LinkState.UP.number, LinkState.DOWN.number
    near.add(LinkCell.DIAL_FAILED_TOTAL, 3)
    far.add(LinkCell.WENT_DOWN_TOTAL, 1)
    reading = read_counters(board, peers=(1, 0), now_ns=START_NS)
    assert reading.links == (LinkReading(LinkState.DOWN, 0, 1), LinkReading(LinkState.UP, 3, 0))


def test_a_clock_that_was_read_before_the_start_is_the_start(board: Scoreboard) -> None:
    assert read_counters(board, peers=(), now_ns=START_NS - 1).at_ms == 0

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.upgrading.carried_totals import Places, Unsaid
from pools.net.link_board import LinkCell
from pools.net.scoreboard import Cell, Layout, ListenCell, Scoreboard


@pytest.fixture
def boards(tmp_path: Path) -> Iterator[tuple[Scoreboard, Scoreboard]]:
    """The old supervisor's and the new one's, which has other places."""
    made = (
        Scoreboard.create(tmp_path / "old", Layout(2, 2, 1), supervisor_pid=1, started_ns=1),
        Scoreboard.create(tmp_path / "new", Layout(1, 3, 2), supervisor_pid=2, started_ns=1),
    )
    yield made
    for board in made:
        board.close()


def total(board: Scoreboard, cell: Cell) -> int:
    return sum(board.row(index)[cell] for index in range(board.rows))


def listener_total(board: Scoreboard, number: int, cell: ListenCell) -> int:
    return sum(board.row(index).listener(number, cell) for index in range(board.rows))


def test_totals_go_on_by_their_names_and_later_growth_is_added(boards: tuple[Scoreboard, Scoreboard]) -> None:
    old, new = boards
    before = Places(old, listeners={"web": 0, "gone": 1}, peers={"mumbai": 0})
    after = Places(new, listeners={"other": 0, "web": 2}, peers={"mumbai": 1})
    unsaid = Unsaid(before)
    old.row(0)[Cell.SESSIONS_TOTAL], old.row(1)[Cell.SESSIONS_TOTAL], old.broker[Cell.RESTARTS] = 5, 6, 2
    old.carried[Cell.SESSIONS_TOTAL] = 100  # of a supervisor before that one
    old.row(1).set_listener(0, ListenCell.FAILED, 7)
    old.row(0)[Cell.SESSIONS] = 9
    old.links.link(0)[LinkCell.HITS_TOTAL] = 8
    new.row(0)[Cell.SESSIONS_TOTAL], new.row(0)[Cell.SESSIONS] = 1, 1
    for row in unsaid.take():
        after.carry(row)
    assert (total(new, Cell.SESSIONS_TOTAL), total(new, Cell.RESTARTS), total(new, Cell.SESSIONS)) == (112, 2, 1)
    assert [listener_total(new, number, ListenCell.FAILED) for number in range(3)] == [0, 0, 7]
    assert [new.links.link(number)[LinkCell.HITS_TOTAL] for number in range(2)] == [0, 8]
    assert unsaid.take() == []
    old.row(0)[Cell.FORWARD_BYTES] = 1000
    old.links.link(0).add(LinkCell.CLOSED_TOTAL, 3)
    grown = unsaid.take()
    assert grown == [("gateway", "", {"FORWARD_BYTES": 1000}), ("peer", "mumbai", {"CLOSED_TOTAL": 3})]
    for row in grown:
        after.carry(row)
    assert (total(new, Cell.FORWARD_BYTES), new.links.link(1)[LinkCell.CLOSED_TOTAL]) == (1000, 3)
    assert total(new, Cell.SESSIONS_TOTAL) == 112


def test_what_has_no_place_is_left_out(boards: tuple[Scoreboard, Scoreboard]) -> None:
    _, new = boards
    places = Places(new, listeners={"web": 0}, peers={})
    places.carry(("listener", "gone", {"FAILED": 1}))
    places.carry(("peer", "gone", {"HITS_TOTAL": 1}))
    places.carry(("gateway", "", {"NOT_YET_INVENTED": 1, "SESSIONS_TOTAL": 1}))
    assert sum(new.carried.words) == 1

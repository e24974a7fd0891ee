"""Rows of links over plain memory. That they are shared between processes is in test_scoreboard.py."""

import pytest

from pools.net.link_board import LINK_GAUGES, LINK_WORDS, LinkBoard, LinkCell

PEERS = 2


@pytest.fixture
def board() -> LinkBoard:
    return LinkBoard(memoryview(bytearray(PEERS * LINK_WORDS * 8)).cast("Q"))


def test_a_row_belongs_to_one_peer(board: LinkBoard) -> None:
    for value, cell in enumerate(LinkCell, start=1):
        board.link(0)[cell] = value
    assert [board.link(0)[cell] for cell in LinkCell] == list(range(1, len(LinkCell) + 1))
    assert not any(board.link(1).words.tolist())


def test_add_counts(board: LinkBoard) -> None:
    board.link(1).add(LinkCell.HITS_TOTAL)
    board.link(1).add(LinkCell.HITS_TOTAL, 41)
    assert board.link(1)[LinkCell.HITS_TOTAL] == 42


def test_names_tell_totals_from_gauges_and_all_fit() -> None:
    assert {cell for cell in LinkCell if cell not in LINK_GAUGES} == {
        cell for cell in LinkCell if cell.name.endswith("_TOTAL")
    }
    assert max(LinkCell) < LINK_WORDS


def test_gauges_of_all_links_are_cleared_and_totals_stay(board: LinkBoard) -> None:
    for index in range(PEERS):
        for cell in LinkCell:
            board.link(index)[cell] = 7
    board.clear_gauges()
    for index in range(PEERS):
        link = board.link(index)
        assert {cell for cell in LinkCell if link[cell] == 0} == {cell for cell in LinkCell if cell in LINK_GAUGES}
        assert {link[cell] for cell in LinkCell if cell not in LINK_GAUGES} == {7}


@pytest.mark.parametrize("index", [-1, PEERS])
def test_a_link_that_is_not_there_is_refused(board: LinkBoard, index: int) -> None:
    with pytest.raises(IndexError, match=f"no link {index}: there are 2"):
        board.link(index)


def test_what_is_carried_on_counts_besides_what_the_broker_counts(board: LinkBoard) -> None:
    totals = [cell for cell in LinkCell if cell not in LINK_GAUGES]
    board.use([0, 1])
    for number, cell in enumerate(totals):
        board.link(0)[cell] = 100
        board.link(0).carry(cell, number)
        board.link(0).carry(cell, 1000)
    board.link(0).add(LinkCell.HITS_TOTAL)
    assert [board.link(0)[cell] for cell in totals] == [1101, *range(1101, 1100 + len(totals))]
    assert (board.numbers, board.link(0)[LinkCell.SHORT_MS]) == ((0, 1), 0)


def test_a_place_is_no_cell_and_outlives_the_broker(board: LinkBoard) -> None:
    board.use([1])
    board.clear_gauges()
    assert (board.link(0).place, board.link(1).place, board.numbers) == (0, 1, (1,))
    assert not any(board.link(1)[cell] for cell in LinkCell)


def test_no_peers_have_no_rows() -> None:
    board = LinkBoard(memoryview(b"").cast("Q"))
    board.clear_gauges()
    assert board.peers == 0
    with pytest.raises(IndexError):
        board.link(0)


def test_close_ends_the_rows_that_were_handed_out(board: LinkBoard) -> None:
    link = board.link(0)
    board.close()
    with pytest.raises(ValueError, match="released"):
        link[LinkCell.LENT] = 1

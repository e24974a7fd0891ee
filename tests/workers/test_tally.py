"""Counts, and how they reach a row that earlier workers wrote."""

from pools.net.scoreboard import Cell, ListenCell
from tests.workers.forked_worker import proxy
from tests.workers.world import empty_row
from workers.settings import Listen, Mode
from workers.tally import Tally


def listens(*numbers: int) -> list[Listen]:
    return [proxy(Mode.SOCKS5, number=number) for number in numbers]


def test_nothing_shows_before_a_flush_but_rare_events() -> None:
    row = empty_row()
    tally = Tally(row)
    tally.of(listens(0))[0].total += 1
    tally.count(Cell.BAD_REQUESTS)
    tally.count(Cell.LOG_LINES_DROPPED, 7)
    assert (row[Cell.SESSIONS_TOTAL], row[Cell.BAD_REQUESTS], row[Cell.LOG_LINES_DROPPED]) == (0, 1, 7)
    tally.write()
    assert row[Cell.SESSIONS_TOTAL] == 1


def test_listeners_are_counted_apart_and_together() -> None:
    row = empty_row(2)
    tally = Tally(row)
    tally.live = 2
    for listen, size in zip(tally.of(listens(1, 0)), (200, 10), strict=True):
        listen.live, listen.total, listen.failed = 1, 3, 2
        listen.forward_bytes, listen.backward_bytes = size, size * 2
    tally.write()
    assert [row.listener(1, cell) for cell in ListenCell] == [1, 3, 200, 400, 2]
    totals = Cell.SESSIONS, Cell.SESSIONS_TOTAL, Cell.FORWARD_BYTES, Cell.BACKWARD_BYTES
    assert [row[cell] for cell in totals] == [2, 6, 210, 420]


def test_a_successor_goes_on_counting_where_its_predecessor_stopped() -> None:
    row = empty_row()
    for _ in range(2):
        row.clear_gauges()
        tally = Tally(row)
        (listen,) = tally.of(listens(0))
        listen.total, listen.forward_bytes = 5, 100
        tally.live = listen.live = 1
        tally.write()
        tally.write()  # a flush more changes nothing
    assert (row[Cell.SESSIONS_TOTAL], row[Cell.FORWARD_BYTES], row[Cell.SESSIONS]) == (10, 200, 1)
    assert row.listener(0, ListenCell.SESSIONS_TOTAL) == 10
    assert row.listener(0, ListenCell.SESSIONS) == 1


def test_a_listener_goes_on_counting_at_another_place_and_one_that_is_gone_keeps_its_total() -> None:
    row = empty_row(3)
    tally = Tally(row)
    gone, stays = tally.of(listens(0, 1))
    gone.total, stays.total = 3, 5
    again, new = tally.of(listens(1, 2))
    assert again is stays
    again.total += 1
    new.total = 7
    tally.write()
    assert [row.listener(number, ListenCell.SESSIONS_TOTAL) for number in range(3)] == [3, 6, 7]
    assert row[Cell.SESSIONS_TOTAL] == 16

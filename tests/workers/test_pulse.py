"""The heartbeat on a row, from a real loop."""

from pools.net.clock import monotonic_ns
from pools.net.scoreboard import Cell, Row
from tests.floor import LIMIT_S, Floor, turn_until
from tests.workers.forked_worker import proxy
from tests.workers.world import empty_row
from workers.pulse import Pulse
from workers.settings import Mode
from workers.tally import Tally


class Beating:
    """A pulse that counts its beats."""

    def __init__(self, floor: Floor, row: Row) -> None:
        self.beats = 0
        self.row = row
        self.tally = Tally(row)
        self.pulse = Pulse(row, tally=self.tally, room=floor.room, setting_up=lambda: 3, on_beat=self._count)

    def _count(self) -> None:
        self.beats += 1


def test_it_beats_at_once_and_then_several_times_a_second() -> None:
    with Floor() as floor:
        beating = Beating(floor, empty_row())
        began_ns = monotonic_ns()
        beating.pulse.start()
        assert beating.beats == 1
        assert beating.row[Cell.HEARTBEAT_NS] >= began_ns
        first = beating.row[Cell.HEARTBEAT_NS]
        turn_until(lambda: beating.beats == 2)
        assert beating.row[Cell.HEARTBEAT_NS] > first
        assert beating.row[Cell.LOOP_LAG_US] < LIMIT_S * 1e6
        beating.pulse.stop()
        assert beating.beats == 3


def test_what_was_moved_goes_on_top_of_what_the_row_had() -> None:
    with Floor() as floor:
        row = empty_row()
        row[Cell.COPIED_BYTES], row[Cell.SPLICED_BYTES] = 1000, 2000
        beating = Beating(floor, row)
        floor.room.copied_bytes, floor.room.spliced_bytes = 5, 7
        beating.pulse.start()
        beating.pulse.stop()
        assert (row[Cell.COPIED_BYTES], row[Cell.SPLICED_BYTES]) == (1005, 2007)
        assert (row[Cell.GREENLETS], row[Cell.PIPES], row[Cell.CONNECTING]) == (0, 0, 3)


def test_the_rate_counts_this_workers_sessions_of_the_last_second_from_the_first_one_on() -> None:
    with Floor() as floor:
        row = empty_row()
        row[Cell.SESSIONS_TOTAL] = 1_000_000  # of the slot's earlier workers
        beating = Beating(floor, row)
        beating.pulse.start()
        assert row[Cell.SESSIONS_PER_SECOND] == 0
        beating.tally.of([proxy(Mode.SOCKS5)])[0].total = 30
        turn_until(lambda: beating.beats == 2)
        assert row[Cell.SESSIONS_PER_SECOND] == 30
        turn_until(lambda: beating.beats == 6)
        assert row[Cell.SESSIONS_PER_SECOND] == 0
        beating.pulse.stop()

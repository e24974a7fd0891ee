"""What a worker counts, and how it reaches the scoreboard.

Counting touches plain attributes only; a flush a few times a second writes them out. A worker killed between two
flushes takes at most that much of its count with it.
"""

from collections.abc import Sequence

from pools.net.scoreboard import Cell, ListenCell, Row
from workers.settings import Listen


class ListenTally:
    """One listener's sessions since this worker began, whatever it was told meanwhile.

    Attributes:
        live: sessions now.
        total: sessions that ever began.
        failed: of those, ended before their destination was connected.
        forward_bytes: inbound to outbound; of a live session, up to its last look.
        backward_bytes: outbound to inbound, likewise.
    """

    __slots__ = ("_base", "_number", "backward_bytes", "failed", "forward_bytes", "live", "total")

    def __init__(self, row: Row, number: int) -> None:
        self._number = number
        self._base = [row.listener(number, cell) for cell in ListenCell]
        self.live = self.total = self.failed = self.forward_bytes = self.backward_bytes = 0

    def write(self, row: Row) -> None:
        """Put it into the row, on top of what the slot's earlier workers counted."""
        row.set_listener(self._number, ListenCell.SESSIONS, self.live)
        for cell, value in (
            (ListenCell.SESSIONS_TOTAL, self.total),
            (ListenCell.FORWARD_BYTES, self.forward_bytes),
            (ListenCell.BACKWARD_BYTES, self.backward_bytes),
            (ListenCell.FAILED, self.failed),
        ):
            row.set_listener(self._number, cell, self._base[cell] + value)


class Tally:
    """All that one worker counts: each listener, and the events that are too rare to be worth buffering.

    Args:
        row: the worker's own.

    Attributes:
        live: sessions now, over all listeners.
    """

    __slots__ = ("_base", "_listens", "_row", "live")

    def __init__(self, row: Row) -> None:
        self.live = 0
        self._row = row
        self._base = {cell: row[cell] for cell in (Cell.SESSIONS_TOTAL, Cell.FORWARD_BYTES, Cell.BACKWARD_BYTES)}
        self._listens: dict[int, ListenTally] = {}  # by number; one that is no listener's any more keeps its total

    def of(self, listens: Sequence[Listen]) -> list[ListenTally]:
        """Give what the sessions of each of `listens` are counted in: what has counted there before, if any has."""
        for listen in listens:
            if listen.number not in self._listens:
                self._listens[listen.number] = ListenTally(self._row, listen.number)
        return [self._listens[listen.number] for listen in listens]

    def count(self, cell: Cell, amount: int = 1) -> None:
        """Count a rare event at once."""
        self._row.add(cell, amount)

    def write(self) -> None:
        """Put all counts into the worker's row."""
        listens = self._listens.values()
        for listen in listens:
            listen.write(self._row)
        self._row[Cell.SESSIONS] = self.live
        self._set(Cell.SESSIONS_TOTAL, sum(listen.total for listen in listens))
        self._set(Cell.FORWARD_BYTES, sum(listen.forward_bytes for listen in listens))
        self._set(Cell.BACKWARD_BYTES, sum(listen.backward_bytes for listen in listens))

    def _set(self, cell: Cell, value: int) -> None:
        self._row[cell] = self._base[cell] + value

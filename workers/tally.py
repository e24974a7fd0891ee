"""What a worker counts, and how it reaches the scoreboard.

Counting touches plain attributes only; a flush a few times a second writes them out. A worker killed between two
flushes takes at most that much of its count with it.
"""

from pools.net.scoreboard import Cell, ListenCell, Row


class ListenTally:
    """One listener's sessions since this worker began.

    Attributes:
        live: sessions now.
        total: sessions that ever began.
        failed: of those, ended before their destination was connected.
        forward_bytes: inbound to outbound; of a live session, up to its last look.
        backward_bytes: outbound to inbound, likewise.
    """

    __slots__ = ("_base", "_index", "backward_bytes", "failed", "forward_bytes", "live", "total")

    def __init__(self, row: Row, index: int) -> None:
        self._index = index
        self._base = [row.listener(index, cell) for cell in ListenCell]
        self.live = self.total = self.failed = self.forward_bytes = self.backward_bytes = 0

    def write(self, row: Row) -> None:
        """Put it into the row, on top of what the slot's earlier workers counted."""
        row.set_listener(self._index, ListenCell.SESSIONS, self.live)
        for cell, value in (
            (ListenCell.SESSIONS_TOTAL, self.total),
            (ListenCell.FORWARD_BYTES, self.forward_bytes),
            (ListenCell.BACKWARD_BYTES, self.backward_bytes),
            (ListenCell.FAILED, self.failed),
        ):
            row.set_listener(self._index, cell, self._base[cell] + value)


class Tally:
    """All listeners of one worker, and the events that are too rare to be worth buffering.

    Args:
        row: the worker's own.
        listeners: how many.

    Attributes:
        listens: in the configuration's order.
    """

    __slots__ = ("_base", "_row", "listens")

    def __init__(self, row: Row, listeners: int) -> None:
        self._row = row
        self._base = {cell: row[cell] for cell in (Cell.SESSIONS_TOTAL, Cell.FORWARD_BYTES, Cell.BACKWARD_BYTES)}
        self.listens = [ListenTally(row, index) for index in range(listeners)]

    @property
    def live(self) -> int:
        """Sessions now, over all listeners."""
        return sum(listen.live for listen in self.listens)

    def count(self, cell: Cell, amount: int = 1) -> None:
        """Count a rare event at once."""
        self._row.add(cell, amount)

    def write(self) -> None:
        """Put all counts into the worker's row."""
        for listen in self.listens:
            listen.write(self._row)
        self._row[Cell.SESSIONS] = self.live
        self._set(Cell.SESSIONS_TOTAL, sum(listen.total for listen in self.listens))
        self._set(Cell.FORWARD_BYTES, sum(listen.forward_bytes for listen in self.listens))
        self._set(Cell.BACKWARD_BYTES, sum(listen.backward_bytes for listen in self.listens))

    def _set(self, cell: Cell, value: int) -> None:
        self._row[cell] = self._base[cell] + value

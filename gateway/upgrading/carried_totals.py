"""What a gateway's children have counted, by names instead of places: so it outlives them, and their supervisor.

Places on a scoreboard are one supervisor's own; the next one may have others, or another layout.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.upgrading.handover import Scope, TotalsRow
from pools.net.link_board import LINK_GAUGES, LinkCell
from pools.net.scoreboard import GAUGES, Cell, ListenCell, Scoreboard

_TOTALS: Final = [cell for cell in Cell if cell >= GAUGES.stop]
_LISTEN_TOTALS: Final = [cell for cell in ListenCell if cell is not ListenCell.SESSIONS]
_LINK_TOTALS: Final = [cell for cell in LinkCell if cell not in LINK_GAUGES]


class Places:
    """Where the numbers of listeners and peers are on a scoreboard, by their names.

    Args:
        listeners: the number of each listener by its name, and of each peer likewise.
    """

    def __init__(self, scoreboard: Scoreboard, *, listeners: Mapping[str, int], peers: Mapping[str, int]) -> None:
        self._scoreboard = scoreboard
        self._listeners = listeners
        self._peers = peers

    def rows(self) -> Iterator[tuple[Scope, str, dict[str, int]]]:
        """Give what all children counted, and what was carried on before: a scope, a name in it, totals by name."""
        board = self._scoreboard
        rows = [board.row(index) for index in range(board.rows)]
        yield "gateway", "", {cell.name: sum(row[cell] for row in rows) for cell in _TOTALS}
        for name, number in self._listeners.items():
            yield "listener", name, {c.name: sum(row.listener(number, c) for row in rows) for c in _LISTEN_TOTALS}
        for name, number in self._peers.items():
            yield "peer", name, {cell.name: board.links.link(number)[cell] for cell in _LINK_TOTALS}

    def carry(self, row: TotalsRow) -> None:
        """Add what an earlier supervisor's children counted. What has no place here is left out."""
        scope, name, added = row
        match scope:
            case "gateway":
                self._carry(added)
            case "listener" if name in self._listeners:
                self._carry_listener(self._listeners[name], added)
            case "peer" if name in self._peers:
                link = self._scoreboard.links.link(self._peers[name])
                for cell in _LINK_TOTALS:
                    link.carry(cell, added.get(cell.name, 0))

    def _carry(self, added: Mapping[str, int]) -> None:
        for cell in _TOTALS:
            self._scoreboard.carried.add(cell, added.get(cell.name, 0))

    def _carry_listener(self, number: int, added: Mapping[str, int]) -> None:
        row = self._scoreboard.carried
        for cell in _LISTEN_TOTALS:
            row.set_listener(number, cell, row.listener(number, cell) + added.get(cell.name, 0))


class Unsaid:
    """Tells what was added since it was asked last; at first, all there is."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._said: dict[tuple[str, str], dict[str, int]] = {}

    def take(self) -> list[tuple[Scope, str, dict[str, int]]]:
        """Give what was added, without what was not."""
        grown = []
        for scope, name, now in self._places.rows():
            before = self._said.get((scope, name), {})
            added = {cell: total - before.get(cell, 0) for cell, total in now.items() if total > before.get(cell, 0)}
            self._said[scope, name] = before | {cell: now[cell] for cell in added}
            if added:
                grown.append((scope, name, added))
        return grown

"""Tables that fit: which columns and lines are shown where there is no room for all of them. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from rich.text import Text

from gateway.top.figures import clipped
from gateway.top.glyphs import Glyphs

Line = TypeVar("Line")

HEAD: Final = "bold"
FAINT: Final = "dim"
_GAP: Final = "  "
_WIDEST: Final = 24  # characters of a cell where the table's width is limited
_LEAST: Final = 3  # lines of a table that say anything: its head, one line, and how many more there are


class Cell(NamedTuple):
    """What one column says of one line; `style` is rich's."""

    text: str
    style: str = ""


NOTHING: Final = Cell("-", FAINT)


@dataclass(frozen=True, slots=True)
class Column(Generic[Line]):
    """One column.

    Attributes:
        rank: the greater, the sooner it is left out, with all of the same rank; 0 never is.
        least: characters that it has in any case, so that it stands still while its numbers change.
    """

    title: str
    cell: Callable[[Line], Cell]
    rank: int = 0
    least: int = 0
    is_left: bool = False


@dataclass(frozen=True, slots=True)
class Table(Generic[Line]):
    """Lines of one kind, in their order.

    Attributes:
        weight: of the lines that there is no room for, those with the least are left out.
    """

    columns: Sequence[Column[Line]]
    lines: Sequence[Line]
    weight: Callable[[Line], float]

    @property
    def height(self) -> int:
        """Lines that all of it takes, its head too."""
        return len(self.lines) + 1 if self.lines else 0

    def draw(self, glyphs: Glyphs, *, width: int | None, height: int) -> list[Text]:
        """Give head and lines, at most `height`; the last says how many are missing.

        Args:
            width: characters; None for no limit.
        """
        if not self.lines or height < 2:
            return []
        shown = chosen(self.lines, self.weight, room=height - 1)
        rows = [[self._cell(column, line, glyphs, width) for column in self.columns] for line in shown]
        spans = [self._span(place, rows) for place in range(len(self.columns))]
        kept = fitting(spans, [column.rank for column in self.columns], room=width)
        head = [Cell(column.title, HEAD) for column in self.columns]
        drawn = [self._line(row, spans, kept) for row in [head, *rows]]
        if missing := len(self.lines) - len(shown):
            drawn.append(Text(f"{glyphs.more} {missing} more", style=FAINT))
        return drawn

    def _cell(self, column: Column[Line], line: Line, glyphs: Glyphs, width: int | None) -> Cell:
        cell = column.cell(line)
        return cell if width is None else Cell(clipped(cell.text, _WIDEST, glyphs.more), cell.style)

    def _span(self, place: int, rows: Sequence[Sequence[Cell]]) -> int:
        column = self.columns[place]
        return max(len(column.title), column.least, *(len(row[place].text) for row in rows))

    def _line(self, row: Sequence[Cell], spans: Sequence[int], kept: Sequence[int]) -> Text:
        line = Text(no_wrap=True)
        for place in kept:
            cell, span = row[place], spans[place]
            text = cell.text.ljust(span) if self.columns[place].is_left else cell.text.rjust(span)
            line.append(text, cell.style).append(_GAP)
        line.rstrip()
        return line


def chosen(lines: Sequence[Line], weight: Callable[[Line], float], *, room: int) -> list[Line]:
    """Pick the lines that are shown, in their order: all, or the weightiest and room to say that there are more."""
    if len(lines) <= room:
        return list(lines)
    places = sorted(range(len(lines)), key=lambda place: -weight(lines[place]))
    return [lines[place] for place in sorted(places[: max(0, room - 1)])]


def fitting(spans: Sequence[int], ranks: Sequence[int], *, room: int | None) -> list[int]:
    """Give the places of the columns that fit side by side into `room`: the greatest rank is left out first, whole."""
    kept = list(range(len(spans)))
    while room is not None and sum(spans[place] + len(_GAP) for place in kept) - len(_GAP) > room:
        last = max(ranks[place] for place in kept)
        if not last:
            break
        kept = [place for place in kept if ranks[place] < last]
    return kept


def heights(needs: Sequence[int], *, room: int) -> list[int]:
    """Share lines out among tables, each with an empty line before it: what one does not need goes to the others.

    Args:
        needs: lines of each; 0 for one that is not shown. The weightiest first: it is the last one to be left out.
    """
    shown = [place for place, need in enumerate(needs) if need]
    while len(shown) > 1 and room < sum(1 + min(needs[place], _LEAST) for place in shown):
        shown.pop()
    shares = [0] * len(needs)
    left = room - len(shown)
    while left > 0 and any(shares[place] < needs[place] for place in shown):
        for place in shown:
            if shares[place] < needs[place] and left > 0:
                shares[place] += 1
                left -= 1
    return shares

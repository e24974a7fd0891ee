"""How commands print: aligned tables, numbers that people read, JSON. Plain text, the same in a terminal and a pipe."""

import json
import sys
from collections.abc import Sequence
from typing import Any

_UNITS = "KMGTPE"
_GAP = "  "


def say(text: str) -> None:
    """Print what was asked for."""
    print(text)


def warn(text: str) -> None:
    """Print what went wrong, apart from what was asked for."""
    print(text, file=sys.stderr)


def say_json(content: object) -> None:
    """Print `content` for programs."""
    print(json.dumps(content, indent=2))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Align `rows` under `columns`. A column whose name starts with '>' goes to the right; None shows as '-'."""
    names = [name.removeprefix(">").upper() for name in columns]
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    return "\n".join(_line(columns, line, widths) for line in [names, *cells])


def bytes_text(count: int | None) -> str | None:
    """Write a number of bytes in up to four characters: 512, 1.5K, 20M; K being 1024."""
    if count is None:
        return None
    if count < 1024:
        return str(count)
    power = 1
    while count / 1024**power >= 999.5 and power < len(_UNITS):
        power += 1
    scaled = count / 1024**power
    return f"{scaled:.{1 if scaled < 9.95 else 0}f}{_UNITS[power - 1]}"


def duration_text(seconds: float) -> str:
    """Write a duration in its two largest units: 7s, 3m05s, 2h10m, 4d03h."""
    whole = int(seconds)
    for size, unit, smaller, small_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // smaller:02}{small_unit}"
    return f"{whole}s"


def round_trip_text(microseconds: int) -> str:
    """Write a round-trip time; '-' where it is not known yet."""
    if microseconds < 1000:
        return f"{microseconds}us" if microseconds else "-"
    return f"{microseconds / 1000:.1f}ms" if microseconds < 99_950 else f"{microseconds / 1000:.0f}ms"


def loss_text(parts: int) -> str:
    """Write parts in a million as a percentage, in up to four characters."""
    return f"{parts / 10_000:.1f}%" if parts < 100_000 else f"{parts / 10_000:.0f}%"


def _line(columns: Sequence[str], cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        cell.rjust(width) if name.startswith(">") else cell.ljust(width)
        for name, cell, width in zip(columns, cells, widths, strict=True)
    ]
    return _GAP.join(aligned).rstrip()

"""The characters that a picture is made of, with Unicode and without; and small charts of them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of characters.

    Attributes:
        bars: of a chart, from the lowest, which stands for 0, to the full one.
        more: stands for what there is no room for.
    """

    bars: str
    forward: str
    backward: str
    variation: str
    more: str


UNICODE: Final = Glyphs(bars="▁▂▃▄▅▆▇█", forward="→", backward="←", variation="±", more="…")
ASCII: Final = Glyphs(bars="_.:-=+*#", forward=">", backward="<", variation="+-", more="...")


def glyphs_for(encoding: str) -> Glyphs:
    """Choose by what a terminal's encoding can say."""
    return UNICODE if encoding.lower().replace("-", "").startswith("utf") else ASCII


def chart(values: Sequence[float], *, cells: int, bars: str, full: float = 0.0) -> str:
    """Draw values as a row of at most `cells` bars; whatever is above 0 shows.

    Where there are more values than cells, each bar is the mean of as many neighbours as it takes.

    Args:
        full: what a full bar stands for, at least the greatest of those that are drawn.
    """
    drawn = _narrowed(values, cells)
    most = max([full, *drawn])
    return "".join(bars[max(1, round(each / most * (len(bars) - 1)))] if each > 0 else bars[0] for each in drawn)


def _narrowed(values: Sequence[float], cells: int) -> list[float]:
    size = max(1, -(-len(values) // cells))
    return [sum(values[start : start + size]) / size for start in range(len(values) % size, len(values), size)]

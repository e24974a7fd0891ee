"""Numbers that names keep: whose row on the scoreboard is whose, the same over reloads. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from pools.net.errors import StartError


@dataclass(frozen=True, slots=True)
class Numbering:
    """Numbers by name. A name that is gone keeps its own: where it comes back, it goes on counting.

    Attributes:
        what: is numbered, for people.
        room: how many numbers there are.
    """

    what: str
    room: int
    numbers: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        """Give a name's number, 0 to room - 1."""
        return self.numbers[name]

    def with_names(self, names: Iterable[str]) -> Self:
        """Give every one of `names` a number, those that have none in their order.

        Raises:
            StartError: there is no room for all.
        """
        new = [name for name in names if name not in self.numbers]
        known = len(self.numbers)
        if known + len(new) > self.room:
            raise StartError(
                f"expected room for numbers of {known + len(new)} {self.what}, those of before among them; found "
                f"{self.room}; `gateway upgrade` makes room"
            )
        more = {name: number for number, name in enumerate(new, start=known)}
        return type(self)(self.what, self.room, {**self.numbers, **more})

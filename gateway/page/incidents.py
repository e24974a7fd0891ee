"""A bounded list of what went wrong lately, like things in one entry. Pure: it is told what happened, and when."""

from dataclasses import dataclass, replace
from typing import Final

from gateway.page.troubles import Weight

KEEP: Final = 40
CALM_MS: Final = 60_000
"""What happens again within this time belongs to the same entry."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happened, perhaps several times in a row.

    Attributes:
        began_ms: when it first did, on the gateway's own clock, which began with it.
        at_ms: when it last did.
        count: how often; 0 for what cannot be counted.
    """

    weight: Weight
    text: str
    began_ms: int
    at_ms: int
    count: int


class Incidents:
    """The list.

    Args:
        keep: how many entries there are at most; the one that is quiet for longest goes first.
        calm_ms: a longer pause begins a new entry.
    """

    def __init__(self, *, keep: int = KEEP, calm_ms: int = CALM_MS) -> None:
        self._keep = keep
        self._calm_ms = calm_ms
        self._entries: list[Incident] = []  # the one that moved last is last

    def add(self, weight: Weight, text: str, *, at_ms: int, count: int = 0) -> None:
        """Remember that something happened: in the entry of its like where that is recent, else in a new one."""
        before = next((each for each in reversed(self._entries) if (each.weight, each.text) == (weight, text)), None)
        if before is not None and count and at_ms - before.at_ms <= self._calm_ms:
            self._entries.remove(before)
            entry = replace(before, at_ms=at_ms, count=before.count + count)
        else:
            entry = Incident(weight, text, at_ms, at_ms, count)
        self._entries.append(entry)
        del self._entries[: -self._keep]

    def newest_first(self) -> tuple[Incident, ...]:
        """Give all entries, the one that moved last first."""
        return tuple(reversed(self._entries))

"""Who has which leg, as far as the broker knows. Numbers only: no leg, no socket is here.

A worker's channel keeps the order of what is sent, so the ledger can insist: a leg that comes from where it is not
booked shows a bug, and booking it would hide that it is lent twice.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NewType

from pools.net.errors import Fault, ProtocolError

LegId = NewType("LegId", int)
"""0 to 2⁶⁴ - 1, never used again on this host."""

ORIGINS: Final = 1 << 24
"""How many processes may number legs: one a second for half a year."""

_SERIAL_BITS: Final = 40


def leg_id(origin: int, serial: int) -> LegId:
    """Number a leg.

    Args:
        origin: the process that dialled it, 0 to ORIGINS - 1; each life of a worker or a broker has its own.
        serial: 0 to 2⁴⁰ - 1, counted up by that process.
    """
    if not (0 <= origin < ORIGINS and 0 <= serial < 1 << _SERIAL_BITS):
        raise ValueError(f"a leg's origin must be below 2^24 and its serial below 2^40; found {origin}, {serial}")
    return LegId(origin << _SERIAL_BITS | serial)


DEPOT: Final = -1
"""The holder that is not a worker's slot."""


class Ledger:
    """One holder for each leg: DEPOT, or the slot of the worker that has it or is being sent it."""

    __slots__ = ("_counts", "_holders")

    def __init__(self) -> None:
        self._holders: dict[int, int] = {}
        self._counts: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def __repr__(self) -> str:
        return f"<Ledger {self._counts}>"

    def count(self, holder: int) -> int:
        """Tell how many legs `holder` has."""
        return self._counts.get(holder, 0)

    def is_with(self, leg: int, holder: int) -> bool:
        """Tell whether `holder` has the leg."""
        return self._holders.get(leg) == holder

    def legs_of(self, holder: int) -> frozenset[int]:
        """Name the legs that `holder` has."""
        return frozenset(leg for leg, has in self._holders.items() if has == holder)

    def enter(self, legs: Sequence[int], holder: int) -> None:
        """Book legs that are new here.

        Raises:
            ProtocolError: one is booked already, or named twice; nothing changed.
        """
        self._insist(legs, None)
        self._book(legs, holder)

    def move(self, legs: Sequence[int], source: int, target: int) -> None:
        """Book legs that change hands.

        Raises:
            ProtocolError: one is not booked for `source`, or named twice; nothing changed.
        """
        self._insist(legs, source)
        self._book(legs, target)

    def strike(self, legs: Sequence[int], holder: int) -> None:
        """Strike out legs that `holder` closes.

        Raises:
            ProtocolError: one is not booked for `holder`, or named twice; nothing changed.
        """
        self._insist(legs, holder)
        self._strike(legs)

    def strike_all(self, holder: int) -> int:
        """Strike out what a dead process had, and what was on its way to it; tell how many legs that were."""
        legs = self.legs_of(holder)
        self._strike(legs)
        self._counts.pop(holder, None)
        return len(legs)

    def _insist(self, legs: Sequence[int], holder: int | None) -> None:
        if len(set(legs)) < len(legs):
            raise ProtocolError("a leg may be named once in a message; found one twice", fault=Fault.OURS)
        for leg in legs:
            if self._holders.get(leg) != holder:
                expected = "unknown" if holder is None else f"held by {holder}"
                raise ProtocolError(
                    f"leg {leg:#x} must be {expected}; found with {self._holders.get(leg)}", fault=Fault.OURS
                )

    def _book(self, legs: Iterable[int], holder: int) -> None:
        for leg in legs:
            self._uncount(self._holders.get(leg))
            self._holders[leg] = holder
            self._counts[holder] = self._counts.get(holder, 0) + 1

    def _strike(self, legs: Iterable[int]) -> None:
        for leg in legs:
            self._uncount(self._holders.pop(leg))

    def _uncount(self, holder: int | None) -> None:
        if holder is not None:
            self._counts[holder] -= 1

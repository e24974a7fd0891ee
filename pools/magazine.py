"""A stack of legs with a fixed size, the unit that worker and broker exchange.

No policy is here: who loads, swaps or hands back a magazine is `pools.core_cache`'s decision.

Source: Bonwick and Adams, "Magazines and Vmem: Extending the Slab Allocator to Many CPUs and Arbitrary Resources",
USENIX ATC 2001, section 3.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Leg = TypeVar("Leg")


class Magazine(Generic[Leg]):
    """Up to `size` rounds, the one that was pushed last on top.

    Args:
        size: at least 1.
    """

    __slots__ = ("_rounds", "size")

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a magazine's size must be at least 1; found {size}")
        self.size = size
        self._rounds: list[Leg] = []

    def __len__(self) -> int:
        return len(self._rounds)

    def __iter__(self) -> Iterator[Leg]:
        """Give the rounds, the bottom one first."""
        return iter(self._rounds)

    def __repr__(self) -> str:
        return f"<Magazine {len(self._rounds)}/{self.size}>"

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to pop."""
        return not self._rounds

    @property
    def is_full(self) -> bool:
        """Whether there is no room to push."""
        return len(self._rounds) >= self.size

    def push(self, leg: Leg) -> None:
        """Lay `leg` on top.

        Raises:
            IndexError: the magazine is full; nothing changed.
        """
        if len(self._rounds) >= self.size:
            raise IndexError(f"push to a full magazine of {self.size}")
        self._rounds.append(leg)

    def pop(self) -> Leg:
        """Take the top one, which the caller now owns.

        Raises:
            IndexError: the magazine is empty.
        """
        return self._rounds.pop()

    def weed(self, fit: Callable[[Leg], bool]) -> list[Leg]:
        """Take out what is not `fit`, the bottom one first; the caller now owns it. The rest keeps its order."""
        verdicts = [(leg, fit(leg)) for leg in self._rounds]  # each judged once: a verdict may cost a system call
        self._rounds = [leg for leg, is_fit in verdicts if is_fit]
        return [leg for leg, is_fit in verdicts if not is_fit]

    def unload(self) -> list[Leg]:
        """Take all rounds, the bottom one first; the caller now owns them."""
        rounds, self._rounds = self._rounds, []
        return rounds

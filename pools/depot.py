"""The broker's store of idle legs to one peer, and the exchanges with the workers.

Decisions only: no sockets, no clock. In the paper a full magazine and an empty one change hands by a pointer. Between
processes the content of a full one is a message, and of an empty one there is nothing to send but who wants it filled
and how far. So the depot keeps full magazines as one stack of rounds, and the empty ones as a queue of workers.

Source: Bonwick and Adams, "Magazines and Vmem", USENIX ATC 2001, section 3: the depot, dynamic magazine sizes, and the
working set.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from pools.net.fd_passing import DESCRIPTOR_LIMIT

Leg = TypeVar("Leg")

CONTENDED_PER_S: Final = 200.0
"""Exchanges with all workers. Each costs both sides some 50 µs of msgpack and system calls: 1 % of a broker's core."""


def largest_size(*, pool_max: int, workers: int) -> int:
    """Tell to how many rounds magazines may grow: two a worker must fit into the pool, and one into a message."""
    return max(1, min(pool_max // (2 * workers), DESCRIPTOR_LIMIT))


@dataclass(frozen=True, slots=True)
class Delivery(Generic[Leg]):
    """What one worker is sent. It owns the legs once the message is on its way.

    Attributes:
        slot: the worker's.
        legs: at most as many as it asked for, those to be lent last first; none: nothing will come for its ask.
    """

    slot: int
    legs: tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class _Empty:
    slot: int
    rounds: int


class Depot(Generic[Leg]):
    """Idle legs to one peer, the one that came last on top, and the workers' empty magazines.

    Args:
        size: rounds of a magazine to begin with, at least 1.
        largest: rounds that it may grow to, at least `size`.
        born_s: when a leg was established, in seconds on any one clock.
    """

    __slots__ = ("_born_s", "_empties", "_exchanges", "_low_tide", "_rounds", "largest", "size")

    def __init__(self, size: int, *, largest: int, born_s: Callable[[Leg], float]) -> None:
        if not 1 <= size <= largest:
            raise ValueError(f"a magazine's size must be from 1 to its largest, {largest}; found {size}")
        self.size = size
        self.largest = largest
        self._born_s = born_s
        self._rounds: list[Leg] = []
        self._empties: deque[_Empty] = deque()
        self._exchanges = 0
        self._low_tide = 0

    def __len__(self) -> int:
        return len(self._rounds)

    def __iter__(self) -> Iterator[Leg]:
        """Give the legs, the one that leaves last first."""
        return iter(self._rounds)

    def __repr__(self) -> str:
        return f"<Depot {len(self._rounds)} rounds, {len(self._empties)} empty magazines of {self.size}>"

    @property
    def empties(self) -> int:
        """Magazines that wait to be filled."""
        return len(self._empties)

    def restock(self, legs: Iterable[Leg]) -> None:
        """Lay newly dialled legs on top."""
        self._rounds.extend(legs)

    def hand_in_full(self, legs: Iterable[Leg]) -> None:
        """Take a full magazine, or what is left of one, from a worker."""
        self._exchanges += 1
        self._rounds.extend(legs)

    def hand_in_empty(self, slot: int, rounds: int) -> None:
        """Take an empty magazine from the worker in `slot`, to be filled with up to `rounds`; it has one at most."""
        self._exchanges += 1
        self.withdraw(slot)
        self._empties.append(_Empty(slot, rounds))

    def withdraw(self, slot: int) -> None:
        """Forget the empty magazine of a worker that is gone."""
        self._empties = deque(empty for empty in self._empties if empty.slot != slot)

    def deal(self) -> list[Delivery[Leg]]:
        """Fill empty magazines, first come first served; what is scarce is shared evenly.

        So one worker cannot take all that there is while others wait. A magazine that is not full is delivered all the
        same: its worker asks again, behind the others.
        """
        deliveries = []
        while self._rounds and self._empties:
            share = -(-len(self._rounds) // len(self._empties))
            empty = self._empties.popleft()
            deliveries.append(Delivery(empty.slot, self._off_the_top(min(share, empty.rounds, self.size))))
        return deliveries

    def refuse(self) -> list[Delivery[Leg]]:
        """Give every empty magazine back as it came: the peer is down."""
        refused: list[Delivery[Leg]] = [Delivery(empty.slot, ()) for empty in self._empties]
        self._empties.clear()
        return refused

    def weed(self, fit: Callable[[Leg], bool]) -> tuple[Leg, ...]:
        """Take out what is not `fit`: readable, broken or too old. The caller closes it."""
        verdicts = [(leg, fit(leg)) for leg in self._rounds]
        self._rounds = [leg for leg, is_fit in verdicts if is_fit]
        self._note_tide()
        return tuple(leg for leg, is_fit in verdicts if not is_fit)

    def shed(self, count: int) -> tuple[Leg, ...]:
        """Take out up to `count` legs, 0 or more, the oldest; the caller closes them."""
        by_age = sorted(range(len(self._rounds)), key=lambda place: self._born_s(self._rounds[place]))
        leaving = by_age[:count]
        oldest = tuple(self._rounds[place] for place in leaving)
        for place in sorted(leaving, reverse=True):
            del self._rounds[place]
        self._note_tide()
        return oldest

    def refit(self, largest: int) -> None:
        """Let magazines grow up to `largest` rounds, at least 1; those that are larger shrink to that."""
        self.largest = largest
        self.size = min(self.size, largest)

    def turn_tide(self) -> int:
        """End one interval and give the fewest legs that lay here in it: what nobody needed, the paper's surplus."""
        low_tide, self._low_tide = self._low_tide, len(self._rounds)
        return min(low_tide, len(self._rounds))

    def adapt(self, interval_s: float, *, misses: int = 0) -> bool:
        """End one interval of `interval_s` seconds; double the magazines if they are too small. Tell if so.

        The paper counts failed attempts at the depot's lock. A broker with one thread has none to contend for: what
        costs is the exchange, so exchanges are counted; and what a worker does not wait for is a miss, which costs far
        more. One while legs lie here would have been a hit with larger magazines. As in the paper, the size does not
        fall again.

        Args:
            misses: takes in this interval that found no leg at their worker.
        """
        is_missed = misses > 0 and len(self._rounds) > self.size
        is_contended = is_missed or self._exchanges > CONTENDED_PER_S * interval_s
        is_contended = is_contended and self.size < self.largest
        self._exchanges = 0
        if is_contended:
            self.size = min(2 * self.size, self.largest)
        return is_contended

    def _off_the_top(self, count: int) -> tuple[Leg, ...]:
        legs = tuple(self._rounds[-count:])
        del self._rounds[-count:]
        self._note_tide()
        return legs

    def _note_tide(self) -> None:
        self._low_tide = min(self._low_tide, len(self._rounds))

"""When a packet leaves an emulated line, and whether it does. Pure: no packet is moved here, and no clock is read.

A line goes one way. Packets are sent one after another at its rate, wait for that in a queue of bounded length, then
travel for its delay. They never overtake one another, not even where the terms change on the way.
"""

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Final

_BITS: Final = 8


@dataclass(frozen=True, slots=True)
class LineTerms:
    """What a line does to packets.

    Attributes:
        delay_s: how long a packet travels once it is sent.
        rate_bits_s: bits a second, headers of IP included; 0 for no limit, and then nothing queues.
        queue_bytes: a packet that finds more than this waiting before it is dropped.
        loss: the share of packets that vanish, 0 to 1; 1 is a line that is cut.
    """

    delay_s: float = 0.0
    rate_bits_s: float = 0.0
    queue_bytes: int = 1_000_000
    loss: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.loss <= 1:
            raise ValueError(f"loss must be 0 to 1; found {self.loss}")
        for name in ("delay_s", "rate_bits_s", "queue_bytes"):
            if not 0 <= (value := getattr(self, name)) < float("inf"):
                raise ValueError(f"{name} must be 0 or more, and finite; found {value}")


@dataclass(slots=True)
class LineCounts:
    """What became of the packets that entered; those of no count are still on their way."""

    entered: int = 0
    left: int = 0
    lost: int = 0
    overflowed: int = 0


class DelayLine:
    """Packets on their way, each with the time at which it leaves.

    Args:
        seed: of the generator that picks the packets to lose; equal seeds lose the same ones.
    """

    __slots__ = ("_chance", "_free_s", "_on_the_way", "counts", "terms")

    def __init__(self, terms: LineTerms, *, seed: int = 0) -> None:
        self.terms = terms
        """May be exchanged at any time; holds for packets that enter from then on."""
        self.counts = LineCounts()
        self._on_the_way: deque[tuple[float, bytes]] = deque()
        self._free_s = 0.0
        self._chance = Random(seed)

    def __repr__(self) -> str:
        return f"<DelayLine {self.terms} {self.counts} on the way: {len(self._on_the_way)}>"

    def draw_anew(self, seed: int) -> None:
        """Pick the packets to lose by a fresh generator, from now on."""
        self._chance = Random(seed)

    def enter(self, packet: bytes, *, now_s: float, size_bytes: int | None = None) -> None:
        """Take a packet at `now_s`, and drop it if chance or the queue says so.

        Args:
            size_bytes: for how many the line sends; None for as many as the packet has.
        """
        terms, counts = self.terms, self.counts
        counts.entered += 1
        if terms.loss and self._chance.random() < terms.loss:
            counts.lost += 1
            return
        sent_s = now_s
        if terms.rate_bits_s:
            start_s = max(now_s, self._free_s)
            if (start_s - now_s) * terms.rate_bits_s > terms.queue_bytes * _BITS:
                counts.overflowed += 1
                return
            sent_s = self._free_s = start_s + (size_bytes or len(packet)) * _BITS / terms.rate_bits_s
        leaves_s = sent_s + terms.delay_s
        if self._on_the_way:
            leaves_s = max(leaves_s, self._on_the_way[-1][0])
        self._on_the_way.append((leaves_s, packet))

    @property
    def next_s(self) -> float | None:
        """When the next packet leaves; None while there is none."""
        return self._on_the_way[0][0] if self._on_the_way else None

    def leave(self, *, now_s: float) -> tuple[float, bytes] | None:
        """Give the next packet if its time has come, with the time it was due; None if there is none."""
        if not self._on_the_way or self._on_the_way[0][0] > now_s:
            return None
        self.counts.left += 1
        return self._on_the_way.popleft()

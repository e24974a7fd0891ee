"""The scoreboard's part about links: a row of 64-bit words for each peer, by the peer's number.

The broker alone writes here, the row's place excepted, which the supervisor gives it; anyone may read. Rows outlive the
broker as those of children do: totals go on, and gauges are cleared once it is dead, for what it knew is known no more.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final


class LinkCell(IntEnum):
    """Columns of a peer's row. Gauges say what is; totals, which end in TOTAL, only grow: write what was added.

    Attributes:
        STATE: the number of a `pools.link_health.LinkState`.
        RTT_US: smoothed round-trip time of probes; 0 before the first answer.
        RTT_VARIATION_US: its variation.
        LOSS_PPM: lost probes in a million, of the recent ones.
        IDLE_DEPOT: legs in the depot.
        IDLE_WORKERS: idle legs in workers' magazines, as they last said.
        LENT: legs that carry a session.
        DIALLING: legs on their way.
        WINDOW_SEGMENTS: median congestion window of the depot's legs; 0 where there is none.
        MAGAZINE_ROUNDS: size of a magazine.
        CROWDED: 1 while there are more legs than pool_max.
        FIRST_WINDOW_SEGMENTS: congestion window of the probe's leg, which is what a leg begins with: it carries nothing
            that would let it grow. 0, as the next three, while there is none.
        FIRST_ADVERTISED_BYTES: window that the peer advertises on it.
        FIRST_SEND_BYTES: payload that its send buffer has room for.
        FIRST_RECEIVE_BYTES: window that we advertise on it.
        UPDATED_NS: when the broker last wrote the row, monotonic clock.
        HITS_LATELY: sessions of about the last minute that found a leg ready.
        MISSES_LATELY: those that had to dial.
        SHORT_MS: for how long there have been fewer than pool_min idle legs though the link was up; 0 where there are
            enough.
        HITS_TOTAL: sessions that found a leg ready.
        MISSES_TOTAL: sessions that had to dial.
        UNFIT_TOTAL: legs that a worker found dead or too old when it wanted to lend them.
        DIALLED_TOTAL: legs that came to be, by the broker and on misses.
        DIAL_FAILED_TOTAL: attempts that made no leg.
        CLOSED_TOTAL: legs that ended, for whatever reason.
        EXCHANGES_TOTAL: magazines that went from the depot to a worker or back.
        WENT_DOWN_TOTAL: times that the link went down.
        FILLED_TOTAL: times that idle legs rose to pool_min, from below it; 0 until they first did.
    """

    # gauges
    STATE = 0
    RTT_US = 1
    RTT_VARIATION_US = 2
    LOSS_PPM = 3
    IDLE_DEPOT = 4
    IDLE_WORKERS = 5
    LENT = 6
    DIALLING = 7
    WINDOW_SEGMENTS = 8
    MAGAZINE_ROUNDS = 9
    CROWDED = 10
    UPDATED_NS = 11
    FIRST_WINDOW_SEGMENTS = 12
    FIRST_ADVERTISED_BYTES = 13
    FIRST_SEND_BYTES = 14
    FIRST_RECEIVE_BYTES = 15
    HITS_LATELY = 16
    MISSES_LATELY = 17
    SHORT_MS = 18
    # totals
    HITS_TOTAL = 24
    MISSES_TOTAL = 25
    UNFIT_TOTAL = 26
    DIALLED_TOTAL = 27
    DIAL_FAILED_TOTAL = 28
    CLOSED_TOTAL = 29
    EXCHANGES_TOTAL = 30
    WENT_DOWN_TOTAL = 31
    FILLED_TOTAL = 32


LINK_WORDS: Final = 56
_CARRIED: Final = 16  # from a total's word to that of the same total as an earlier supervisor's broker counted it
_PLACE_WORD: Final = LINK_WORDS - 1
LINK_GAUGES: Final = range(LinkCell.STATE, LinkCell.HITS_TOTAL)


class LinkRow:
    """One peer's words. Writing is for the broker alone; anyone may read.

    Attributes:
        words: the row's part of the mapping, LINK_WORDS long.
    """

    __slots__ = ("words",)

    def __init__(self, words: memoryview) -> None:
        self.words = words

    def __getitem__(self, cell: LinkCell) -> int:
        """Give a gauge, or a total with what was carried on."""
        value: int = self.words[cell]
        return value + self.words[cell + _CARRIED] if cell >= LinkCell.HITS_TOTAL else value

    def __setitem__(self, cell: LinkCell, value: int) -> None:
        self.words[cell] = value

    @property
    def place(self) -> int:
        """The peer's place in the configuration's order, from 1 on; 0 where the row is not in use."""
        value: int = self.words[_PLACE_WORD]
        return value

    @place.setter
    def place(self, place: int) -> None:
        self.words[_PLACE_WORD] = place

    def carry(self, cell: LinkCell, amount: int) -> None:
        """Add to a total what an earlier supervisor's broker counted. Only the supervisor may."""
        self.words[cell + _CARRIED] += amount

    def add(self, cell: LinkCell, amount: int = 1) -> None:
        """Add to a total. Only the broker may."""
        self.words[cell] += amount

    def clear_gauges(self) -> None:
        """Say that nothing is known of the link, keeping the totals."""
        for cell in LINK_GAUGES:
            self.words[cell] = 0


class LinkBoard:
    """All peers' rows.

    Args:
        words: as many whole rows as there is room for peers. Their mapping stays the caller's; `close` lets go of it.

    Attributes:
        peers: for how many there is room.
    """

    def __init__(self, words: memoryview) -> None:
        self.peers = len(words) // LINK_WORDS
        starts = range(0, len(words), LINK_WORDS)
        self._links = tuple(LinkRow(words[start : start + LINK_WORDS]) for start in starts)

    def link(self, index: int) -> LinkRow:
        """Give the row of the peer whose number is `index`, valid until `close`."""
        if not 0 <= index < self.peers:
            raise IndexError(f"no link {index}: there are {self.peers}, counted from 0")
        return self._links[index]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the peers that there are, in the configuration's order."""
        places = {link.place: number for number, link in enumerate(self._links)}
        return tuple(places[place] for place in sorted(places) if place)

    def use(self, numbers: Iterable[int]) -> None:
        """Say which peers there are, by number and in the configuration's order. For the supervisor."""
        places = {number: place for place, number in enumerate(numbers, start=1)}
        for number, link in enumerate(self._links):
            link.place = places.get(number, 0)

    def clear_gauges(self) -> None:
        """Say that nothing is known of any link. For the supervisor, after the broker died."""
        for link in self._links:
            link.clear_gauges()

    def close(self) -> None:
        """Let go of the mapping. A row used afterwards raises ValueError."""
        for link in self._links:
            link.words.release()

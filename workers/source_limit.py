"""How many live sessions each client address has, over all workers and without a lock.

A count-min sketch in memory that the supervisor maps before it forks: each source has one cell per worker in each of
two rows, found by a hash; a worker writes only its own cells and reads all. A cell may be shared with other sources,
so a count can read high, never low. Pure but for the mapping: no socket, no time.

Each worker's cells lie together, so that a slot that is not used takes no memory, and the table can have room for
workers that a reload adds. It is there also while there is no limit: then nothing is counted, and a limit that a reload
brings counts the sessions that begin from then on.

Source: Cormode and Muthukrishnan, "An improved data stream summary: the count-min sketch", J. Algorithms 55 (2005).
"""

import mmap
import socket
from typing import Final, Self

from pools.net.endpoint import unmapped

# 512 KiB a worker. With 20,000 live sessions from as many sources, a limit of 1 turns away 7 newcomers in 100 without
# cause, a limit of 2 one in 700, a limit of 4 none in a million; a quarter of the columns would cost 12 in 100 at 2.
_COLUMNS: Final = 1 << 16
_COLUMN_MASK: Final = _COLUMNS - 1
_ROWS: Final = 2
_BLOCK: Final = _ROWS * _COLUMNS  # cells of one worker
_CELL: Final = 4  # bytes; a store of an aligned cell is one instruction, so readers never see half of it


def source_of(host: str) -> str:
    """Give what counts as one source: the IPv4 address, or the /64 of an IPv6 one, which is one household's or host's.

    Args:
        host: an address as the socket calls write it, IPv4-mapped ones included.
    """
    address = unmapped(host)
    if ":" not in address:
        return address
    return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:8].hex()


class SourceCounts:
    """The table as one worker sees it: it counts its own sessions and heeds everybody's."""

    __slots__ = ("_cells", "_end", "_limit", "_own", "_salt", "_start")

    def __init__(self, cells: memoryview, *, start: int, own: int, end: int, limit: int, salt: str) -> None:
        self._cells = cells
        self._start = start  # of the first worker's block
        self._own = own  # of this worker's
        self._end = end  # of the last one's that counts
        self._limit = limit
        self._salt = salt

    def has_room(self, host: str) -> bool:
        """Tell whether `admit` would count one more session of the source of `host` now."""
        first, second = self._places(host)
        return not self._is_full(first, second)

    def admit(self, host: str) -> bool:
        """Count one more session of the source of `host`, unless it has as many as it may.

        Workers do not wait for each other: when several admit in the same microsecond, a source may get one session
        more from each of them.
        """
        first, second = self._places(host)
        if self._is_full(first, second):
            return False
        self._cells[self._own + first] += 1
        self._cells[self._own + second] += 1
        return True

    def release(self, host: str) -> None:
        """Count one session less, which this worker had admitted.

        Raises:
            ValueError: this worker counts no session of that source; nothing changes.
        """
        first, second = (self._own + place for place in self._places(host))
        cells = self._cells
        if not cells[first] or not cells[second]:
            raise ValueError(f"a released source must have been admitted; found none of {source_of(host)}")
        cells[first] -= 1
        cells[second] -= 1

    def _is_full(self, first: int, second: int) -> bool:
        cells, start, end, limit = self._cells, self._start, self._end, self._limit
        return sum(cells[start + first : end : _BLOCK]) >= limit and sum(cells[start + second : end : _BLOCK]) >= limit

    def _places(self, host: str) -> tuple[int, int]:
        """Give where the two cells of a source are in each worker's block."""
        # str hashes are SipHash with a secret that forks share; the salt keeps them so under PYTHONHASHSEED=0 too.
        number = hash(self._salt + source_of(host))
        return number & _COLUMN_MASK, _COLUMNS + (number >> 32 & _COLUMN_MASK)


class SourceTable:
    """The mapping. Made before the fork; every process that uses it must be a fork of its maker.

    Owns the memory; `close` gives it back.
    """

    def __init__(self, mapping: mmap.mmap, *, room: int, salt: str) -> None:
        self._mapping = mapping
        self._cells = memoryview(mapping).cast("B").cast("I")
        self._room = room  # and so many cells at the beginning: whether the slot counts, as its worker says itself
        self._salt = salt

    @classmethod
    def create(cls, *, room: int, seed: int) -> Self:
        """Map an empty table.

        Args:
            room: slots that there may be, at least 1; memory is taken by those that count.
            seed: secret from clients, who could otherwise choose addresses that fill a victim's cells.
        """
        if room < 1:
            raise ValueError(f"a table must have room for at least 1 worker; found {room}")
        mapping = mmap.mmap(-1, (room + room * _BLOCK) * _CELL)  # shared and anonymous (mmap(2))
        return cls(mapping, room=room, salt=f"{seed:x} ")

    def of(self, slot: int, *, workers: int, limit: int) -> SourceCounts:
        """Give the view of the worker in `slot`, for that worker alone; what it counted before goes on counting.

        Args:
            workers: how many there are. Those of higher slots that still count are heeded, too.
            limit: live sessions of one source, at least 1.
        """
        self._check(slot)
        if limit < 1:
            raise ValueError(f"a limit must be at least 1; found {limit}")
        self._cells[slot] = 1
        counting = max(workers, *(other + 1 for other in range(self._room) if self._cells[other]))
        own, end = self._start(slot), self._start(counting)
        return SourceCounts(self._cells, start=self._start(0), own=own, end=end, limit=limit, salt=self._salt)

    def clear(self, slot: int) -> None:
        """Forget the sessions of the worker in `slot`. For the supervisor, after that worker died."""
        self._check(slot)
        if self._cells[slot]:
            self._cells[self._start(slot) : self._start(slot + 1)] = memoryview(bytes(_BLOCK * _CELL)).cast("I")
            self._cells[slot] = 0

    def close(self) -> None:
        """Unmap. A view used afterwards raises ValueError."""
        self._cells.release()
        self._mapping.close()

    def _start(self, slot: int) -> int:
        return self._room + slot * _BLOCK

    def _check(self, slot: int) -> None:
        if not 0 <= slot < self._room:
            raise IndexError(f"slot must be from 0 to {self._room - 1}; found {slot}")

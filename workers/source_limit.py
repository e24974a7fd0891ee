"""How many live sessions each client address has, over all workers and without a lock.

A count-min sketch in memory that the supervisor maps before it forks: each source has one cell per worker in each of
two rows, found by a hash; a worker writes only its own cells and reads all. A cell may be shared with other sources,
so a count can read high, never low. Pure but for the mapping: no socket, no time.

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

    __slots__ = ("_cells", "_limit", "_salt", "_slot", "_workers")

    def __init__(self, cells: memoryview, slot: int, *, workers: int, limit: int, salt: str) -> None:
        self._cells = cells
        self._slot = slot
        self._workers = workers
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
        self._cells[first + self._slot] += 1
        self._cells[second + self._slot] += 1
        return True

    def release(self, host: str) -> None:
        """Count one session less, which this worker had admitted.

        Raises:
            ValueError: this worker counts no session of that source; nothing changes.
        """
        first, second = (place + self._slot for place in self._places(host))
        cells = self._cells
        if not cells[first] or not cells[second]:
            raise ValueError(f"a released source must have been admitted; found none of {source_of(host)}")
        cells[first] -= 1
        cells[second] -= 1

    def _is_full(self, first: int, second: int) -> bool:
        cells, workers, limit = self._cells, self._workers, self._limit
        return sum(cells[first : first + workers]) >= limit and sum(cells[second : second + workers]) >= limit

    def _places(self, host: str) -> tuple[int, int]:
        """Give where each row keeps the cells of a source, one per worker and side by side."""
        # str hashes are SipHash with a secret that forks share; the salt keeps them so under PYTHONHASHSEED=0 too.
        number = hash(self._salt + source_of(host))
        workers = self._workers
        return (number & _COLUMN_MASK) * workers, (_COLUMNS + (number >> 32 & _COLUMN_MASK)) * workers


class SourceTable:
    """The mapping. Made before the fork; every process that uses it must be a fork of its maker.

    Owns the memory; `close` gives it back.
    """

    def __init__(self, mapping: mmap.mmap, *, workers: int, limit: int, salt: str) -> None:
        self._mapping = mapping
        self._cells = memoryview(mapping).cast("B").cast("I")
        self._workers = workers
        self._limit = limit
        self._salt = salt

    @classmethod
    def create(cls, *, workers: int, limit: int, seed: int) -> Self:
        """Map an empty table.

        Args:
            workers: slots, at least 1.
            limit: live sessions of one source, at least 1.
            seed: secret from clients, who could otherwise choose addresses that fill a victim's cells.
        """
        if workers < 1 or limit < 1:
            raise ValueError(f"workers and limit must be at least 1; found {workers} and {limit}")
        mapping = mmap.mmap(-1, _ROWS * _COLUMNS * workers * _CELL)  # shared and anonymous (mmap(2))
        return cls(mapping, workers=workers, limit=limit, salt=f"{seed:x} ")

    def of(self, slot: int) -> SourceCounts:
        """Give the view of the worker in `slot`, 0 to workers - 1, for that worker alone."""
        self._check(slot)
        return SourceCounts(self._cells, slot, workers=self._workers, limit=self._limit, salt=self._salt)

    def clear(self, slot: int) -> None:
        """Forget the sessions of the worker in `slot`. For the supervisor, after that worker died."""
        self._check(slot)
        self._cells[slot :: self._workers] = memoryview(bytes(_ROWS * _COLUMNS * _CELL)).cast("I")

    def close(self) -> None:
        """Unmap. A view used afterwards raises ValueError."""
        self._cells.release()
        self._mapping.close()

    def _check(self, slot: int) -> None:
        if not 0 <= slot < self._workers:
            raise IndexError(f"slot must be from 0 to {self._workers - 1}; found {slot}")

"""Numbers that processes of one gateway show each other: a file of 64-bit words, mapped by all of them.

Each child writes its own row and nobody else's, so no lock is needed: an aligned 8-byte store is atomic on every
64-bit Linux. The file lies in the runtime directory, so that `gateway health` can read it when the supervisor hangs.

A row outlives its process: its successor goes on counting where it stopped, which keeps totals monotonic. There may
be more room than is in use, for what a reload adds; the supervisor alone says which rows are in use, and for what.

What a row of a child consists of is said in pools.net.child_row. After these rows come those of links
(pools.net.link_board).
"""

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pools.net.child_row import (
    GAUGES,
    LISTEN_WORDS,
    ROW_WORDS,
    Cell,
    ChildState,
    Duty,
    ListenCell,
    Row,
)
from pools.net.errors import MidmileError
from pools.net.link_board import LINK_WORDS, LinkBoard

# Whoever reads or writes a scoreboard needs the words of its rows, too.
__all__ = [
    "GAUGES",
    "LISTEN_WORDS",
    "ROW_WORDS",
    "Cell",
    "ChildState",
    "Duty",
    "Layout",
    "ListenCell",
    "Row",
    "Scoreboard",
    "ScoreboardError",
]

_MAGIC: Final = 0x4D69_646D_696C_6505  # "Midmile", layout 5
_HEADER_WORDS: Final = 16
_WORD: Final = 8
_FIRST_GENERATION: Final = 1


class ScoreboardError(MidmileError):
    """A scoreboard file that is missing, or not one of ours."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How much room a scoreboard has.

    Attributes:
        workers: each has a row, in slot order; after them come one that carries totals on, the broker's and the admin
            child's, used or not.
        listeners: that each of these rows keeps numbers for.
        peers: each has a link's row, after all others.
    """

    workers: int
    listeners: int
    peers: int = 0

    @property
    def rows(self) -> int:
        """Children's rows."""
        return self.workers + 3

    @property
    def row_words(self) -> int:
        """Words of one child's row."""
        return ROW_WORDS + LISTEN_WORDS * self.listeners

    @property
    def links_start(self) -> int:
        """Word at which the links' rows begin."""
        return _HEADER_WORDS + self.rows * self.row_words

    @property
    def words(self) -> int:
        """Words of the whole file."""
        return self.links_start + LINK_WORDS * self.peers


class Scoreboard:
    """The mapped file. The supervisor creates it; children inherit the mapping over fork; others open the file.

    Owns the mapping and every row of it; `close` ends them. The file itself belongs to the supervisor.

    Attributes:
        room: how many workers, listeners and peers have a place here, used or not.
        rows: workers' first and in slot order, then the one that carries totals on, the broker's, the admin child's.
        listeners: that each row has room for.
        links: what is known of each peer.
    """

    def __init__(self, mapping: mmap.mmap, layout: Layout) -> None:
        self.room = layout
        self.rows = layout.rows
        self.listeners = layout.listeners
        self._mapping = mapping
        self._words = memoryview(mapping).cast("B").cast("Q")
        starts = range(_HEADER_WORDS, layout.links_start, layout.row_words)
        self._rows = tuple(Row(self._words[start : start + layout.row_words]) for start in starts)
        self.links = LinkBoard(self._words[layout.links_start :])

    @classmethod
    def create(
        cls,
        path: Path,
        used: Layout,
        *,
        supervisor_pid: int,
        started_ns: int,
        heartbeat_limit_ns: int = 0,
        room: Layout | None = None,
    ) -> Self:
        """Make a zeroed scoreboard at `path`, replacing what was there in one step.

        Args:
            path: in a directory that only the gateway's user may write.
            used: what is in use from the first: the first rows of each kind.
            supervisor_pid: who may be asked about it.
            started_ns: monotonic clock.
            heartbeat_limit_ns: how old a child's heartbeat may grow; 0 for no limit.
            room: what it has room for, at least `used`; no more than that where not given.
        """
        layout = room or used
        size = layout.words * _WORD
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            os.ftruncate(descriptor, size)
            mapping = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        shape = (layout.workers, layout.listeners, layout.peers)
        head = (_MAGIC, *shape, supervisor_pid, started_ns, heartbeat_limit_ns, _FIRST_GENERATION, 0, started_ns)
        struct.pack_into(f"={len(head)}Q", mapping, 0, *head)
        scoreboard = cls(mapping, layout)
        scoreboard._use(used)
        os.rename(draft, path)
        return scoreboard

    def _use(self, used: Layout) -> None:
        for row in self._rows[: used.workers]:
            row[Cell.DUTY] = Duty.SERVES
        self.links.use(range(used.peers))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map an existing scoreboard for reading.

        Raises:
            ScoreboardError: no such file (the gateway is not running), or a file of another layout.
        """
        try:
            with path.open("rb") as file:
                mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ScoreboardError(f"cannot read the scoreboard {path}: {error}") from error
        magic, *shape = struct.unpack_from("=4Q", mapping) if len(mapping) >= 4 * _WORD else (0, 0, 0, 0)
        layout = Layout(*shape)
        if magic != _MAGIC or len(mapping) != layout.words * _WORD:
            mapping.close()
            raise ScoreboardError(f"{path} is not a scoreboard of this version")
        return cls(mapping, layout)

    @property
    def supervisor_pid(self) -> int:
        """Process id of the supervisor that made it."""
        value: int = self._words[4]
        return value

    @property
    def started_ns(self) -> int:
        """When the supervisor made it, monotonic clock."""
        value: int = self._words[5]
        return value

    @property
    def heartbeat_limit_ns(self) -> int:
        """How old a child's heartbeat may grow before the supervisor replaces it; 0 for no limit."""
        value: int = self._words[6]
        return value

    @property
    def config_generation(self) -> int:
        """Number of the configuration that holds: 1 at the start, one more after each reload that took effect."""
        value: int = self._words[7]
        return value

    @property
    def reload_failed(self) -> int:
        """1 where the last reload changed nothing because it could not be done, else 0."""
        value: int = self._words[8]
        return value

    @property
    def reloaded_ns(self) -> int:
        """When the configuration that holds was taken, at the start or by a reload; monotonic clock."""
        value: int = self._words[9]
        return value

    def note_reload(self, now_ns: int, *, heartbeat_limit_ns: int) -> None:
        """Write down that another configuration holds from `now_ns` on. For the supervisor."""
        self._words[6] = heartbeat_limit_ns
        self._words[7] += 1
        self._words[8] = 0
        self._words[9] = now_ns

    def note_reload_failed(self) -> None:
        """Write down that a reload could not be done. For the supervisor."""
        self._words[8] = 1

    def row(self, index: int) -> Row:
        """Give the row of child `index`, 0 to rows - 1: the same one each time, valid until `close`."""
        if not 0 <= index < self.rows:
            raise IndexError(f"row must be from 0 to {self.rows - 1}; found {index}")
        return self._rows[index]

    @property
    def workers(self) -> tuple[Row, ...]:
        """The rows of workers that are in use, in slot order, those of workers that retire among them."""
        return tuple(self._rows[slot] for slot in self.slots)

    @property
    def slots(self) -> tuple[int, ...]:
        """The numbers of these rows; there may be gaps after a reload."""
        return tuple(slot for slot, row in enumerate(self._rows[:-3]) if row[Cell.DUTY])

    @property
    def carried(self) -> Row:
        """The row of nobody: totals that an earlier supervisor's children counted. The supervisor writes it."""
        return self._rows[-3]

    @property
    def broker(self) -> Row:
        """The broker's row; zero where the gateway has no peers."""
        return self._rows[-2]

    @property
    def admin(self) -> Row:
        """The admin child's row; zero where it is off."""
        return self._rows[-1]

    def close(self) -> None:
        """Unmap. A row used afterwards raises ValueError instead of touching what is no longer there."""
        for row in self._rows:
            row.words.release()
        self.links.close()
        self._words.release()
        self._mapping.close()

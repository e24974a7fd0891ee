"""Numbers that processes of one gateway show each other: a file of 64-bit words, mapped by all of them.

Each child writes its own row and nobody else's, so no lock is needed: an aligned 8-byte store is atomic on every
64-bit Linux. The file lies in the runtime directory, so that `gateway health` can read it when the supervisor hangs.

A row outlives its process: its successor goes on counting where it stopped, which keeps totals monotonic. There may
be more room than is in use, for what a reload adds; the supervisor alone says which rows are in use, and for what.

After the rows of children come those of links (pools.net.link_board).
"""

import mmap
import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, Self

from pools.net.errors import MidmileError
from pools.net.link_board import LINK_WORDS, LinkBoard

_MAGIC: Final = 0x4D69_646D_696C_6505  # "Midmile", layout 5
_HEADER_WORDS: Final = 16
_WORD: Final = 8
_FIRST_GENERATION: Final = 1
_LATELY_NS: Final = 10 * 10**9


class Cell(IntEnum):
    """Columns of a child's row. Gauges say what is, totals only grow; the supervisor clears gauges of the dead.

    Attributes:
        RESTARTED_NS: when the child died that RESTARTS last counted, monotonic clock; 0 before the first. The
            supervisor writes both, while nobody lives here.
        DUTY: what the row is for now, the number of a `Duty`; the supervisor alone writes it.
        LOOP_LAG_US: how late the loop was at its last heartbeat.
        LOOP_LAG_LATELY_US: how late it has been lately, as `Row.beat` smooths it.
        LEGS_INBOUND: legs of peers that this worker accepted, authenticated and holds.
        LEGS_ACCEPTED: legs of peers that it ever held.
        OPENS: sessions that peers asked for, refused ones too.
        OPENS_REFUSED: of those, refused by this gateway's own rules.
        OPEN_RETRIES: sessions begun again on another leg or path, after one failed or was refused.
        LEGS_STALE: legs found dead when a session was opened on them.
        STRANGERS: connections to the overlay that did not prove themselves, or not in time.
        PEER_PROTOCOL_ERRORS: legs closed because the peer broke the protocol after it had proved itself.
        NOT_CAPTURED: connections made straight to a listener for those that the firewall leads here.
        SYNS_SEEN: packets that the capture of SYNs brought.
        SYNS_LOST: of those that its filter let pass, dropped by the kernel because nobody read them in time.
        EARLY_PENDING: sessions begun at a SYN whose client was not accepted yet, and cancelled ones that still end.
        EARLY_STARTED: sessions begun at a SYN; joined, cancelled and failed ones among them, and those still pending.
        EARLY_JOINED: of those, accepted.
        EARLY_CANCELLED: of those, never accepted, or not in time.
        EARLY_FAILED: of those, without a leg before they were accepted: they began anew then.
        EARLY_SKIPPED: SYNs at which nothing was begun because of a limit.
        EARLY_PAUSES: times that no SYN was looked at for a while, because they were too many.
        PRECONNECT_IDLE: connections kept ready to destinations.
        PRECONNECT_HITS: sessions that found one.
        PRECONNECT_MISSES: sessions to such a destination that found none.
        PRECONNECT_DIALLED: of them, made.
        PRECONNECT_FAILED: attempts that made none.
        PRECONNECT_CLOSED: closed unused, by the destination or because they had been kept long enough.
    """

    # who
    PID = 0
    CORE = 1
    STATE = 2
    BOOTED_NS = 3
    HEARTBEAT_NS = 4
    DUTY = 5
    RESTARTED_NS = 6
    # gauges
    SESSIONS = 8
    SESSIONS_LIMIT = 9
    LOOP_LAG_US = 10
    GREENLETS = 11
    GREENLETS_IDLE = 12
    PIPES = 13
    ACCEPT_PAUSED = 14
    SESSIONS_PER_SECOND = 15
    CONNECTING = 16
    LEGS_INBOUND = 17
    EARLY_PENDING = 18
    LOOP_LAG_LATELY_US = 21
    PRECONNECT_IDLE = 22
    # totals
    SESSIONS_TOTAL = 24
    FORWARD_BYTES = 25
    BACKWARD_BYTES = 26
    SPLICED_BYTES = 27
    ACCEPT_ERRORS = 28
    ACCEPT_PAUSES = 29
    SOURCE_REFUSED = 30
    BAD_REQUESTS = 31
    AUTH_FAILED = 32
    CONNECT_REFUSED = 33
    CONNECT_TIMED_OUT = 34
    CONNECT_UNREACHABLE = 35
    CONNECT_FAILED = 36
    RESOLVE_FAILED = 37
    HANDSHAKE_TIMED_OUT = 38
    IDLE_TIMED_OUT = 39
    HALF_CLOSED_TIMED_OUT = 40
    RESET_BY_INBOUND = 41
    RESET_BY_OUTBOUND = 42
    NULL_SESSIONS = 43
    LOG_LINES_DROPPED = 44
    INTERNAL_ERRORS = 45
    RESTARTS = 46
    RETRIES = 47
    COPIED_BYTES = 48
    LOOKUPS_FAILED = 49
    LEGS_ACCEPTED = 50
    OPENS = 51
    OPENS_REFUSED = 52
    OPEN_RETRIES = 53
    LEGS_STALE = 54
    STRANGERS = 55
    PEER_PROTOCOL_ERRORS = 56
    SYNS_SEEN = 57
    SYNS_LOST = 58
    EARLY_STARTED = 59
    EARLY_JOINED = 60
    EARLY_CANCELLED = 61
    EARLY_FAILED = 62
    EARLY_SKIPPED = 63
    EARLY_PAUSES = 64
    NOT_CAPTURED = 72
    PRECONNECT_HITS = 74
    PRECONNECT_MISSES = 75
    PRECONNECT_DIALLED = 76
    PRECONNECT_FAILED = 77
    PRECONNECT_CLOSED = 78


ROW_WORDS: Final = 80
GAUGES: Final = range(Cell.SESSIONS, Cell.SESSIONS_TOTAL)


class ListenCell(IntEnum):
    """Columns that a worker keeps per listener, after its own row."""

    SESSIONS = 0
    SESSIONS_TOTAL = 1
    FORWARD_BYTES = 2
    BACKWARD_BYTES = 3
    FAILED = 4


LISTEN_WORDS: Final = 8


class ChildState(IntEnum):
    """What a child says of itself in Cell.STATE."""

    ABSENT = 0
    BOOTING = 1
    READY = 2
    DRAINING = 3


class Duty(IntEnum):
    """What a worker's row is for, in Cell.DUTY.

    Attributes:
        NONE: there is no such worker, or no more.
        SERVES: a worker is wanted there.
        RETIRES: the worker there sees its last sessions out; it gets no successor.
    """

    NONE = 0
    SERVES = 1
    RETIRES = 2


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


class Row:
    """One child's words. Writing is for that child alone; anyone may read.

    Attributes:
        words: the row's part of the mapping, ROW_WORDS + LISTEN_WORDS × listeners long. A loop that counts with
            every event may write here, `words[cell] += amount` being 40 % of the cost of `add` (CPython 3.11:
            110 ns with the cell in a local name, 280 ns for `row.add(Cell.…)`).
    """

    __slots__ = ("words",)

    def __init__(self, words: memoryview) -> None:
        self.words = words

    def __getitem__(self, cell: Cell) -> int:
        value: int = self.words[cell]
        return value

    def __setitem__(self, cell: Cell, value: int) -> None:
        self.words[cell] = value

    def beat(self, now_ns: int, *, due_ns: int) -> None:
        """Say that the owner's loop turns, and how late it is, now and lately.

        Lately is a mean that forgets within some ten seconds, however many beats fall into them: a single loop that is
        late for an instant is nothing to act on, and who looks now and then would miss it or see nothing else.

        Args:
            now_ns: monotonic clock.
            due_ns: when this beat was to be.
        """
        words = self.words
        late_us = max(0, now_ns - due_ns) // 1000
        since_ns = max(0, now_ns - words[Cell.HEARTBEAT_NS])
        step_us = late_us - words[Cell.LOOP_LAG_LATELY_US]
        words[Cell.HEARTBEAT_NS] = now_ns
        words[Cell.LOOP_LAG_US] = late_us
        words[Cell.LOOP_LAG_LATELY_US] += step_us * since_ns // (since_ns + _LATELY_NS)

    def add(self, cell: Cell, amount: int = 1) -> None:
        """Add to a total. Only the row's owner may."""
        self.words[cell] += amount

    def listener(self, index: int, cell: ListenCell) -> int:
        """Give the number kept for the listener at `index` in the configuration's order."""
        value: int = self.words[ROW_WORDS + index * LISTEN_WORDS + cell]
        return value

    def set_listener(self, index: int, cell: ListenCell, value: int) -> None:
        """Set the number kept for the listener at `index`. Only the row's owner may."""
        self.words[ROW_WORDS + index * LISTEN_WORDS + cell] = value

    def clear_gauges(self) -> None:
        """Say that nobody lives here, keeping totals and duty. For the supervisor, after the owner died."""
        for cell in (Cell.PID, Cell.STATE, *GAUGES):
            self.words[cell] = 0
        for start in range(ROW_WORDS, len(self.words), LISTEN_WORDS):
            self.words[start + ListenCell.SESSIONS] = 0


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

"""One child's row of the scoreboard: its columns, what their numbers mean, and how they are written.

A row is words of a memory that somebody else maps; the file and who may see it are pools.net.scoreboard's.
"""

from enum import IntEnum
from typing import Final

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

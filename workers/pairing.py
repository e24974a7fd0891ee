"""Which sessions were begun at a SYN and wait for their client to be accepted; and whether one more may be begun.

Pure: no socket, no clock. What is begun is of no interest here, only how much of it there is. Whoever can send a
packet can send a SYN, from any address: so all of it is bounded before anything is done for one.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Generic, TypeAlias, TypeVar

from pools.net.rate_limit import TokenBucket
from workers.source_limit import source_of

Started = TypeVar("Started")

Key: TypeAlias = tuple[str, int, str, int]
"""A connection to be: the client's host and port, then those it wants to reach. IPv4 is written as such."""

_PAUSE_MIN_S: Final = 1.0
_PAUSE_MAX_S: Final = 30.0


class Verdict(Enum):
    """What may be done for a SYN.

    Attributes:
        BEGIN: begin a session.
        KNOWN: nothing; it repeats one for which a session waits.
        SOURCE_FULL: nothing; so many of its source wait already.
        TOO_MANY: so many wait that nothing may be begun for anybody.
        TOO_FAST: so many come that none may be looked at.
    """

    BEGIN = auto()
    KNOWN = auto()
    SOURCE_FULL = auto()
    TOO_MANY = auto()
    TOO_FAST = auto()


class Pairing(Generic[Started]):
    """What waits for its client, by the connection's two ends.

    Args:
        pending: how many may wait.
        per_source: how many of one source may; 0 for no limit.
        rate: SYNs a second that are judged, repeated ones too; 0 for no limit.
        lifetime_s: how long one waits.
        now_s: monotonic clock, as for all other times.
    """

    def __init__(self, *, pending: int, per_source: int, rate: int, lifetime_s: float, now_s: float) -> None:
        self._pending = pending
        self._per_source = per_source
        self._bucket = TokenBucket(rate, now_s=now_s) if rate else None
        self._lifetime_s = lifetime_s
        self._waiting: dict[Key, tuple[Started, float]] = {}  # in the order in which they expire
        self._of_source: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def judge(self, key: Key, *, besides: int, now_s: float) -> Verdict:
        """Tell what may be done for a SYN; nothing changes but the count of SYNs.

        Args:
            besides: how many count towards the limit that wait no more.
        """
        if self._bucket is not None and not self._bucket.take(now_s):
            return Verdict.TOO_FAST
        if key in self._waiting:
            return Verdict.KNOWN
        if len(self._waiting) + besides >= self._pending:
            return Verdict.TOO_MANY
        if self._per_source and self._of_source.get(source_of(key[0]), 0) >= self._per_source:
            return Verdict.SOURCE_FULL
        return Verdict.BEGIN

    def add(self, key: Key, started: Started, *, now_s: float) -> None:
        """Have `started` wait; `judge` has just said that it may be begun."""
        assert key not in self._waiting
        self._waiting[key] = started, now_s + self._lifetime_s
        source = source_of(key[0])
        self._of_source[source] = self._of_source.get(source, 0) + 1

    def take(self, key: Key) -> Started | None:
        """Give what waits for a connection, for good; None where nothing does."""
        found = self._waiting.pop(key, None)
        if found is None:
            return None
        source = source_of(key[0])
        self._of_source[source] -= 1
        if not self._of_source[source]:
            del self._of_source[source]
        return found[0]

    def expired(self, now_s: float) -> list[Started]:
        """Give out what has waited for too long."""
        keys: list[Key] = []
        for key, (_, until_s) in self._waiting.items():
            if until_s > now_s:
                break
            keys.append(key)
        return self._give_out(keys)

    def weed(self, is_of_use: Callable[[Started], bool]) -> list[Started]:
        """Give out what is of no use any more."""
        return self._give_out([key for key, (started, _) in self._waiting.items() if not is_of_use(started)])

    def clear(self) -> list[Started]:
        """Give out all that waits."""
        return self._give_out(list(self._waiting))

    def _give_out(self, keys: list[Key]) -> list[Started]:
        return [started for key in keys if (started := self.take(key)) is not None]


class Pauses:
    """How long to look at no SYN when there are too many: twice as long as before, if that did not help for as long.

    Attributes:
        until_s: when the pause that began last is over.
    """

    __slots__ = ("_length_s", "until_s")

    def __init__(self) -> None:
        self._length_s = 0.0
        self.until_s = float("-inf")

    def begin(self, now_s: float) -> float:
        """Begin a pause, none being under way, and give its length in seconds."""
        is_as_before = now_s < self.until_s + self._length_s
        self._length_s = min(2 * self._length_s, _PAUSE_MAX_S) if is_as_before else _PAUSE_MIN_S
        self.until_s = now_s + self._length_s
        return self._length_s

"""The supervisors of before the last upgrades: the one that hands over, and those whose last sessions go on."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.upgrading import handover
from gateway.upgrading.handover_channel import HandoverChannel

RETIRING_LIMIT: Final = 4
"""Supervisors that may retire at a time: each holds memory, and legs of peers, until its last session ends."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Predecessor:
    """One of them, as it last told.

    Attributes:
        channel: to it; owned.
        since_s: when it began to retire, monotonic clock.
        sessions: that still live there.
    """

    channel: HandoverChannel
    since_s: float
    sessions: int = 0

    @property
    def pid(self) -> int:
        """Its process."""
        return self.channel.peer_pid


class Predecessors:
    """All that are still there, the oldest first.

    Args:
        carry: called with each row of totals that one tells.
        on_change: called when one has told how many sessions are left, or has ended.
    """

    def __init__(self, *, carry: Callable[[handover.TotalsRow], None], on_change: Callable[[], None]) -> None:
        self.retiring: list[Predecessor] = []
        self._carry = carry
        self._on_change = on_change

    @property
    def sessions(self) -> int:
        """Sessions that are left in all of them."""
        return sum(each.sessions for each in self.retiring)

    def add(self, channel: HandoverChannel, *, since_s: float) -> None:
        """Hear one that retires since `since_s`; its channel is owned here."""
        one = Predecessor(channel, since_s)
        channel.on_message = partial(self._hear, one)
        channel.on_end = partial(self._ended, one)
        self.retiring.append(one)

    def end(self, limit_s: float) -> None:
        """Have all of them end within `limit_s` seconds, 0 being at once."""
        for each in self.retiring:
            each.channel.say(handover.End(limit_s=float(limit_s)))

    def forget(self) -> None:
        """Leave them to a new supervisor, which has our ends of their channels, too."""
        for each in self.retiring:
            each.channel.close()
        self.retiring.clear()

    def leave(self) -> None:
        """Close, in a forked child, our ends of their channels."""
        for each in self.retiring:
            each.channel.leave()

    def _hear(self, one: Predecessor, message: handover.Message) -> None:
        match message:
            case handover.Totals(rows=rows):
                for row in rows:
                    self._carry(row)
            case handover.Left(sessions=sessions):
                one.sessions = sessions
                self._on_change()
            case _:
                _log.error("the supervisor before, pid %d, says %s out of turn", one.pid, message.word)

    def _ended(self, one: Predecessor) -> None:
        self.retiring.remove(one)
        self._on_change()
        _log.info("the supervisor before, pid %d, has ended; sessions left %d", one.pid, one.sessions)

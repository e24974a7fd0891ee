"""How a new supervisor comes into its own: when its children begin, and when the gateway is its own.

Its children are held until all of them are able and pools have been filled, as far as their peers are there: until
then the old supervisor's accept alone, so that a start that fails costs nobody anything.

An old supervisor that ends without a word leaves the gateway to this one, which has every socket: nobody else has. An
end of the channel alone is no such word, for one that has not understood us closes it, and goes on.
"""

import logging
import selectors
import socket
from enum import StrEnum
from typing import Final, Protocol

from gateway.exit_codes import ExitCode
from gateway.peer_process import has_ended
from gateway.upgrading import handover
from gateway.upgrading.handover_channel import HandoverChannel

FILL_S: Final = 10.0
"""How long the children of a new supervisor wait for pools to be filled, once they are able."""

ENDED_S: Final = 5.0
"""From the end of the channel, within which an old supervisor that was killed has ended."""

_log = logging.getLogger(__name__)


class Stage(StrEnum):
    """How far a takeover is. It only goes forward.

    HELD: children boot or wait. BEGUN: workers were told to accept. OFFERED: all of them do, and the old supervisor
    knows. DONE: the gateway is this supervisor's.
    """

    HELD = "held"
    BEGUN = "begun"
    OFFERED = "offered"
    DONE = "done"


class Successor(Protocol):
    """The new gateway as a whole, as far as a takeover concerns it."""

    def is_able(self) -> bool:
        """Whether every child could begin."""

    def is_filled(self) -> bool:
        """Whether each peer that is there had its pool filled once."""

    def begin(self) -> None:
        """Have the workers accept."""

    def accepts(self) -> bool:
        """Whether all of them do."""

    def ready(self) -> handover.Ready:
        """Give what the old supervisor must know of what is taken over. Do not end by yourself from here on."""

    def carry(self, row: handover.TotalsRow) -> None:
        """Go on counting from what the old supervisor's children have counted."""

    def come_into_own(self, old: HandoverChannel) -> None:
        """Be the gateway, for everybody; the old supervisor retires, and `old` leads to it."""

    def settle_in(self) -> None:
        """Do what may take a while, once the gateway is known to be this one."""

    def fail(self, why: str) -> None:
        """End without having been the gateway."""


class Takeover:
    """One takeover.

    Args:
        channel: to the old supervisor; owned until it is done.
        selector: borrowed.
        successor: borrowed.
    """

    def __init__(self, channel: socket.socket, selector: selectors.BaseSelector, successor: Successor) -> None:
        self.stage = Stage.HELD
        self._able_s: float | None = None
        self._cut_s: float | None = None
        self._is_alone = False
        self._successor = successor
        self._channel = HandoverChannel(channel, selector, on_message=self._hear)

    def turn(self, now_s: float) -> None:
        """Go on where that is possible; not once this supervisor ends."""
        if self.stage is Stage.DONE:
            return
        if self._channel.fileno() < 0 and not self._is_alone:
            self._look_for_old(now_s)
        elif self.stage is Stage.HELD and self._may_begin(now_s):
            self.stage = Stage.BEGUN
            self._successor.begin()
        elif self.stage is Stage.BEGUN and self._successor.accepts():
            self.stage = Stage.OFFERED
            self._channel.say(self._successor.ready())
        elif self.stage is Stage.OFFERED and self._is_alone:
            self._come_into_own()

    def fail(self, code: ExitCode, why: str) -> None:
        """Tell the old supervisor that it has to go on, unless it has gone by now."""
        if self.stage is not Stage.DONE:
            self._channel.say(handover.failed(code, why))

    def leave(self) -> None:
        """Close, in a forked child, what is the supervisor's."""
        self._channel.leave()

    def _may_begin(self, now_s: float) -> bool:
        if self._able_s is None and self._successor.is_able():
            self._able_s = now_s
        if self._able_s is None:
            return False
        return self._is_alone or self._successor.is_filled() or now_s - self._able_s >= FILL_S

    def _look_for_old(self, now_s: float) -> None:
        """Be sure that the old supervisor has ended before the gateway is ours."""
        self._cut_s = now_s if self._cut_s is None else self._cut_s
        self._is_alone = has_ended(self._channel.peer_pid)
        if self._is_alone:
            _log.error("the supervisor before ended without handing over, which leaves the gateway to this one")
        elif now_s - self._cut_s >= ENDED_S:
            self._successor.fail("the supervisor before speaks to this one no more, and lives")

    def _hear(self, message: handover.Message) -> None:
        match message:
            case handover.Totals(rows=rows) if self.stage is Stage.OFFERED:
                for row in rows:
                    self._successor.carry(row)
            case handover.Yours() if self.stage is Stage.OFFERED:
                self._come_into_own()
            case _:
                _log.error("the supervisor before says %s out of turn", message.word)

    def _come_into_own(self) -> None:
        self.stage = Stage.DONE
        self._successor.come_into_own(self._channel)
        self._channel.say(handover.Taken())
        self._successor.settle_in()

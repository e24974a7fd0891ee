"""One upgrade as the old supervisor sees it: it starts a new one, offers it all it holds, and waits for its word.

Nothing changes here until that word is READY. A successor that dies, says no, or says nothing in time is ended, and
nothing has happened.
"""

import logging
import os
import selectors
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.exit_codes import ExitCode
from gateway.upgrading import handover
from gateway.upgrading.estate import Estate
from gateway.upgrading.handover_channel import HandoverChannel
from gateway.upgrading.heir import Heir
from pools.net.clock import monotonic_s
from pools.net.errors import StartError
from pools.net.fd_passing import socket_pair

READY_S: Final = 60.0
"""From its start to READY: a child may take 30 s to boot, pools a while to fill (`gateway.upgrading.takeover`)."""

PARTING_S: Final = 3.0
"""How long a successor that said no may take to end by itself."""

_log = logging.getLogger(__name__)


class State(StrEnum):
    """How far an upgrade is.

    WAITING: for the successor's word. READY: it has come. ENDING: the successor has failed, but is not gone yet. TAKEN:
    the gateway is the successor's. FAILED: it is gone.
    """

    WAITING = "waiting"
    READY = "ready"
    ENDING = "ending"
    TAKEN = "taken"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Events:
    """Whom an upgrade tells.

    Attributes:
        ready: called with the successor's READY, once, if it comes; `Upgrade.give` is to follow.
        failed: called once, when the successor is gone without having been given the gateway.
        taken: called once, when the gateway that was given is the successor's for all who look for it.
        lost: called once, when the successor that was given the gateway is gone.
        end: called when the successor has the whole gateway end, with the seconds that sessions have.
    """

    ready: Callable[[handover.Ready], None]
    failed: Callable[[], None]
    taken: Callable[[], None]
    lost: Callable[[], None]
    end: Callable[[float], None]


class Upgrade:
    """The attempt, and afterwards the channel to the successor.

    Args:
        estate: owned from here on; closed once the successor has it, or is gone.
        selector: borrowed.

    Attributes:
        channel: to the successor.
        heir: the successor's process.
        exit_code: what failed: CONFIGURATION where it said that its file is wrong.
        why: the same for people; empty until it has failed.
    """

    def __init__(self, estate: Estate, selector: selectors.BaseSelector, events: Events, *, now_s: float) -> None:
        """Start the successor.

        Raises:
            StartError: there is no process to be had.
        """
        self.state = State.WAITING
        self.exit_code = ExitCode.CANNOT_START
        self.why = ""
        self._deadline_s = now_s + READY_S
        self._events = events
        self._estate = estate
        with ExitStack() as undone:
            undone.callback(estate.close)
            ours, theirs = _pair()
            self.channel = HandoverChannel(ours, selector, on_message=self._hear, on_end=self._ended)
            undone.callback(self.channel.close)
            self.heir = Heir.start(theirs, selector, environment=estate.environment, on_death=self._died)
            undone.pop_all()
        _log.info("upgrading: started a new supervisor, pid %d", self.heir.pid)
        for message, descriptors in estate.parts:
            self.channel.say(message, descriptors)
        self.channel.say(estate.offer)

    @property
    def is_open(self) -> bool:
        """Whether it may still succeed, or the successor that has failed is not gone yet."""
        return self.state in (State.WAITING, State.READY, State.ENDING)

    def turn(self, now_s: float) -> None:
        """End a successor whose time is over."""
        if self.state in (State.WAITING, State.ENDING) and now_s >= self._deadline_s:
            self.abort(f"it was not ready within {READY_S:g} s")

    def give(self) -> None:
        """Give the gateway to the successor, which is READY. There is no way back."""
        self.state = State.TAKEN
        self.channel.say(handover.Yours())

    def abort(self, why: str) -> None:
        """End the successor now, unless it has been given the gateway."""
        if self.is_open:
            self._give_up(why)
            self.heir.kill()

    def leave(self) -> None:
        """Close, in a forked child, what is the supervisor's."""
        self._estate.close()
        self.channel.leave()
        self.heir.leave()

    def _hear(self, message: handover.Message) -> None:
        match message:
            case handover.Ready() if self.state is State.WAITING and self.heir.lives:
                self.state = State.READY
                self._estate.close()
                self._events.ready(message)
            case handover.Failed(exit_code=code, why=why) if self.is_open:
                self.exit_code = ExitCode.CONFIGURATION if code == ExitCode.CONFIGURATION else ExitCode.CANNOT_START
                self._give_up(why)
                self._deadline_s = min(self._deadline_s, monotonic_s() + PARTING_S)
            case handover.Taken() if self.state is State.TAKEN:
                self._events.taken()
            case handover.End(limit_s=limit_s) if self.state is State.TAKEN:
                self._events.end(limit_s)
            case _:
                _log.error("the new supervisor says %s out of turn", message.word)

    def _give_up(self, why: str) -> None:
        self.state = State.ENDING
        self.why = self.why or why

    def _ended(self) -> None:
        """Give nothing to one that would not hear it. One that was not ready has ended, or has a deadline."""
        if self.state is State.READY:
            self.abort("it was ready, but went away")

    def _died(self) -> None:
        self.channel.hear()  # its last word may still be unread
        if self.state is State.TAKEN:
            self._events.lost()
        elif self.is_open:
            self.state = State.FAILED
            self._estate.close()
            self.channel.close()
            self.why = self.why or self.heir.last_words or "it ended without a word"
            self._events.failed()


def _pair() -> tuple[socket.socket, socket.socket]:
    try:
        ours, theirs = socket_pair()
    except OSError as error:
        raise StartError(f"cannot make a channel to a new supervisor: {os.strerror(error.errno or 0)}") from error
    theirs.setblocking(True)
    return ours, theirs

"""The broker's lines to the workers: whose channel is whose, and what each has been told of the peers."""

import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from pools import idle_leg
from pools.broker_messages import FromBroker, FromWorker, PeerState, decode_from_worker
from pools.channel import Channel
from pools.leg import PoolLeg
from pools.net.errors import Fault, MidmileError, ProtocolError
from pools.net.readiness import Readiness
from pools.peer import PoolKey

_log = logging.getLogger(__name__)

TELL_EVERY_S: Final = 1.0
"""How often a worker hears of round-trip time and loss, which move all the time."""


class Desk(Protocol):
    """Who sees to one peer."""

    def hear(self, slot: int, message: FromWorker, legs: Sequence[PoolLeg]) -> None:
        """Do what a worker's message wants. Raises ProtocolError, with nothing changed, where it cannot be."""

    def worker_left(self, slot: int, unsent: Sequence[PoolLeg]) -> Sequence[PoolLeg]:
        """Forget a worker whose channel has ended and the legs that it had; take back those that were never sent.

        Returns:
            Of the legs that were not sent, those of other desks.
        """


@dataclass(slots=True)
class _Line:
    channel: Channel[FromWorker]
    told: dict[PoolKey, tuple[PeerState, float]] = field(default_factory=dict)  # of each pool: what, and when


class WorkerLines:
    """All channels to workers. Owns them.

    Each speaks of the pools that it has heard of from here, see `pools.broker_messages`.
    """

    def __init__(self, readiness: Readiness) -> None:
        self._desks: Mapping[PoolKey, Desk] = {}
        self._readiness = readiness
        self._lines: dict[int, _Line] = {}
        self._states: dict[PoolKey, PeerState] = {}

    def __repr__(self) -> str:
        return f"<WorkerLines {self._lines}>"

    def serve(self, desks: Mapping[PoolKey, Desk]) -> None:
        """Have these see to their pools from now on, and nobody to any other."""
        self._desks = desks
        self._states = {key: state for key, state in self._states.items() if key in desks}

    def join(self, slot: int, sock: socket.socket, *, now_s: float) -> None:
        """Take a fresh channel, owned here from now on; the slot's earlier worker is gone, and is heard out."""
        if slot in self._lines:
            self._lines[slot].channel.read_out()
        if slot in self._lines:
            self._ended(slot, None, self._lines[slot].channel.close())
        channel: Channel[FromWorker] = Channel(
            sock,
            readiness=self._readiness,
            decode=decode_from_worker,
            hear=partial(self._hear, slot),
            end=partial(self._ended, slot),
        )
        self._lines[slot] = _Line(channel)
        for state in self._states.values():
            self._tell(self._lines[slot], state, now_s)

    def send(self, slot: int, message: FromBroker, legs: Sequence[PoolLeg] = ()) -> None:
        """Send a message, and legs that are the worker's from now on; those to a worker that has gone are closed."""
        if slot in self._lines:
            self._lines[slot].channel.say(message.encode(), legs)
            return
        idle_leg.retire_all(legs)

    def announce(self, state: PeerState, *, now_s: float) -> None:
        """Tell all workers of a peer: at once what they act on, now and then what only moves."""
        self._states[state.pool] = state
        for line in list(self._lines.values()):
            self._tell(line, state, now_s)

    def close(self) -> None:
        """End all channels."""
        while self._lines:
            idle_leg.retire_all(self._lines.popitem()[1].channel.close())

    def _tell(self, line: _Line, state: PeerState, now_s: float) -> None:
        before, told_s = line.told.get(state.pool, (None, 0.0))
        is_due = before is None or _acted_on(before) != _acted_on(state) or now_s >= told_s + TELL_EVERY_S
        if is_due and state != before and not line.channel.is_congested:  # told later, by the next announcement
            line.told[state.pool] = (state, now_s)
            line.channel.say(state.encode())

    def _hear(self, slot: int, message: FromWorker, legs: Sequence[PoolLeg]) -> None:
        if message.pool not in self._lines[slot].told:
            raise ProtocolError(
                f"expected words of a peer that it was told of from worker {slot}; found {message.peer}, edition "
                f"{message.edition}",
                fault=Fault.OURS,
            )
        if desk := self._desks.get(message.pool):
            desk.hear(slot, message, legs)
        else:  # a reload has ended it, which the worker did not know yet
            idle_leg.retire_all(legs)

    def _ended(self, slot: int, error: MidmileError | None, unsent: Sequence[PoolLeg]) -> None:
        if error is not None:
            _log.error("the channel to worker %d has ended: %s", slot, error)
        self._lines.pop(slot, None)
        for desk in self._desks.values():
            unsent = desk.worker_left(slot, unsent)
        idle_leg.retire_all(unsent)


def _acted_on(state: PeerState) -> tuple[bool, bool, int]:
    return state.is_up, state.is_crowded, state.rounds

"""All slots together, wired to the event loop: who is forked, heard, buried, watched and forked again.

What a death or a full house means for the gateway is told to the supervisor, which decides.
"""

import itertools
import logging
import selectors
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from gateway import channels
from gateway.child import Kind, Role
from gateway.slot import Death, Slot
from pools.ledger import ORIGINS
from pools.net.clock import monotonic_s
from pools.net.errors import ChildError
from pools.net.orders import Order, OrderMessage
from pools.net.scoreboard import Cell, Duty
from workers.settings import LogFormat

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Events:
    """Whom the crew tells.

    Attributes:
        all_ready: every child has said READY. May come again after a restart.
        died: a child is gone, its slot empty; whoever hears it may call `Slot.schedule`.
    """

    all_ready: Callable[[], None]
    died: Callable[[Slot, Death], None]


class Crew:
    """The children of one gateway.

    Args:
        selector: each key's data is called without arguments when its descriptor is ready. Borrowed.
        leave: closes, in a forked child, whatever the gateway holds and the role does not, the crew's own excepted.
    """

    def __init__(
        self,
        roles: Sequence[Role],
        *,
        selector: selectors.BaseSelector,
        leave: Callable[[Role], None],
        log_format: LogFormat,
    ) -> None:
        self.slots = [Slot(role) for role in roles]
        self._selector = selector
        self._leave_more = leave
        self._log_format = log_format
        self._events: Events | None = None
        self._births = itertools.count()

    def start(self, events: Events) -> None:
        """Fork every child.

        Raises:
            ChildError: no process or descriptor left; those already forked live on.
        """
        self._events = events
        for slot in self.slots:
            self._fork(slot)

    def add(self, role: Role) -> None:
        """Make another slot, and fork its child; where that cannot be done now, it is tried again."""
        slot = Slot(role)
        self.slots.append(slot)
        self._restart(slot)

    def enlist(self) -> None:
        """Count workers that were added among those that serve: nobody misses them before they are ready."""
        for slot in self.session_slots():
            if not slot.is_leaving:
                _note_duty(slot, Duty.SERVES)

    def relieve(self, slot: Slot, role: Role) -> None:
        """Have a child that lives by another role follow the one there, which is told to stop."""
        slot.role = role
        if slot.child is None:
            slot.restart_at_s = monotonic_s()
            return
        slot.is_relieved = True
        if not slot.tell(OrderMessage(Order.STOP)):
            slot.kill(signal.SIGKILL)

    def retire(self, slot: Slot, message: OrderMessage) -> None:
        """Give the last order to a child that nobody follows. The slot is gone with it."""
        slot.is_leaving = True
        _note_duty(slot, Duty.RETIRES)
        self.tell(message, [slot])
        if slot.child is None:
            self._remove(slot)

    def broker_slot(self) -> Slot | None:
        """Give the broker's slot; None where there is no broker."""
        return self.slot_of(Kind.BROKER)

    def slot_of(self, kind: Kind) -> Slot | None:
        """Give the slot of a kind of which there is one at most, unless it is about to go."""
        return next((slot for slot in self.slots if slot.role.kind is kind and not slot.is_leaving), None)

    def session_slots(self) -> list[Slot]:
        """Give the slots whose children carry sessions, those that nobody will follow among them."""
        return [slot for slot in self.slots if slot.role.carries_sessions]

    def living(self) -> Iterator[Slot]:
        """Give the slots that hold a child."""
        return (slot for slot in self.slots if slot.child is not None)

    def sessions(self) -> int:
        """Count live sessions, as far as the children have told."""
        return sum(slot.role.row[Cell.SESSIONS] for slot in self.session_slots())

    def tell(self, message: OrderMessage, slots: Sequence[Slot]) -> None:
        """Give an order to all of `slots`, and start nobody there any more."""
        for slot in slots:
            slot.restart_at_s = None
            slot.is_relieved = False
            if slot.child is not None:
                slot.tell(message)

    def begin(self, slots: Sequence[Slot]) -> None:
        """Have those of `slots` begin that are held."""
        for slot in slots:
            if slot.is_held:
                slot.tell(OrderMessage(Order.BEGIN))

    def kill(self) -> None:
        """End every child at once."""
        for slot in self.living():
            slot.kill(signal.SIGKILL)

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until the next restart, negative when late; None for none."""
        return min((slot.restart_at_s - now_s for slot in self.slots if slot.restart_at_s is not None), default=None)

    def turn(self, now_s: float, *, limit_s: float, watched_since_s: float) -> None:
        """End children that hang and start those that are due."""
        for slot in list(self.slots):
            slot.watch(now_s, limit_s=limit_s, watched_since_s=watched_since_s)
            if slot.restart_at_s is not None and slot.restart_at_s <= now_s:
                self._restart(slot)

    def _fork(self, slot: Slot) -> None:
        origin = next(self._births) % ORIGINS
        child = slot.fork(origin=origin, leave=self._leave, log_format=self._log_format, now_s=monotonic_s())
        self._selector.register(child.pidfd, selectors.EVENT_READ, partial(self._on_death, slot))
        self._selector.register(child.channel, selectors.EVENT_READ, partial(self._on_report, slot))
        channels.connect(slot, workers=self.session_slots(), broker=self.broker_slot())

    def _leave(self, role: Role) -> None:
        """Close, in a child, what the crew holds. The epoll is shared: unregistering would reach into the parent's."""
        for slot in self.living():
            if slot.child is not None:
                slot.child.close()
        self._leave_more(role)

    def _on_report(self, slot: Slot) -> None:
        if slot.child is None:
            return
        if not slot.hear(monotonic_s()):
            self._forget(slot.child.channel)  # it will say no more; its death is told by the pidfd
        if self._events is not None and all(slot.is_ready for slot in self.slots):
            self._events.all_ready()

    def _on_death(self, slot: Slot) -> None:
        if slot.child is None:
            return
        self._on_report(slot)  # its last words may still be unread
        self._forget(slot.child.channel)
        self._forget(slot.child.pidfd)
        death = slot.bury(monotonic_s())
        if slot.is_leaving:
            self._remove(slot)
            _log.log(logging.WARNING if death.exit_code else logging.INFO, "%s, %s", slot.role.name, death)
        elif slot.is_relieved:
            slot.is_relieved = False
            self._restart(slot)
        elif self._events is not None:
            self._events.died(slot, death)

    def _remove(self, slot: Slot) -> None:
        self.slots.remove(slot)
        _note_duty(slot, Duty.NONE)

    def _forget(self, watched: int | socket.socket) -> None:
        with suppress(KeyError):  # end of file on a channel comes before the death or after it
            self._selector.unregister(watched)

    def _restart(self, slot: Slot) -> None:
        try:
            self._fork(slot)
        except ChildError as error:
            slot.back_off = slot.back_off.after_death(ready_s=0.0)
            _log.error("%s; next try in %.1f s", error, slot.schedule(monotonic_s()))


def _note_duty(slot: Slot, duty: Duty) -> None:
    if slot.role.carries_sessions:
        slot.role.row[Cell.DUTY] = duty

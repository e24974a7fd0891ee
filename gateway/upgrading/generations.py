"""This gateway's supervisor between those before and after it: what it takes over, what it waits for, what it hands on.

How an upgrade goes is told in `succession` for the old supervisor and in `takeover` for the new one.
"""

import logging
import math
import selectors
from typing import Protocol

from gateway.arrangement import Arrangement
from gateway.child import Kind
from gateway.control import ControlServer, Later, Reply
from gateway.exit_codes import ExitCode
from gateway.link_status import read_links
from gateway.runtime_dir import RuntimeDir
from gateway.slot import Slot
from gateway.sockets.holdings import Holdings
from gateway.sockets.inherited import GroupKey, key_of
from gateway.sockets.letting_go import LettingGo
from gateway.supervisor import Supervisor
from gateway.systemd import Notifier
from gateway.upgrading import handover
from gateway.upgrading.carried_totals import Places
from gateway.upgrading.estate import Belongings
from gateway.upgrading.handover_channel import HandoverChannel
from gateway.upgrading.inheritance import Inheritance
from gateway.upgrading.predecessors import Predecessor, Predecessors
from gateway.upgrading.succession import Succession
from gateway.upgrading.takeover import Stage, Takeover
from pools.link_health import LinkState
from pools.net.clock import monotonic_ns, monotonic_s
from pools.net.errors import StartError
from pools.net.scoreboard import Cell, Scoreboard

_log = logging.getLogger(__name__)


class House(Protocol):
    """The gateway's parts, which stay its own."""

    now: Arrangement
    holdings: Holdings
    control: ControlServer
    runtime: RuntimeDir
    notifier: Notifier
    scoreboard: Scoreboard
    selector: selectors.DefaultSelector
    supervisor: Supervisor

    def begin_routes(self) -> None:
        """Have routes to peers be as this gateway wants them."""

    def hand_over_routes(self) -> None:
        """Leave them to a new supervisor."""

    @property
    def is_reloading(self) -> bool:
        """Whether a reload is under way."""


class Generations:
    """The supervisors before and after this one.

    Args:
        house: borrowed, and complete before the event loop turns.
        inheritance: what the supervisor before hands over; None at a first start.
    """

    def __init__(self, house: House, inheritance: Inheritance | None) -> None:
        self.selector = house.selector
        self._house = house
        self._inheritance = inheritance
        self._unused = _unused(inheritance, house.holdings) if inheritance else []
        self._predecessors = Predecessors(carry=self.carry, on_change=self._show_sessions)
        self._succession = Succession(self)
        self._takeover = Takeover(inheritance.channel, house.selector, self) if inheritance else None
        self._letting_go: LettingGo | None = None

    # What the supervisor's loop asks for.

    def turn(self, now_s: float) -> None:
        """Do what is due by the clock."""
        self._succession.turn(now_s)
        if self._takeover is not None and not self.supervisor.is_ending:
            self._takeover.turn(now_s)
        if self._letting_go is not None and self._letting_go.turn(now_s):
            self._letting_go = None

    def upgrade(self) -> Reply | Later:
        """Go on with new code: answered once it has taken over, or could not."""
        return self._succession.begin()

    def ending(self, limit_s: float) -> None:
        """Have what belongs to the gateway elsewhere end, too."""
        self._succession.abort("the gateway was told to end")
        self._predecessors.end(limit_s)

    def others(self) -> int | None:
        """Count sessions of supervisors that retire; None where there is none."""
        return self._predecessors.sessions if self._predecessors.retiring else None

    @property
    def is_upgrading(self) -> bool:
        """Whether a new supervisor is on its way, or this one is not in office yet."""
        return not self.is_in_office or self._succession.is_under_way

    @property
    def is_letting_go(self) -> bool:
        """Whether what came from the supervisor before, and is not wanted here, is still there."""
        return self._letting_go is not None

    @property
    def is_in_office(self) -> bool:
        """Whether this one is or was the gateway's supervisor: not yet, where it is to take over."""
        return self._takeover is None or self._takeover.stage is Stage.DONE

    @property
    def retiring(self) -> list[Predecessor]:
        """Supervisors that retire, the oldest first."""
        return self._predecessors.retiring

    def held(self, kind: Kind) -> bool:
        """Tell whether a child that is born now waits for its time. The broker does not: it fills the pools."""
        if self._takeover is None or kind is Kind.BROKER or self._takeover.stage is Stage.DONE:
            return False
        return kind is Kind.ADMIN or self._takeover.stage is Stage.HELD

    def end(self, code: ExitCode) -> None:
        """Say the last word, to whoever is before or after."""
        if self._takeover is not None:
            self._takeover.fail(code, self.supervisor.failure or "it was told to end")
        self._succession.end()

    def leave(self) -> None:
        """Close, in a forked child, what is the supervisor's."""
        self._succession.leave()
        if self._takeover is not None:
            self._takeover.leave()
        if self._inheritance is not None:
            self._inheritance.close()
        self._predecessors.leave()

    # What a takeover asks for.

    def is_able(self) -> bool:
        """Whether every child could begin."""
        return all(slot.is_ready or slot.is_held for slot in self.supervisor.crew.slots)

    def is_filled(self) -> bool:
        """Whether each peer that is there had its pool filled once."""
        links = read_links(self._house.scoreboard.links, now_ns=monotonic_ns())
        return all(link.was_filled or link.state is LinkState.DOWN for link in links)

    def begin(self) -> None:
        """Have the workers accept."""
        self._house.holdings.settle()
        self.supervisor.crew.begin(self.supervisor.crew.session_slots())

    def accepts(self) -> bool:
        """Whether all of them do."""
        return all(slot.is_ready for slot in self.supervisor.crew.slots if slot.role.kind is not Kind.ADMIN)

    def ready(self) -> handover.Ready:
        """Give what the old supervisor must know of what is taken over, and wait for its answer."""
        self.supervisor.stand_by()
        return handover.Ready(slots=self._house.now.told.workers, unused=[list(key) for key in self._unused])

    def carry(self, row: handover.TotalsRow) -> None:
        """Go on counting from what an old supervisor's children have counted."""
        self.places().carry(row)

    def come_into_own(self, old: HandoverChannel) -> None:
        """Be the gateway, for everybody; the old supervisor retires, and `old` leads to it."""
        self._letting_go = LettingGo(self._house.holdings, now_s=monotonic_s())
        self._adopt(old)
        try:
            self._house.runtime.take_over()
        except StartError as error:  # serving goes on; only commands do not find it
            _log.error("has taken over, but commands will not know it: %s", error)
        self._house.control.start()
        self.supervisor.crew.begin(self.supervisor.crew.slots)

    def settle_in(self) -> None:
        """Do what may take a while."""
        self._house.begin_routes()
        self.supervisor.take_office()

    def fail(self, why: str) -> None:
        """End without having been the gateway."""
        _log.error("could not take over: %s", why)
        self.supervisor.stop()

    # What a succession asks for.

    @property
    def supervisor(self) -> Supervisor:
        """This one."""
        return self._house.supervisor

    def belongings(self) -> Belongings:
        """Give what a successor gets."""
        house = self._house
        seed, environment = house.now.told.shard_seed, house.notifier.environment()
        return Belongings(house.holdings, house.control, house.runtime, self._predecessors, seed, environment)

    def places(self) -> Places:
        """Give where totals are."""
        now = self._house.now
        return Places(self._house.scoreboard, listeners=now.listeners.numbers, peers=now.peers.numbers)

    def position_of(self, slot: Slot) -> float:
        """Give a worker's place among those that accept; one beyond all for a worker that retires already."""
        places = self._house.now.places
        is_there = slot.role.number in places and not slot.is_leaving
        return places.index(slot.role.number) if is_there else math.inf

    def part(self, heir_pid: int) -> None:
        """Leave the gateway to its new supervisor: files, routes, control socket and the service manager's ear."""
        house = self._house
        house.control.retire()
        house.runtime.hand_over()
        house.hand_over_routes()
        house.notifier.hand_over(heir_pid)
        self._predecessors.forget()

    @property
    def retire_s(self) -> float:
        """For how long sessions may go on after an upgrade; 0 for as long as they like."""
        return self._house.now.settings.timeouts.retire

    @property
    def is_reloading(self) -> bool:
        """Whether a reload is under way."""
        return self._house.is_reloading

    def _adopt(self, old: HandoverChannel) -> None:
        assert self._inheritance is not None
        for each in self._inheritance.retired:
            channel = HandoverChannel(each.channel, self.selector)
            self._predecessors.add(channel, since_s=each.since_s)
        self._inheritance.retired.clear()
        if old.fileno() >= 0:
            self._predecessors.add(old, since_s=monotonic_s())

    def _show_sessions(self) -> None:
        """Have sessions of supervisors that retire count among the gateway's."""
        self._house.scoreboard.carried[Cell.SESSIONS] = self._predecessors.sessions


def _unused(inheritance: Inheritance, holdings: Holdings) -> list[GroupKey]:
    used = {key_of(group[0]) for group in holdings.groups}
    return [key for key in inheritance.keys if key not in used]

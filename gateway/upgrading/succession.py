"""Upgrades of this gateway, from its own side: whether one may begin, and what becomes of us when it has succeeded."""

import logging
import os
import selectors
import signal
from typing import Final, Protocol

from gateway.child import Kind
from gateway.control import Later, Reply
from gateway.exit_codes import ExitCode
from gateway.slot import Slot
from gateway.supervisor import Phase, Supervisor
from gateway.upgrading import handover
from gateway.upgrading.carried_totals import Places, Unsaid
from gateway.upgrading.estate import Belongings, estate_of
from gateway.upgrading.predecessors import RETIRING_LIMIT
from gateway.upgrading.upgrade import Events, State, Upgrade
from pools.net.clock import monotonic_s
from pools.net.errors import StartError
from pools.net.orders import LINGER_S, Order, OrderMessage

REPORT_S: Final = 1.0
"""Between two reports of a supervisor that retires."""

ADMIN_S: Final = 2.0
"""How long the admin child may take to end."""

TAKEN_S: Final = 5.0
"""How long we wait at our end for the successor to be found by whoever looks for the gateway."""

_log = logging.getLogger(__name__)


class Household(Protocol):
    """The gateway as a whole, as far as an upgrade concerns it."""

    @property
    def selector(self) -> selectors.BaseSelector:
        """Where the supervisor waits."""

    @property
    def supervisor(self) -> Supervisor:
        """This one."""

    def belongings(self) -> Belongings:
        """Give what a successor gets."""

    def places(self) -> Places:
        """Give where totals are."""

    def position_of(self, slot: Slot) -> float:
        """Give a worker's place among those that accept; one beyond all for a worker that retires already."""

    def part(self, heir_pid: int) -> None:
        """Leave the gateway to its new supervisor: files, routes, control socket and the service manager's ear."""

    @property
    def retire_s(self) -> float:
        """For how long sessions may go on after an upgrade; 0 for as long as they like."""

    @property
    def is_in_office(self) -> bool:
        """Whether this one is or was the gateway's supervisor: not yet, where it is to take over."""

    @property
    def is_reloading(self) -> bool:
        """Whether a reload is under way."""


class Succession:
    """At most one upgrade at a time; after one that succeeded, none.

    Args:
        household: borrowed.
    """

    def __init__(self, household: Household) -> None:
        self._household = household
        self._is_wanted = False  # once a reload that is under way is over
        self._upgrade: Upgrade | None = None
        self._later: Later | None = None
        self._ready: handover.Ready | None = None
        self._admin: Slot | None = None
        self._unsaid: Unsaid | None = None
        self._due_s = 0.0  # the end of the admin child, then the next report

    @property
    def is_under_way(self) -> bool:
        """Whether a new supervisor is on its way."""
        return self._upgrade is not None and self._upgrade.is_open

    def begin(self) -> Reply | Later:
        """Have a new supervisor started, behind a reload that is under way: to the operator that one is over.

        The reply comes once it has taken over, or has failed.
        """
        if lack := self._lack():
            _log.error("not upgrading: %s", lack)
            return _no(ExitCode.CANNOT_START, lack)
        self._is_wanted, self._later = True, Later()
        return self._later

    def abort(self, why: str) -> None:
        """End an upgrade that is under way, or wanted."""
        if self._is_wanted:
            self._is_wanted = False
            self._answer(_no(ExitCode.CANNOT_START, why))
        elif self._upgrade is not None and self.is_under_way:
            self._upgrade.abort(why)
            self._answer(_no(ExitCode.CANNOT_START, why))

    def turn(self, now_s: float) -> None:
        """Do what is due by the clock."""
        if self._is_wanted and not self._household.is_reloading:
            self._start()
        if self._upgrade is None:
            return
        self._upgrade.turn(now_s)
        if self._upgrade.state is State.READY:
            self._turn_of_admin(now_s)
        elif self._unsaid is not None and now_s >= self._due_s:
            self._due_s = now_s + REPORT_S
            self.report()

    def report(self) -> None:
        """Tell the successor what was counted since, and how many sessions are left."""
        if self._upgrade is not None and self._unsaid is not None:
            self._say_totals(self._unsaid)
            self._say_left()

    def end(self) -> None:
        """Tell all of it once more; and where an operator still waits, wait for what there is to answer."""
        self.report()
        until_s = monotonic_s() + TAKEN_S
        while self._later is not None and self._ready is not None and monotonic_s() < until_s:
            for key, _ in self._household.selector.select(0.1):
                key.data()

    def _start(self) -> None:
        self._is_wanted = False
        try:
            self._upgrade = Upgrade(
                estate_of(self._household.belongings()),
                self._household.selector,
                Events(self._make_way, self._failed, self._taken, self._lost, self._household.supervisor.drain),
                now_s=monotonic_s(),
            )
        except StartError as error:
            _log.error("not upgrading: %s", error)
            self._answer(_no(ExitCode.CANNOT_START, str(error)))

    def _say_left(self) -> None:
        assert self._upgrade is not None
        self._upgrade.channel.say(handover.Left(sessions=self._household.supervisor.crew.sessions()))

    def _say_totals(self, unsaid: Unsaid) -> None:
        assert self._upgrade is not None
        for message in handover.totals(unsaid.take()):
            self._upgrade.channel.say(message)

    def leave(self) -> None:
        """Close, in a forked child, what is the supervisor's."""
        if self._upgrade is not None:
            self._upgrade.leave()

    def _lack(self) -> str:
        household = self._household
        if household.supervisor.phase is not Phase.RUNNING:
            return f"the gateway is {household.supervisor.phase}"
        if not household.is_in_office:
            return "the supervisor before has not handed over yet"
        if self.is_under_way or self._is_wanted:
            return "another upgrade is under way"
        if (retiring := len(household.belongings().predecessors.retiring)) >= RETIRING_LIMIT:
            return f"expected at most {RETIRING_LIMIT} supervisors that retire; found {retiring} already"
        return ""

    def _make_way(self, ready: handover.Ready) -> None:
        """End the admin child first: who has seen its totals must not see lower ones at the new one's."""
        self._ready = ready
        crew = self._household.supervisor.crew
        self._admin = crew.slot_of(Kind.ADMIN)
        self._due_s = monotonic_s() + ADMIN_S
        if self._admin is not None:
            crew.retire(self._admin, OrderMessage(Order.STOP))

    def _turn_of_admin(self, now_s: float) -> None:
        if self._admin is None or self._admin not in self._household.supervisor.crew.slots:
            self._part()
        elif now_s >= self._due_s:
            self._admin.kill(signal.SIGKILL)

    def _part(self) -> None:
        assert self._upgrade is not None
        assert self._ready is not None
        household, heir, ready = self._household, self._upgrade.heir, self._ready
        self._unsaid = Unsaid(household.places())
        self._say_totals(self._unsaid)
        household.part(heir.pid)
        _log.info("upgraded: pid %d is the supervisor from here on", heir.pid)  # in the log before what that one says
        self._upgrade.give()
        self._say_left()
        has_unused = household.belongings().holdings.deafen_only(ready.unused)

        def linger_s(slot: Slot) -> float:
            return LINGER_S if has_unused or household.position_of(slot) >= ready.slots else 0.0

        household.supervisor.retire(household.retire_s, linger_s)

    def _taken(self) -> None:
        assert self._upgrade is not None
        sessions = self._household.supervisor.crew.sessions()
        self._answer({"ok": True, "pid": self._upgrade.heir.pid, "old_pid": os.getpid(), "sessions": sessions})

    def _failed(self) -> None:
        assert self._upgrade is not None
        code, why = self._upgrade.exit_code, self._upgrade.why
        _log.error("not upgraded, this supervisor goes on: %s", why)
        belongings = self._household.belongings()
        belongings.runtime.clear_next()
        if self._household.supervisor.phase is Phase.RUNNING:
            belongings.holdings.restore()
            if self._admin is not None:
                self._household.supervisor.crew.add(self._admin.role)
        self._upgrade = self._ready = self._admin = None
        self._answer(_no(code, why))

    def _lost(self) -> None:
        """Say that nobody leads the gateway any more: it has been given away, and there is no way back."""
        assert self._upgrade is not None
        lost = f"pid {self._upgrade.heir.pid}, to which the gateway was given, has ended"
        _log.warning("%s", lost)
        self._answer(_no(ExitCode.UNWELL, f"{lost}: nobody supervises it any more, start it anew"))

    def _answer(self, reply: Reply) -> None:
        if self._later is not None:
            self._later.reply(reply)
            self._later = None


def _no(code: ExitCode, why: str) -> Reply:
    return {"ok": False, "error": why, "exit_code": int(code)}

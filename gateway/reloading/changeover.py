"""One configuration takes the place of another while the gateway runs, in steps of which none waits.

Everything that can fail is done first, in `begin`, and leaves no trace where it does. Then:
- ADOPTING: everything new is open and the workers have been told; each says so once new sessions go by it. Then the
  broker is told, or replaced, and more workers are started.
- HOLDS: connections are dealt out to the workers that there are now. What nobody wants any more is ended once the
  workers have let go of it.
- OVER: it was.
"""

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from gateway.arrangement import Arrangement
from gateway.child import Kind, Role
from gateway.crew import Crew
from gateway.reloading.reload_plan import concerns_admin, concerns_broker, replaces_broker
from gateway.roles import Roles
from gateway.slot import Slot
from gateway.sockets.holdings import Holdings
from gateway.sockets.letting_go import LettingGo
from pools.broker_post import BrokerSettings
from pools.net.errors import StartError
from pools.net.fd_passing import close_all
from pools.net.link_board import LinkBoard
from pools.net.orders import LINGER_S, Order, OrderMessage
from pools.net.sealed import seal
from workers.settings import WorkerSettings

ADOPT_S: Final = 30.0
"""How long a worker may take to live by new settings; then it is replaced by one that begins with them."""

_NO_LIMIT_S: Final = 1e9  # thirty years

_log = logging.getLogger(__name__)


class State(Enum):
    """How far a change is; see the module."""

    ADOPTING = auto()
    HOLDS = auto()
    OVER = auto()


@dataclass(frozen=True, slots=True)
class Parts:
    """What of the gateway is changed. All of it is borrowed.

    Attributes:
        roles: who there is to be, by an arrangement, with the sockets that the holdings have then.
    """

    crew: Crew
    holdings: Holdings
    links: LinkBoard
    roles: Callable[[Arrangement], Roles]


class Changeover:
    """See the module. `turn` is to be called until it is OVER.

    Attributes:
        behind: names of workers that did not follow, be it the second time; empty where all is well.
    """

    def __init__(self, parts: Parts, before: Arrangement, after: Arrangement, *, began_s: float) -> None:
        self.after = after
        self.began_s = began_s
        self.state = State.ADOPTING
        self.behind: list[str] = []
        self._parts = parts
        self._before = before
        self._deadline_s = began_s + ADOPT_S
        self._is_last_chance = False
        self._is_reinforced = False
        self._letting_go: LettingGo | None = None

    def begin(self) -> None:
        """Open what is new, and tell the workers. From `take` on there is no way back, and nothing that could fail.

        Raises:
            StartError: it cannot be; then nothing has changed.
        """
        told, holdings = self.after.told, self._parts.holdings
        with _sealed(told) as sealed:
            change = holdings.prepare(told, admin=self.after.settings.admin)
            try:
                holdings.take(change)
            except StartError:
                change.abandon()
                raise
            for role, slot in self._pairs():
                if slot is not None:
                    _configure(slot, role, sealed, listeners=len(told.listens))

    def turn(self, now_s: float) -> None:
        """Do what is due."""
        if self.state is State.ADOPTING:
            self._await_workers(now_s)
        elif self._letting_go is not None and self._letting_go.turn(now_s):
            self.state, self._letting_go = State.OVER, None

    def _serving(self) -> dict[int, Slot]:
        return {slot.role.number: slot for slot in self._parts.crew.session_slots() if not slot.is_leaving}

    def _pairs(self) -> list[tuple[Role, Slot | None]]:
        """Give the role of each worker that there is to be, and its slot where there is one."""
        serving = self._serving()
        return [(role, serving.get(role.number)) for role in self._parts.roles(self.after).workers()]

    def _await_workers(self, now_s: float) -> None:
        wanted = [slot for number, slot in self._serving().items() if number in self.after.places]
        behind = [slot for slot in wanted if not slot.is_settled]
        is_late = now_s >= self._deadline_s
        if behind and is_late and not self._is_last_chance:
            self._replace(behind, now_s)
        elif not behind or is_late:
            self._go_on(now_s, [slot.role.name for slot in behind])

    def _replace(self, behind: list[Slot], now_s: float) -> None:
        names = ", ".join(slot.role.name for slot in behind)
        _log.error("%s did not take the new configuration within %g s", names, ADOPT_S)
        self._is_last_chance, self._deadline_s = True, now_s + ADOPT_S
        for slot in behind:
            slot.kill(signal.SIGABRT)

    def _go_on(self, now_s: float, behind: list[str]) -> None:
        if self._is_reinforced:
            self._hold(now_s, behind)
        else:
            self._reinforce()
            self._is_last_chance, self._deadline_s = False, now_s + ADOPT_S  # for the newcomers
            self._await_workers(now_s)

    def _reinforce(self) -> None:
        """Have the broker follow, so that it ends no pool before workers have left it, and start more workers."""
        self._is_reinforced = True
        after, parts = self.after, self._parts
        parts.links.use(peer.number for peer in after.told.peers)
        self._follow(Kind.BROKER, parts.roles(after).broker(), is_news=not self._broker_goes_on())
        for role, slot in self._pairs():
            if slot is None:
                parts.crew.add(role)

    def _broker_goes_on(self) -> bool:
        """Tell the broker what concerns it; False where that cannot be, or is not enough."""
        before, after = self._before.told, self.after.told
        slot = self._parts.crew.slot_of(Kind.BROKER)
        if slot is None or slot.child is None or not concerns_broker(before, after):
            return True
        if replaces_broker(before, after) or not after.peers:
            return False
        try:
            with _sealed(after.for_broker()) as sealed:
                return slot.tell(OrderMessage(Order.CONFIGURE), (sealed,))
        except StartError as error:
            _log.error("the broker is replaced: %s", error)
            return False

    def _hold(self, now_s: float, behind: list[str]) -> None:
        """Have the new configuration hold: every worker that is wanted follows it."""
        after, parts = self.after, self._parts
        parts.holdings.settle()
        limit_s = after.settings.timeouts.retire or _NO_LIMIT_S
        for number, slot in self._serving().items():
            if number not in after.places:
                parts.crew.retire(slot, OrderMessage(Order.DRAIN, limit_s, linger_s=LINGER_S))
        parts.crew.enlist()
        self._follow(Kind.ADMIN, parts.roles(after).admin(), is_news=concerns_admin(self._before, after))
        self.behind = behind
        self.state, self._letting_go = State.HOLDS, LettingGo(parts.holdings, now_s=now_s)

    def _follow(self, kind: Kind, role: Role | None, *, is_news: bool) -> None:
        """Have the one child of a kind be there, be told anew, or go."""
        crew = self._parts.crew
        slot = crew.slot_of(kind)
        if slot is None and role is not None:
            crew.add(role)
        elif slot is not None and role is None:
            crew.retire(slot, OrderMessage(Order.STOP))
        elif slot is not None and role is not None and (is_news or slot.role.sockets != role.sockets):
            crew.relieve(slot, role)
        elif slot is not None and role is not None:
            slot.role = role


def _configure(slot: Slot, role: Role, sealed: int, *, listeners: int) -> None:
    sockets = tuple(sock.fileno() for sock in role.sockets)
    message = OrderMessage(Order.CONFIGURE, listeners=listeners, captures=len(sockets) - listeners)
    slot.configure(role, message, (sealed, *sockets))


@contextmanager
def _sealed(told: WorkerSettings | BrokerSettings) -> Iterator[int]:
    try:
        descriptor = seal(told)
    except OSError as error:
        raise StartError(f"cannot write down what children are told: {error}") from error
    try:
        yield descriptor
    finally:
        close_all([descriptor])

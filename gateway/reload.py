"""`gateway reload` and SIGHUP: another configuration takes the place of the one that holds, and no client notices.

In steps, none of which waits, so that the supervisor's loop goes on turning:
- IDLE: nothing is asked for, or it is not the time.
- ADOPTING: everything new is open, and the workers have been told; each says so once new sessions go by it.
- LINGERING: the new configuration holds. What nobody wants any more is ended once the workers have let go of it; the
  next reload begins after that.

What can fail is done before anything is changed. What changes is said in `gateway.reload_plan`.
"""

import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import Enum, auto
from typing import Final

from gateway.arrangement import Arrangement
from gateway.child import Kind, Role
from gateway.control import Later, Reply
from gateway.crew import Crew
from gateway.exit_codes import ExitCode
from gateway.holdings import Holdings
from gateway.holdings_change import Change
from gateway.reload_plan import Changes, compare, concerns_admin, concerns_broker, refusal
from gateway.roles import Roles
from gateway.settings import GatewaySettings
from gateway.slot import Slot
from pools.net.clock import monotonic_ns
from pools.net.errors import ConfigurationError, Problem, StartError
from pools.net.fd_passing import close_all
from pools.net.orders import LINGER_S, Order, OrderMessage
from pools.net.scoreboard import Scoreboard
from workers.sealed_settings import seal
from workers.settings import WorkerSettings

ADOPT_S: Final = 30.0
"""How long a worker may take to live by new settings; then it is replaced by one that begins with them."""

LET_GO_S: Final = LINGER_S + 0.5
"""After which workers have let go of what they were not given again."""

QUEUE_S: Final = 10.0
"""How long we wait for a worker to take those who wait in such a queue."""

_NO_LIMIT_S: Final = 1e9  # thirty years

_log = logging.getLogger(__name__)


class Step(Enum):
    """How far a reload is; see the module."""

    IDLE = auto()
    ADOPTING = auto()
    LINGERING = auto()


@dataclass(frozen=True, slots=True)
class Parts:
    """What of the gateway a reload works on. All of it is borrowed.

    Attributes:
        read: gives the settings as the file has them now.
        arrange: by other settings, for the workers that there are; may raise StartError.
        roles: who there is to be, by an arrangement.
        adopt: has all else in the supervisor follow, once every worker does.
        obstacle: says why there can be no reload; empty where there can.
        is_due: whether there can be one now and not only later.
        begins: called when one begins that may change something.
        ended: called when one has taken effect, or failed.
    """

    crew: Crew
    holdings: Holdings
    scoreboard: Scoreboard
    read: Callable[[], GatewaySettings]
    arrange: Callable[[Arrangement, GatewaySettings], Arrangement]
    roles: Callable[[Arrangement], Roles]
    adopt: Callable[[Arrangement], None]
    obstacle: Callable[[], str]
    is_due: Callable[[], bool]
    begins: Callable[[], None]
    ended: Callable[[], None]


@dataclass(slots=True)
class _Attempt:
    """A reload under way; times are seconds on the monotonic clock.

    Attributes:
        new: workers to be started.
        is_reinforced: they were, and the broker goes by the new configuration.
        late: workers that did not follow in time.
    """

    after: Arrangement
    roles: Roles
    changes: Changes
    began_s: float
    deadline_s: float
    new: list[Role]
    is_reinforced: bool = False
    late: list[str] = field(default_factory=list)


class Reload:
    """All reloads of one gateway, one after another.

    Args:
        arrangement: what holds at first.

    Attributes:
        arrangement: what holds.
        last: what became of the last one, for people; empty before the first.
    """

    def __init__(self, parts: Parts, arrangement: Arrangement) -> None:
        self.arrangement = arrangement
        self.last = ""
        self._parts = parts
        self._step = Step.IDLE
        self._attempt: _Attempt | None = None
        self._let_go_s = 0.0
        self._is_wanted = False
        self._waiting: list[Later] = []  # for the next one
        self._asking: list[Later] = []  # of the one under way

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way and nothing asked for."""
        return self._step is Step.IDLE and not self._is_wanted

    def ask(self) -> None:
        """Want a reload; one that is under way is followed by another."""
        if obstacle := self._parts.obstacle():
            _log.error("cannot reload: %s", obstacle)
            return
        self._is_wanted = True

    def ask_for_operator(self) -> Reply | Later:
        """Want a reload, and give the reply: at once where there can be none."""
        if obstacle := self._parts.obstacle():
            return _failure(ExitCode.CANNOT_START, obstacle)
        self._is_wanted = True
        self._waiting.append(Later())
        return self._waiting[-1]

    def turn(self, now_s: float) -> None:
        """Do what is due; at every turn of the supervisor's loop."""
        if (obstacle := self._parts.obstacle()) and not (self.is_idle and self._attempt is None):
            self._give_up(obstacle)
        elif self._attempt is not None and self._step is Step.ADOPTING:
            self._await_workers(self._attempt, now_s)
        elif self._step is Step.LINGERING:
            self._await_queues(now_s)
        elif self._is_wanted and self._parts.is_due():
            self._begin(now_s)

    def _begin(self, now_s: float) -> None:
        self._is_wanted, self._asking, self._waiting = False, self._waiting, []
        self._parts.begins()
        try:
            after = self._arranged()
            if after.settings == self.arrangement.settings:
                self._note(compare(self.arrangement, after), after, took_s=0.0)
                return
            self._hand_out(after, now_s)
        except ConfigurationError as error:
            self._fail(ExitCode.CONFIGURATION, "the configuration is wrong", error.problems)
        except StartError as error:
            self._fail(ExitCode.CANNOT_START, str(error))

    def _arranged(self) -> Arrangement:
        settings = self._parts.read()
        if why := refusal(self.arrangement.settings, settings):
            raise StartError(why)
        return self._parts.arrange(self.arrangement, settings)

    def _hand_out(self, after: Arrangement, now_s: float) -> None:
        """Open what is new, and tell the workers. From `take` on there is no way back, and nothing that could fail."""
        with _sealed(after.told) as sealed:
            self._take(self._parts.holdings.prepare(after.told, admin=after.settings.admin))
            roles = self._parts.roles(after)
            known = {slot.role.number: slot for slot in self._serving()}
            for role in roles.workers():
                if role.number in known:
                    _configure(known[role.number], role, sealed, listeners=len(after.told.listens))
        new = [role for role in roles.workers() if role.number not in known]
        changes = compare(self.arrangement, after)
        self._attempt = _Attempt(after, roles, changes, now_s, now_s + ADOPT_S, new)
        self._step = Step.ADOPTING

    def _take(self, change: Change) -> None:
        try:
            self._parts.holdings.take(change)
        except StartError:
            change.abandon()
            raise

    def _serving(self) -> list[Slot]:
        return [slot for slot in self._parts.crew.session_slots() if not slot.is_leaving]

    def _await_workers(self, attempt: _Attempt, now_s: float) -> None:
        behind = [slot for slot in self._serving() if self._is_behind(slot, attempt.after)]
        is_enough = not behind or bool(attempt.late and now_s >= attempt.deadline_s)
        if is_enough and not attempt.is_reinforced:
            self._reinforce(attempt)
            self._await_workers(attempt, now_s)
        elif is_enough:
            self._settle(attempt, now_s, behind=[slot.role.name for slot in behind])
        elif now_s >= attempt.deadline_s:
            attempt.late = [slot.role.name for slot in behind]
            attempt.deadline_s = now_s + ADOPT_S
            _log.error("%s did not follow the reload within %g s", ", ".join(attempt.late), ADOPT_S)
            for slot in behind:
                slot.kill(signal.SIGABRT)

    def _reinforce(self, attempt: _Attempt) -> None:
        """Replace the broker, as soon as no worker speaks of what only the old one knows, and start more workers."""
        attempt.is_reinforced = True
        is_news = concerns_broker(self.arrangement.told, attempt.after.told)
        self._parts.scoreboard.links.use(peer.number for peer in attempt.after.told.peers)
        self._follow(Kind.BROKER, attempt.roles.broker(), is_news=is_news)
        for role in attempt.new:
            self._parts.crew.add(role)

    def _is_behind(self, slot: Slot, after: Arrangement) -> bool:
        return slot.role.number in after.places and not slot.is_settled

    def _settle(self, attempt: _Attempt, now_s: float, *, behind: Sequence[str]) -> None:
        """Have the new configuration hold: every worker that is wanted follows it."""
        parts, after = self._parts, attempt.after
        parts.holdings.settle()
        limit_s = after.settings.timeouts.retire or _NO_LIMIT_S
        for slot in self._serving():
            if slot.role.number not in after.places:
                parts.crew.retire(slot, OrderMessage(Order.DRAIN, limit_s, linger_s=LINGER_S))
        parts.crew.enlist()
        self._follow(Kind.ADMIN, attempt.roles.admin(), is_news=concerns_admin(self.arrangement, after))
        parts.adopt(after)
        self._step, self._attempt, self._let_go_s = Step.LINGERING, None, now_s + LET_GO_S
        if behind:
            self.arrangement = after
            self._fail(ExitCode.CANNOT_START, f"the new configuration holds, but not for {', '.join(behind)}")
        else:
            self._note(attempt.changes, after, took_s=now_s - attempt.began_s)

    def _follow(self, kind: Kind, role: Role | None, *, is_news: bool) -> None:
        """Have the one child of a kind be there, be told anew, or go."""
        slot = self._parts.crew.slot_of(kind)
        if slot is None and role is not None:
            self._parts.crew.add(role)
        elif slot is not None and role is None:
            self._parts.crew.retire(slot, OrderMessage(Order.STOP))
        elif slot is not None and role is not None and (is_news or slot.role.sockets != role.sockets):
            self._parts.crew.relieve(slot, role)
        elif slot is not None and role is not None:
            slot.role = role

    def _await_queues(self, now_s: float) -> None:
        if now_s >= self._let_go_s and (not self._parts.holdings.awaited or now_s >= self._let_go_s + QUEUE_S):
            self._parts.holdings.finish()
            self._step = Step.IDLE

    def _note(self, changes: Changes, after: Arrangement, *, took_s: float) -> None:
        """Say that a reload has taken effect."""
        heartbeat_s = after.settings.timeouts.worker_heartbeat
        self._parts.scoreboard.note_reload(monotonic_ns(), heartbeat_limit_ns=round(heartbeat_s * 1e9))
        self.arrangement = after
        generation = self._parts.scoreboard.config_generation
        self.last = f"{changes}, in {took_s:.1f} s"
        _log.info("reloaded: %s; generation %d", self.last, generation)
        self._tell({"ok": True, "generation": generation, "changes": str(changes), "took_s": took_s})

    def _fail(self, code: ExitCode, why: str, problems: Sequence[Problem] = ()) -> None:
        self._parts.scoreboard.note_reload_failed()
        self.last = f"failed: {why}"
        for line in [str(problem) for problem in problems] or [why]:
            _log.error("cannot reload: %s", line)
        self._tell(_failure(code, why, problems))

    def _give_up(self, why: str) -> None:
        self._asking += self._waiting
        self._is_wanted, self._waiting, self._attempt, self._step = False, [], None, Step.IDLE
        self._tell(_failure(ExitCode.CANNOT_START, why))

    def _tell(self, reply: Reply) -> None:
        for later in self._asking:
            later.reply(reply)
        self._asking = []
        self._parts.ended()


def _configure(slot: Slot, role: Role, sealed: int, *, listeners: int) -> None:
    sockets = tuple(sock.fileno() for sock in role.sockets)
    message = OrderMessage(Order.CONFIGURE, listeners=listeners, captures=len(sockets) - listeners)
    slot.configure(role, message, (sealed, *sockets))


@contextmanager
def _sealed(told: WorkerSettings) -> Iterator[int]:
    try:
        descriptor = seal(told)
    except OSError as error:
        raise StartError(f"cannot write down what workers are told: {error}") from error
    try:
        yield descriptor
    finally:
        close_all([descriptor])


def _failure(code: ExitCode, why: str, problems: Sequence[Problem] = ()) -> Reply:
    return {"ok": False, "error": why, "exit_code": int(code), "problems": [asdict(problem) for problem in problems]}

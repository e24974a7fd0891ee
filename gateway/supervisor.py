"""The gateway's own life: starting, running, draining, stopping. One thread, one event loop, no gevent.

What to do about a death is decided in `restart_policy`; the children are the `crew`'s; what operators ask is read and
answered in `control`.
"""

import gc
import logging
import selectors
import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.crew import Crew, Events
from gateway.drain import GRACE_S, Drain
from gateway.exit_codes import ExitCode
from gateway.restart_policy import fatal_exit_code
from gateway.signals import SignalInbox
from gateway.slot import Death, Slot
from pools.net.clock import monotonic_s
from pools.net.errors import ChildError
from pools.net.orders import LINGER_S, Order, OrderMessage
from workers.settings import Timeouts

WATCH_S: Final = 0.5
"""How often heartbeats and deadlines are looked at."""

AWAY_S: Final = 2.0
"""A loop turn this late means that we were stopped or starved, and the children probably too."""

STOP_S: Final = 2.0
"""From STOP to KILL."""

_NO_LIMIT_S: Final = 1e9  # thirty years

_log = logging.getLogger(__name__)


class Phase(StrEnum):
    """How far the gateway's life has come. It only goes forward."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the supervisor has others do.

    Attributes:
        announce: called once, when every child has been ready.
        close_listeners: closes the supervisor's copies, so that a gateway that drains refuses instead of queueing.
        chore: called with the time (monotonic, seconds) at every turn of the loop.
        deafen: has listeners take no new client, so that none is in the queue when they are closed.
        ending: called when the whole gateway is to end, with the seconds that sessions have.
        others: tells how many sessions end elsewhere in the gateway; None for nobody to wait for.
        upgrade: goes on with new code.
        reload: goes on by the file as it is now.
    """

    announce: Callable[[], None]
    close_listeners: Callable[[], None]
    chore: Callable[[float], None]
    deafen: Callable[[], None] = lambda: None
    ending: Callable[[float], None] = lambda _: None
    others: Callable[[], int | None] = lambda: None
    upgrade: Callable[[], object] = lambda: None
    reload: Callable[[], object] = lambda: None


class Supervisor:
    """Keeps the crew complete until it is told to end.

    Args:
        selector: shared with whoever else waits in this loop; each key's data is called without arguments when its
            descriptor is ready. Borrowed, as everything here.
    """

    def __init__(
        self,
        crew: Crew,
        timeouts: Timeouts,
        hooks: Hooks,
        *,
        selector: selectors.BaseSelector,
        inbox: SignalInbox,
    ) -> None:
        self.crew = crew
        self.phase = Phase.STARTING
        self._timeouts = timeouts
        self._hooks = hooks
        self._selector = selector
        self._inbox = inbox
        self.failure = ""
        self._exit_code = ExitCode.OK
        self._last_turn_s = self._watched_since_s = monotonic_s()
        self._drain: Drain | None = None
        self._kill_s = 0.0
        self._hear_signals()

    def run(self) -> ExitCode:
        """Start every child, and return once the last one is gone."""
        gc.collect()
        gc.freeze()  # what is here now stays shared with the children: a collection would write to every page
        try:
            self.crew.start(Events(self._on_all_ready, self._on_death))
        except ChildError as error:
            self._fail(ExitCode(error.exit_code), str(error))
        while self._has_more_to_do():
            for key, _ in self._selector.select(self._wait_s()):
                key.data()
            self._turn(monotonic_s())
        return self._exit_code

    def _has_more_to_do(self) -> bool:
        if self.phase is not Phase.STOPPING or any(self.crew.living()):
            return True
        return self._hooks.others() is not None and monotonic_s() < self._kill_s

    def drain(self, limit_s: float | None = None) -> None:
        """Take no new client, let sessions end for up to `limit_s` seconds, then stop; a drain under way is shortened.

        Args:
            limit_s: timeouts.drain where it is not given.
        """
        limit_s = self._timeouts.drain if limit_s is None else limit_s
        if self.phase is Phase.STOPPING or (self._drain and not self._drain.gives_more(limit_s, monotonic_s())):
            return
        if self._drain is None:
            self._hooks.deafen()
        self._begin_drain(limit_s, lambda _: LINGER_S)
        self._hooks.ending(limit_s)
        _log.info("draining: sessions left %d, up to %g s; a second signal stops at once", self.sessions, limit_s)

    def retire(self, limit_s: float, linger_s: Callable[[Slot], float]) -> None:
        """Leave the gateway to another supervisor: accept nothing more, and end with the last session.

        Args:
            limit_s: for which sessions may go on; 0 for as long as they like.
            linger_s: of a worker, for how long it still accepts what comes to sockets that nobody else has.
        """
        self._begin_drain(limit_s or _NO_LIMIT_S, linger_s, retires=True)
        _log.info("retiring: sessions left %d", self.crew.sessions())

    def _begin_drain(self, limit_s: float, linger_s: Callable[[Slot], float], *, retires: bool = False) -> None:
        self.phase = Phase.DRAINING
        self._drain = Drain(monotonic_s() + limit_s, retires)
        self._drain.is_line_due(monotonic_s())
        for slot in self.crew.session_slots():
            self.crew.tell(OrderMessage(Order.DRAIN, limit_s, linger_s=linger_s(slot)), [slot])
        self._hooks.close_listeners()

    def stop(self) -> None:
        """End every child now. A second call kills."""
        if self.phase is Phase.STOPPING:
            self._kill_s = monotonic_s()
            return
        self.phase = Phase.STOPPING
        self._kill_s = monotonic_s() + STOP_S
        self.crew.tell(OrderMessage(Order.STOP), self.crew.slots)
        self._hooks.close_listeners()
        if not (self._drain and self._drain.retires):
            self._hooks.ending(0.0)

    @property
    def sessions(self) -> int:
        """Live sessions of the gateway, those of supervisors that retire among them."""
        return self.crew.sessions() + (self._hooks.others() or 0)

    def follow(self, timeouts: Timeouts) -> None:
        """Go by other limits from now on; a drain under way keeps its own."""
        self._timeouts = timeouts

    @property
    def drain_s(self) -> float:
        """Seconds that a drain gives sessions to end."""
        return self._timeouts.drain

    def drain_left_s(self, now_s: float) -> float:
        """Seconds that sessions still have in a drain; 0 where none is under way."""
        return self._drain.left_s(now_s) if self._drain and self.phase is Phase.DRAINING else 0.0

    def end_limit_s(self, limit_s: float) -> float:
        """Give the seconds within which a drain of `limit_s` that begins now has ended, whatever the children do."""
        return limit_s + GRACE_S + STOP_S + WATCH_S

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end, or retires, or could not start."""
        return self.phase in (Phase.DRAINING, Phase.STOPPING)

    def stand_by(self) -> None:
        """Wait for `take_office`. The start is over: no child's failure ends this gateway any more.

        Signals wait, too. Whoever is in office may have left it to us by now: to end on our own would leave nobody.
        """
        self.phase = Phase.RUNNING
        self._selector.unregister(self._inbox)

    def take_office(self) -> None:
        """Be the gateway's supervisor from now on, and do what signals have said meanwhile."""
        self._hooks.announce()
        self._hear_signals()

    def _on_all_ready(self) -> None:
        if self.phase is Phase.STARTING:
            self.phase = Phase.RUNNING
            self._hooks.announce()

    def _on_death(self, slot: Slot, death: Death) -> None:
        starting = self.phase is Phase.STARTING
        code = fatal_exit_code(starting=starting, was_ready=death.was_ready, exit_code=death.exit_code)
        if code is not None:
            self._fail(code, f"{slot.role.name}, {death}")
        elif self._is_wanted(slot):
            _log.error("%s, %s; next in %.1f s", slot.role.name, death, slot.schedule(monotonic_s()))
        elif death.exit_code != 0:
            _log.warning("%s, %s", slot.role.name, death)

    def _is_wanted(self, slot: Slot) -> bool:
        if self.phase is Phase.DRAINING:
            return not slot.role.carries_sessions
        return self.phase is not Phase.STOPPING

    def _fail(self, code: ExitCode, why: str) -> None:
        _log.error("could not start: %s", why)
        self._exit_code, self.failure = code, why
        self.stop()

    def _hear_signals(self) -> None:
        self._selector.register(self._inbox, selectors.EVENT_READ, self._on_signals)

    def _on_signals(self) -> None:
        for number in self._inbox.take():
            if number in (signal.SIGTERM, signal.SIGINT):
                _log.info("got %s", number.name)
                self._end()
            elif number == signal.SIGHUP:
                _log.info("got %s", number.name)
                self._hooks.reload()
            elif number == signal.SIGUSR2:
                _log.info("got %s", number.name)
                self._hooks.upgrade()
            else:
                _log.info("got %s, which means nothing here yet", number.name)

    def _end(self) -> None:
        """Drain, or stop where that is already under way, or kill where even that is."""
        if self.phase is Phase.STOPPING or (self._drain and not self._drain.retires):
            self.stop()
        else:
            self.drain()

    def _wait_s(self) -> float:
        due_s = self.crew.due_in_s(monotonic_s())
        return WATCH_S if due_s is None else max(0.0, min(WATCH_S, due_s))

    def _turn(self, now_s: float) -> None:
        """Do what is due by the clock."""
        if now_s - self._last_turn_s > AWAY_S:
            self._watched_since_s = now_s
        self._last_turn_s = now_s
        limit_s = self._timeouts.worker_heartbeat
        self.crew.turn(now_s, limit_s=limit_s, watched_since_s=self._watched_since_s)
        self._hooks.chore(now_s)
        if self._drain is not None and self.phase is Phase.DRAINING:
            self._turn_of_drain(self._drain, now_s)
        elif self.phase is Phase.STOPPING and now_s >= self._kill_s:
            self.crew.kill()

    def _turn_of_drain(self, drain: Drain, now_s: float) -> None:
        own_are_over = all(slot.child is None for slot in self.crew.session_slots())
        if drain.is_over(now_s) or (own_are_over and self._hooks.others() is None):
            self.stop()
        elif drain.is_line_due(now_s) and not drain.retires:
            _log.info("draining: sessions left %d, up to %.0f s more", self.sessions, drain.left_s(now_s))

"""`gateway reload` and SIGHUP: who asks for another configuration, whether it can be had, and what became of that.

What is done then, step by step, is `gateway.reloading.changeover`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from gateway.arrangement import Arrangement
from gateway.config.settings import GatewaySettings
from gateway.control import Later, Reply
from gateway.exit_codes import ExitCode
from gateway.reloading import changeover
from gateway.reloading.changeover import Changeover, State
from gateway.reloading.reload_plan import compare, refusal
from pools.net.clock import monotonic_ns
from pools.net.errors import ConfigurationError, Problem, StartError
from pools.net.scoreboard import Scoreboard

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a reload asks of the rest of the supervisor.

    Attributes:
        read: gives the settings as the file has them now; raises ConfigurationError, or StartError where there is none.
        arrange: by other settings, for the workers that there are; may raise StartError.
        prepare: has routes be as an arrangement wants them, before anybody dials by it; also to go back to the last.
        adopt: has all else in the supervisor follow, once every worker does.
        obstacle: says why there can be no reload; empty where there can, be it later.
        is_due: whether there can be one now.
        begins: called when the file is about to be read, or a reload is refused without that; `ended` follows.
        ended: called when it has taken effect, or changed nothing, with the reason for that; empty where it has.
    """

    read: Callable[[], GatewaySettings]
    arrange: Callable[[Arrangement, GatewaySettings], Arrangement]
    prepare: Callable[[Arrangement], None]
    adopt: Callable[[Arrangement], None]
    obstacle: Callable[[], str]
    is_due: Callable[[], bool]
    begins: Callable[[], None]
    ended: Callable[[str], None]


class Reload:
    """All reloads of one gateway, one after another.

    Args:
        parts: what they change.
        arrangement: what holds at first.
        scoreboard: where it is written down what became of the last one.

    Attributes:
        last: what became of the last one, for people; empty before the first.
    """

    def __init__(
        self, parts: changeover.Parts, arrangement: Arrangement, *, around: Surroundings, scoreboard: Scoreboard
    ) -> None:
        self.last = ""
        self._parts = parts
        self._holds = arrangement
        self._around = around
        self._scoreboard = scoreboard
        self._change: Changeover | None = None
        self._is_wanted = False
        self._waiting: list[Later] = []  # for the next one
        self._asking: list[Later] = []  # of the one under way

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way and nothing asked for."""
        return self._change is None and not self._is_wanted

    def ask(self) -> None:
        """Want a reload; one that is under way is followed by another."""
        if obstacle := self._around.obstacle():
            self._around.begins()
            self._fail(ExitCode.CANNOT_START, obstacle)
        else:
            self._is_wanted = True

    def ask_for_operator(self) -> Reply | Later:
        """Want a reload, and give the reply: at once where there can be none."""
        if obstacle := self._around.obstacle():
            return _failure(ExitCode.CANNOT_START, obstacle)
        self._is_wanted = True
        self._waiting.append(Later())
        return self._waiting[-1]

    def turn(self, now_s: float) -> None:
        """Do what is due; at every turn of the supervisor's loop."""
        obstacle = self._around.obstacle()
        if obstacle and not self.is_idle:
            self._give_up(obstacle)
        elif self._change is not None:
            self._go_on(self._change, now_s)
        elif self._is_wanted and self._around.is_due():
            self._begin(now_s)

    def _begin(self, now_s: float) -> None:
        self._is_wanted, self._asking, self._waiting = False, self._waiting, []
        self._around.begins()
        try:
            after = self._arranged()
            if after.settings == self._holds.settings:
                self._done(after, took_s=0.0)
                return
            change = Changeover(self._parts, self._holds, after, began_s=now_s)
            self._around.prepare(after)
            change.begin()
        except ConfigurationError as error:
            self._fail(ExitCode.CONFIGURATION, "the configuration is wrong", error.problems)
        except StartError as error:
            self._around.prepare(self._holds)
            self._fail(ExitCode.CANNOT_START, str(error))
        else:
            self._change = change

    def _arranged(self) -> Arrangement:
        settings = self._around.read()
        if why := refusal(self._holds.settings, settings):
            raise StartError(why)
        return self._around.arrange(self._holds, settings)

    def _go_on(self, change: Changeover, now_s: float) -> None:
        before = change.state
        change.turn(now_s)
        if before is State.ADOPTING and change.state is State.HOLDS:
            self._around.adopt(change.after)
            self._done(change.after, took_s=now_s - change.began_s)
            if change.behind:
                _log.error("%s still did not follow", ", ".join(change.behind))
        if change.state is State.OVER:
            self._change = None

    def _done(self, after: Arrangement, *, took_s: float) -> None:
        """Say that a reload has taken effect."""
        changes = str(compare(self._holds, after))
        heartbeat_s = after.settings.timeouts.worker_heartbeat
        self._scoreboard.note_reload(monotonic_ns(), heartbeat_limit_ns=round(heartbeat_s * 1e9))
        self._holds = after
        generation = self._scoreboard.config_generation
        self.last = f"{changes}, in {took_s:.1f} s"
        _log.info("reloaded: %s; generation %d", self.last, generation)
        self._tell({"ok": True, "generation": generation, "changes": changes, "took_s": took_s})

    def _fail(self, code: ExitCode, why: str, problems: Sequence[Problem] = ()) -> None:
        """Say that nothing has changed."""
        self._scoreboard.note_reload_failed()
        self.last = f"failed: {why}"
        for line in [str(problem) for problem in problems] or [why]:
            _log.error("cannot reload: %s", line)
        self._tell(_failure(code, why, problems))

    def _give_up(self, why: str) -> None:
        self._asking += self._waiting
        self._is_wanted, self._waiting, self._change = False, [], None
        self._tell(_failure(ExitCode.CANNOT_START, why))

    def _tell(self, reply: Reply) -> None:
        for later in self._asking:
            later.reply(reply)
        self._asking = []
        self._around.ended(str(reply.get("error", "")))


def _failure(code: ExitCode, why: str, problems: Sequence[Problem] = ()) -> Reply:
    return {"ok": False, "error": why, "exit_code": int(code), "problems": [asdict(problem) for problem in problems]}

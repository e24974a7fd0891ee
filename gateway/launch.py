"""Puts a gateway together from its settings, and runs it: the root of everything the supervisor owns."""

import faulthandler
import logging
import os
import secrets
import selectors
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial

from gateway import arrangement, child, control, descriptor_limit, logs, topology
from gateway.answers import Answers, Changes
from gateway.arrangement import Arrangement
from gateway.child import AdminPost, Role
from gateway.config.settings import GatewaySettings
from gateway.crew import Crew
from gateway.exit_codes import ExitCode
from gateway.introduction import Facts, facts_of, ready_line, transport_lack
from gateway.preload import preload
from gateway.reloading.changeover import Parts
from gateway.reloading.reload import Reload, Surroundings
from gateway.roles import Mains, Roles
from gateway.runtime_dir import RuntimeDir, control_socket, next_scoreboard_file, routes_file, scoreboard_file
from gateway.service_report import ServiceReport, Standing, standing_of
from gateway.signals import SignalInbox
from gateway.sockets.activation import adopt
from gateway.sockets.holdings import Holdings
from gateway.supervisor import Hooks, Phase, Supervisor
from gateway.systemd import Notifier, inherited_listeners
from gateway.upgrading.generations import Generations
from gateway.upgrading.inheritance import Inheritance
from gateway.windows.route_watch import RouteWatch
from gateway.windows.route_windows import RouteWindows
from pools.broker_post import BrokerPost
from pools.net.clock import monotonic_ns, monotonic_s
from pools.net.errors import StartError
from pools.net.scoreboard import Layout, Scoreboard
from workers.post import Post
from workers.settings import WorkerSettings
from workers.source_limit import SourceTable

_log = logging.getLogger(__name__)


def launch(
    settings: GatewaySettings,
    *,
    config: str = "",
    read: Callable[[], GatewaySettings] | None = None,
    worker_main: Callable[[Post], int] = child.worker_main,
    broker_main: Callable[[BrokerPost], int] = child.broker_main,
    admin_main: Callable[[AdminPost], int] = child.admin_main,
) -> ExitCode:
    """Run a gateway in this process, in the foreground, until it is told to end.

    Args:
        config: path of the file that `settings` came from, to be shown; empty for none.
        read: gives the settings by that file as it is now, or raises ConfigurationError; None where there is no file.
        worker_main: a worker's whole life after the fork.
        broker_main: the broker's, which is there if there are peers.
        admin_main: the admin child's.

    Returns:
        OK after a stop, or the code of the child that could not boot.
    """
    logs.configure(settings.log_format, "supervisor")
    faulthandler.enable()  # a service manager's watchdog sends ABRT
    with closing(Notifier.from_environment()) as notifier, ExitStack() as kept:
        inheritance = None
        try:
            if inheritance := Inheritance.from_environment():
                kept.callback(inheritance.close)
                logs.configure(settings.log_format, "supervisor")  # where the supervisor before has it
            with ExitStack() as owned:
                gateway = _Gateway(settings, config, owned, notifier, inheritance)
                gateway.read = read or _no_file
                return gateway.run(Mains(worker_main, broker_main, admin_main))
        except StartError as error:
            _log.error("could not start: %s", error)
            notifier.status(f"could not start: {error}")
            if inheritance is not None:
                inheritance.fail(ExitCode.CANNOT_START, str(error))
            return ExitCode.CANNOT_START


class _Gateway:
    """The parts of one gateway while it runs. `owned` ends them, in the supervisor only: no child gets that far."""

    def __init__(
        self,
        settings: GatewaySettings,
        config: str,
        owned: ExitStack,
        notifier: Notifier,
        inheritance: Inheritance | None,
    ) -> None:
        self.inheritance = inheritance
        self.now = arrangement.first(settings, cores=topology.usable_cores(), shard_seed=self._seed())
        self.owned = owned
        self.notifier = notifier
        self.runtime = self._hold_runtime_dir()
        owned.callback(self.runtime.release)
        self.windows = self._widen_routes(owned)
        _raise_descriptor_limit(settings.limits.sessions, workers=self.told.workers)
        self.holdings = self._open_holdings()
        owned.callback(self.holdings.close)
        self.scoreboard = self._scoreboard()
        owned.callback(self.scoreboard.close)
        self.sources = SourceTable.create(room=self.scoreboard.room.workers, seed=secrets.randbits(64))
        self.selector = owned.enter_context(selectors.DefaultSelector())
        self.inbox = SignalInbox()
        owned.callback(self.inbox.close)
        self.control = self._control()
        owned.callback(self.control.close)
        self.watches = [] if inheritance else self._watch_routes(owned)
        self.config = config
        self.read: Callable[[], GatewaySettings] = _no_file
        self.generations = Generations(self, inheritance)

    def run(self, mains: Mains) -> ExitCode:
        """Run until the last child is gone."""
        preload()
        self._warn()
        roles = partial(
            Roles,
            holdings=self.holdings,
            scoreboard=self.scoreboard,
            sources=self.sources,
            mains=mains,
            held=self.generations.held,
        )
        log_format = self.settings.log_format
        crew = Crew(roles(self.now).cast(), selector=self.selector, leave=self._leave, log_format=log_format)
        hooks = Hooks(
            self.announce,
            self.holdings.close_groups,
            self._turn,
            deafen=self._deafen,
            ending=self.generations.ending,
            others=self.generations.others,
            upgrade=self.generations.upgrade,
            reload=self._ask_to_reload,
        )
        timeouts = self.settings.timeouts
        self.supervisor = Supervisor(crew, timeouts, hooks, selector=self.selector, inbox=self.inbox)
        look = partial(_look, self.supervisor, self.scoreboard)
        self.report = ServiceReport(self.notifier, look, speaks=lambda: self.generations.is_in_office)
        parts = Parts(crew, self.holdings, self.scoreboard.links, roles)
        self.reload = Reload(parts, self.now, around=self._around(), scoreboard=self.scoreboard)
        changes = Changes(self.reload, self.generations)
        lacks = self.windows.lacks
        self.answers = Answers(self._facts(monotonic_s()), self.supervisor, changes=changes, route_lacks=lacks)
        self.control.answer = self.answers.answer
        if self.inheritance is None:
            self.control.start()
        code = self.supervisor.run()
        self.generations.end(code)
        return code

    def _deafen(self) -> None:
        if self.generations.is_in_office:  # else the sockets are another supervisor's, too, which goes on
            self.holdings.deafen()

    def begin_routes(self) -> None:
        """Have routes to peers be as this gateway wants them."""
        self.watches = self._watch_routes(self.owned)  # first: what changes meanwhile is followed afterwards
        self.windows.begin()

    def hand_over_routes(self) -> None:
        """Leave them to a new supervisor."""
        self.windows.hand_over()
        self.watches = []  # they go on hearing, and nothing comes of it

    @property
    def is_reloading(self) -> bool:
        """Whether a reload is under way."""
        return not self.reload.is_idle

    def _seed(self) -> int:
        before = None if self.inheritance is None else self.inheritance.sockets.shard_seed
        return secrets.randbits(32) if before is None else before

    def _hold_runtime_dir(self) -> RuntimeDir:
        wanted = self.settings.runtime_dir
        if self.inheritance is None:
            return RuntimeDir.claim(wanted)
        if self.inheritance.runtime_dir != wanted:
            raise StartError(
                f"gateway.runtime_dir: expected {self.inheritance.runtime_dir}, where the gateway is that is upgraded; "
                f"found {wanted}; stop it and start it to change that"
            )
        return self.inheritance.take_runtime_dir()

    def _around(self) -> Surroundings:
        """Give what a reload asks of the rest of us."""
        return Surroundings(
            read=self.read,
            arrange=self._arrange,
            prepare=lambda now: self.windows.follow(now.told.peers),
            adopt=self._adopt,
            obstacle=self._obstacle,
            is_due=lambda: self.supervisor.phase is Phase.RUNNING and not self.generations.is_letting_go,
            begins=self.report.reloading,
            ended=lambda refusal: self.report.ready(monotonic_s(), refusal=refusal),
        )

    def _arrange(self, before: Arrangement, settings: GatewaySettings) -> Arrangement:
        held = [slot.role.number for slot in self.supervisor.crew.session_slots() if slot.is_leaving]
        cores = topology.usable_cores()
        return arrangement.following(before, settings, room=self.scoreboard.room, held=held, cores=cores)

    def _adopt(self, now: Arrangement) -> None:
        """Go on by another configuration, which every worker follows already."""
        self.now = now
        self.supervisor.follow(self.settings.timeouts)
        self.answers.facts = self._facts(self.answers.facts.started_s)
        if not self.watches:
            self.watches = self._watch_routes(self.owned)
        self._warn()
        _raise_descriptor_limit(self.settings.limits.sessions, workers=self.told.workers)

    def _ask_to_reload(self) -> None:
        self.reload.ask()

    def _obstacle(self) -> str:
        """Say why nothing can be changed now."""
        if self.generations.is_upgrading:
            return "an upgrade is under way"
        return "the gateway is ending" if self.supervisor.is_ending else ""

    def _warn(self) -> None:
        if self.holdings.capture_lack:
            _log.warning("early_syn is off, sessions begin when they are accepted: %s", self.holdings.capture_lack)
        if lack := transport_lack(self.told):
            _log.warning("%s", lack)

    @property
    def settings(self) -> GatewaySettings:
        """What holds now."""
        return self.now.settings

    @property
    def told(self) -> WorkerSettings:
        """What the workers are told of it."""
        return self.now.told

    def _turn(self, now_s: float) -> None:
        """Do what others in the supervisor's loop have to do by the clock."""
        self.generations.turn(now_s)
        self.reload.turn(now_s)
        self.report.turn(now_s)
        self.control.turn(now_s)
        for watch in self.watches:
            watch.turn(now_s)

    def _leave(self, role: Role) -> None:
        """Close, in a child, what is the supervisor's."""
        self.generations.leave()
        self.notifier.close()
        for watch in self.watches:
            watch.close()
        self.holdings.close_all_but(role.sockets)
        self.control.close()
        self.inbox.close()
        self.selector.close()
        self.runtime.abandon()

    def _open_holdings(self) -> Holdings:
        """Open every socket but those that are open already: a predecessor's, or a service manager's."""
        if self.inheritance is not None:
            return Holdings.open(self.told, admin=self.settings.admin, inherited=self.inheritance.sockets)
        passed, admin = inherited_listeners(), self.settings.admin
        inherited = adopt(passed, self.told, admin=admin) if passed else None
        return Holdings.open(self.told, admin=admin, inherited=inherited)

    def _widen_routes(self, owned: ExitStack) -> RouteWindows:
        windows = RouteWindows(self.told.peers, record=routes_file(self.runtime.path), begin=self.inheritance is None)
        owned.callback(windows.close)
        return windows

    def _watch_routes(self, owned: ExitStack) -> list[RouteWatch]:
        """Have our copies of routes follow the others, where there may be any."""
        if not self.windows.lacks:
            return []
        try:
            watch = RouteWatch(self.windows.renew, self.selector)
        except OSError as error:  # no netlink for us: then there are no routes of ours either
            _log.warning("cannot watch the routes of this host: %s", error)
            return []
        owned.callback(watch.close)
        return [watch]

    def _scoreboard(self) -> Scoreboard:
        workers = self.told.workers
        file = scoreboard_file if self.inheritance is None else next_scoreboard_file
        try:
            return Scoreboard.create(
                file(self.runtime.path),
                Layout(workers, len(self.told.listens), len(self.told.peers)),
                supervisor_pid=os.getpid(),
                started_ns=monotonic_ns(),
                room=arrangement.room_for(self.settings, workers=workers),
                heartbeat_limit_ns=round(self.settings.timeouts.worker_heartbeat * 1e9),
            )
        except OSError as error:  # no room left there, or a disk that became read-only
            raise StartError(f"cannot make the scoreboard: {error}") from error

    def _control(self) -> control.ControlServer:
        inherited = None if self.inheritance is None else self.inheritance.control
        return control.ControlServer(
            inherited or control.open_listener(control_socket(self.runtime.path)), self.selector
        )

    def _facts(self, started_s: float) -> Facts:
        return facts_of(self.now, self.holdings, config=self.config, started_s=started_s)

    def announce(self) -> None:
        """Say that the gateway is there, once it is this supervisor's."""
        if not self.generations.is_in_office:  # then it is announced when it is
            return
        self.holdings.settle()
        _log.info("%s", ready_line(self.answers.facts, self.now.cores))
        self.report.ready(monotonic_s())


def _no_file() -> GatewaySettings:
    raise StartError("this gateway was started without a file, so there is none to reload")


def _raise_descriptor_limit(sessions: int, *, workers: int) -> None:
    allowed = descriptor_limit.raise_to_hard()
    if lack := descriptor_limit.shortage(sessions, workers=workers, allowed=allowed):
        _log.warning("%s", lack)


def _look(supervisor: Supervisor, scoreboard: Scoreboard, now_s: float) -> Standing:
    return standing_of(scoreboard, supervisor.phase, now_s=now_s, left_s=supervisor.drain_left_s(now_s))

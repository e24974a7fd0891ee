"""What every fork does first and last. What a child is for is told by its role.

Nothing here returns into the supervisor's stack: a child ends in `live`.
"""

import faulthandler
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NoReturn

from gateway import logs, signals
from gateway.exit_codes import ExitCode
from gateway.reasons import Thresholds
from pools.broker_post import BrokerPost
from pools.net.clock import monotonic_ns
from pools.net.errors import ChildError
from pools.net.fd_passing import ChannelError, close_all, receive_message, send_message
from pools.net.orders import Order, OrderMessage, Report, ReportMessage
from pools.net.scoreboard import Cell, ChildState, Row, Scoreboard
from workers.post import Post
from workers.settings import LogFormat, WorkerSettings

_log = logging.getLogger(__name__)

_OOM_SCORE_ADJUSTMENT: Final = Path("/proc/self/oom_score_adj")
_OOM_STEP: Final = 100  # a tenth of the memory that is there: more than a supervisor ever has
_OOM_MOST: Final = 1000


class Kind(StrEnum):
    """What a child is for.

    Attributes:
        WORKER: it carries sessions, and is drained before it is stopped.
        BROKER: it keeps legs to peers for the workers, who have a channel to it.
        ADMIN: it answers operators over HTTP.
    """

    WORKER = "worker"
    BROKER = "broker"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Role:
    """A place in the gateway that one child after another fills.

    Attributes:
        kind: what the child is for.
        name: in logs, as in "worker 0".
        number: a worker's slot, by which the broker and operators know it; 0 for others.
        process_name: what ps and top show; the kernel keeps 15 bytes (PR_SET_NAME(2const)).
        core: where it is pinned; None for nowhere.
        row: its numbers.
        sockets: what this role alone keeps after the fork. The supervisor owns them.
        main: the child's whole life, given its end of the channel and its origin, a number below
            `pools.ledger.ORIGINS` that no other life of any role has; returns the exit code.
        after_death: puts right what a dead child left in shared memory.
    """

    kind: Kind
    name: str
    number: int
    process_name: str
    core: int | None
    row: Row
    sockets: tuple[socket.socket, ...]
    main: Callable[[socket.socket, int], int]
    after_death: Callable[[], None]

    @property
    def carries_sessions(self) -> bool:
        """Whether it is drained before it is stopped."""
        return self.kind is Kind.WORKER


@dataclass(frozen=True, slots=True)
class AdminPost:
    """All that the admin child owns from its first moment; the counterpart of a worker's Post.

    Attributes:
        listener: listening, non-blocking.
        settings: what the workers are told.
        scoreboard: everybody's numbers, its own among them.
        ready_when_filled: readiness waits until the pools of peers were filled once.
        health: from where on the gateway is degraded.
        channel: SOCK_SEQPACKET to the supervisor, non-blocking.
        held: it waits for the order BEGIN before it answers.
    """

    listener: socket.socket
    settings: WorkerSettings
    scoreboard: Scoreboard
    ready_when_filled: bool
    health: Thresholds
    channel: socket.socket
    held: bool = False


def worker_main(post: Post) -> int:
    """Live as a worker. gevent is loaded here and not before: the supervisor must never have it."""
    from workers.worker import run

    return run(post)


def broker_main(post: BrokerPost) -> int:
    """Live as the broker. It is loaded here and not before, for the same reason."""
    from pools.broker import run

    return run(post)


def admin_main(post: AdminPost) -> int:
    """Live as the admin child. Its HTTP server is loaded here and not before, for the same reason."""
    from gateway.admin import Told, serve
    from gateway.page.facts import facts_of

    if post.held and not _may_begin(post.channel):
        return ExitCode.OK
    told = Told(
        listeners={listen.number: listen.name for listen in post.settings.listens},
        peers={peer.number: peer.name for peer in post.settings.peers},
        ready_when_filled=post.ready_when_filled,
        health=post.health,
        page=facts_of(post.settings),
    )
    return serve(post.listener, post.scoreboard, told=told, channel=post.channel)


def _may_begin(channel: socket.socket) -> bool:
    """Wait for the order to begin; False where another comes, or the supervisor has gone."""
    send_message(channel, ReportMessage(Report.HELD).encode())
    select.select([channel], [], [])
    payload, descriptors = receive_message(channel)
    close_all(descriptors)
    return bool(payload) and OrderMessage.decode(payload).order is Order.BEGIN


def live(
    role: Role, channel: socket.socket, *, origin: int, leave: Callable[[Role], None], log_format: LogFormat
) -> NoReturn:
    """Spend this freshly forked process, whose caller held signals back, in `role`.

    Args:
        origin: handed to the role's main.
        leave: closes everything that is not the role's own.
    """
    exit_code = int(ExitCode.CANNOT_START)
    try:
        leave(role)
        _settle(role, log_format)
        exit_code = role.main(channel, origin)
    except BaseException as error:  # noqa: BLE001  # logged with its traceback; `finally` leaves no way further up
        exit_code = _explain(error, channel)
    finally:
        _end(exit_code)


def _settle(role: Role, log_format: LogFormat) -> None:
    signals.ignore_all()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.HEARD)
    logs.configure(log_format, role.name)
    faulthandler.enable()  # ABRT, sent to a child that hangs, shows where
    with suppress(OSError):  # only a name
        Path("/proc/self/comm").write_text(role.process_name)
    _go_before_the_supervisor()
    _pin(role.core)
    role.row[Cell.PID] = os.getpid()
    role.row[Cell.STATE] = ChildState.BOOTING
    role.row[Cell.BOOTED_NS] = role.row[Cell.HEARTBEAT_NS] = monotonic_ns()


def _go_before_the_supervisor() -> None:
    """Be the one that the kernel kills where memory runs out: a child has a successor, its supervisor has none."""
    with suppress(OSError, ValueError):  # no /proc; it may be raised by everybody (proc_pid_oom_score_adj(5))
        adjustment = int(_OOM_SCORE_ADJUSTMENT.read_text())
        _OOM_SCORE_ADJUSTMENT.write_text(str(min(adjustment + _OOM_STEP, _OOM_MOST)))


def _pin(core: int | None) -> None:
    if core is None:
        return
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:  # a cpuset that shrank since the start; slower, but it serves
        _log.warning("cannot be pinned to core %d: %s", core, error)


def _explain(error: BaseException, channel: socket.socket) -> int:
    if not isinstance(error, ChildError):
        _log.error("ends because of an error nobody expected", exc_info=error)
    with suppress(ChannelError, BlockingIOError):  # the exit code speaks too
        send_message(channel, ReportMessage(Report.FAILED, f"{type(error).__name__}: {error}").encode())
    return error.exit_code if isinstance(error, ChildError) else ExitCode.CANNOT_START


def _end(exit_code: int) -> NoReturn:
    with suppress(Exception):  # a closed or full stderr must not bring a child back into its parent's stack
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(exit_code)

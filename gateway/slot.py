"""One role's place and the child that fills it: fork, hear, tell, bury. When to do which is told from above."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway import child, signals
from gateway.child import Role
from gateway.exit_codes import ExitCode
from gateway.restart_policy import BackOff, Cure, cure
from pools.net.errors import ChildError, ProtocolError
from pools.net.fd_passing import ChannelError, close_all, receive_message, send_message, socket_pair
from pools.net.orders import OrderMessage, Report, ReportMessage
from pools.net.scoreboard import Cell
from workers.settings import LogFormat

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Child:
    """A living child, or one not yet buried. Times are seconds on the monotonic clock.

    Attributes:
        pidfd: readable once it is dead; owned.
        channel: the supervisor's end; owned.
        ready_s: when it said READY; None before.
        is_held: it said that it waits for BEGIN.
        is_current: it lives by the settings that hold, or that it was told last.
        aborted_s: when it was sent ABRT; None if it was not.
        failure: why it said it cannot work.
        unsent: orders that its channel had no room for; sent at one of the next looks.
    """

    pid: int
    pidfd: int
    channel: socket.socket
    forked_s: float
    ready_s: float | None = None
    is_held: bool = False
    is_current: bool = True
    aborted_s: float | None = None
    failure: str = ""
    unsent: list[OrderMessage] = field(default_factory=list)

    def close(self) -> None:
        """Give up both descriptors."""
        os.close(self.pidfd)
        self.channel.close()


@dataclass(frozen=True, slots=True)
class Death:
    """How a child ended.

    Attributes:
        exit_code: its own, or the negative number of the signal that ended it.
        was_ready: it had been.
        failure: why it said it cannot work.
    """

    pid: int
    exit_code: int
    was_ready: bool
    failure: str

    def __str__(self) -> str:
        how = signal.Signals(-self.exit_code).name if self.exit_code < 0 else f"exit code {self.exit_code}"
        return f"pid {self.pid} ended by {how}" + (f": {self.failure}" if self.failure else "")


@dataclass(slots=True, eq=False)
class Slot:
    """A place for one child at a time.

    Attributes:
        child: who is there now.
        back_off: what its predecessors' deaths cost the next.
        restart_at_s: when the next child is due; None while one lives or none is wanted.
        is_leaving: there will be no other child, and no slot once this one is gone.
        is_relieved: the child was told to stop so that another can follow at once.
    """

    role: Role
    child: Child | None = None
    back_off: BackOff = field(default_factory=BackOff)
    restart_at_s: float | None = None
    is_leaving: bool = False
    is_relieved: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether a child is there that said READY."""
        return self.child is not None and self.child.ready_s is not None

    @property
    def is_held(self) -> bool:
        """Whether a child is there that would be ready if it were told to begin."""
        return self.child is not None and self.child.is_held and not self.is_ready

    @property
    def is_settled(self) -> bool:
        """Whether a child is there that is ready and lives by the settings that it was told last."""
        return self.child is not None and self.child.ready_s is not None and self.child.is_current

    def configure(self, role: Role, message: OrderMessage, descriptors: tuple[int, ...]) -> None:
        """Have the child, and whoever comes after it, live as `role` says: the child by an order."""
        self.role = role
        if self.child is not None:
            self.child.is_current = False
            self.tell(message, descriptors)

    def fork(self, *, origin: int, leave: Callable[[Role], None], log_format: LogFormat, now_s: float) -> Child:
        """Start a child.

        Args:
            origin: handed to the role's main.
            leave: closes, in the child, everything that is not the role's own.

        Raises:
            ChildError: no process or descriptor left; nothing was started.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            ours, theirs = socket_pair()
            with theirs, signals.held_back():
                pid = os.fork()
                if pid == 0:
                    ours.close()
                    child.live(self.role, theirs, origin=origin, leave=leave, log_format=log_format)
            self.child = Child(pid, _pidfd(pid), ours, now_s)
        except OSError as error:
            raise ChildError(f"cannot start {self.role.name}: {error}", exit_code=ExitCode.CANNOT_START) from error
        self.restart_at_s = None
        return self.child

    def tell(self, message: OrderMessage, descriptors: tuple[int, ...] = ()) -> bool:
        """Send an order; False where nobody is there to read it or its channel is full.

        A full channel gets an order without descriptors later: a child must not miss, say, that it is to drain.
        """
        if self.child is None:
            return False
        try:
            send_message(self.child.channel, message.encode(), descriptors)
        except (BlockingIOError, ChannelError) as error:
            _log.warning("%s does not take the order %s: %s", self.role.name, message.order, error)
            if isinstance(error, BlockingIOError) and not descriptors:
                self.child.unsent.append(message)
            return False
        return True

    def _tell_again(self) -> None:
        assert self.child is not None
        unsent, self.child.unsent = self.child.unsent, []
        for message in unsent:
            self.tell(message)

    def hear(self, now_s: float) -> bool:
        """Read what the child says; False once it will say no more."""
        assert self.child is not None
        try:
            while payload := self._read():
                self._note(ReportMessage.decode(payload), now_s)
        except BlockingIOError:
            return True
        except (ChannelError, ProtocolError) as error:
            _log.error("%s: %s", self.role.name, error)
        return False

    def bury(self, now_s: float) -> Death:
        """Collect a dead child and clear its place."""
        assert self.child is not None
        dead, self.child = self.child, None
        _, status = os.waitpid(dead.pid, 0)
        dead.close()
        self.role.row.clear_gauges()
        self.role.after_death()
        ready_s = 0.0 if dead.ready_s is None else now_s - dead.ready_s
        self.back_off = self.back_off.after_death(ready_s=ready_s)
        return Death(dead.pid, os.waitstatus_to_exitcode(status), dead.ready_s is not None, dead.failure)

    def schedule(self, now_s: float) -> float:
        """Want another child after the back-off, and give its delay in seconds."""
        self.restart_at_s = now_s + self.back_off.delay_s
        self.role.row[Cell.RESTARTED_NS] = int(now_s * 1e9)
        self.role.row.add(Cell.RESTARTS)  # nobody else writes here while the place is empty
        return self.back_off.delay_s

    def watch(self, now_s: float, *, limit_s: float, watched_since_s: float) -> None:
        """Send again what its channel had no room for, and end a child that hangs.

        Args:
            limit_s: how old its heartbeat may be.
            watched_since_s: since when the supervisor itself has not been away.
        """
        if self.child is None:
            return
        self._tell_again()
        beat_s = max(self.role.row[Cell.HEARTBEAT_NS] / 1e9, self.child.forked_s, watched_since_s)
        aborted_s = None if self.child.aborted_s is None else now_s - self.child.aborted_s
        match cure(silent_s=now_s - beat_s, limit_s=limit_s, was_ready=self.is_ready, aborted_s=aborted_s):
            case Cure.ABORT:
                _log.error("%s, pid %d, hangs: no heartbeat for %.1f s", self.role.name, self.child.pid, now_s - beat_s)
                self.child.aborted_s = now_s
                self.kill(signal.SIGABRT)
            case Cure.KILL:
                self.kill(signal.SIGKILL)
            case Cure.NONE:
                return

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to the child, by its pidfd: never to somebody who got its number later."""
        if self.child is not None:
            signal.pidfd_send_signal(self.child.pidfd, number)

    def _read(self) -> bytes:
        assert self.child is not None
        payload, descriptors = receive_message(self.child.channel)
        close_all(descriptors)  # no report carries any
        return payload

    def _note(self, message: ReportMessage, now_s: float) -> None:
        assert self.child is not None
        match message.report:
            case Report.READY:
                self.child.ready_s = now_s
            case Report.CONFIGURED:
                self.child.is_current = True
            case Report.HELD:
                self.child.is_held = True
            case Report.FAILED:
                self.child.failure = message.message
            case Report.DRAINED if self.role.carries_sessions:
                _log.info("%s has no session left", self.role.name)


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:  # no descriptor left: a child that nobody can watch must not live
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise

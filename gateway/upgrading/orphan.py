"""Programs that are nobody's children from the first, and so outlive in good order whoever started them.

init, or the service manager, is the parent of an orphan. systemd waits at a stop only for a main process that is its
own child, and only then learns when it dies: a main process that another one of the service had started would be killed
with all the rest as soon as it was told to end (unit_kill_context in systemd's src/core/unit.c).
"""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn

from gateway import signals
from pools.net.errors import StartError
from pools.net.fd_passing import ChannelError, close_all, receive_message, send_message, socket_pair

_LIMIT_S: Final = 10.0  # for a fork and an exec


@dataclass(frozen=True, slots=True)
class Orphan:
    """A program that runs.

    Attributes:
        pidfd: readable once it has ended. Who collects it is not told how: that is init's to know. Owned.
        stderr: what it says there can be read here; non-blocking, owned.
    """

    pid: int
    pidfd: int
    stderr: int

    def kill(self) -> None:
        """End it at once, unless it has ended."""
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return


def spawn(command: Sequence[str], *, environment: Mapping[str, str], kept: Sequence[int] = ()) -> Orphan:
    """Start a program, by a process in between that ends at once.

    Args:
        command: the program's path and its arguments.
        environment: all of it.
        kept: descriptors that the program gets besides stdin, stdout and stderr.

    Returns:
        The program, whose descriptors the caller owns.

    Raises:
        StartError: it cannot be executed, or there is no process or descriptor left.
    """
    try:
        ours, theirs = socket_pair()
        with ours:
            with theirs, signals.held_back():
                between = os.fork()
                if between == 0:
                    _start(theirs, command, environment, kept)
            try:
                return _started(ours)
            finally:
                os.kill(between, signal.SIGKILL)  # it has said its last word, or hangs, on a disk that does not answer
                os.waitpid(between, 0)
    except (OSError, ChannelError) as error:
        raise StartError(f"cannot execute {command[0]}: {error}") from error


def _started(channel: socket.socket) -> Orphan:
    channel.settimeout(_LIMIT_S)
    told, descriptors = receive_message(channel)
    if len(descriptors) != 2:
        close_all(descriptors)
        raise ChannelError(told.decode(errors="replace") or "the process that was to start it ended without a word")
    pidfd, stderr = descriptors
    os.set_blocking(stderr, False)
    return Orphan(int(told), pidfd, stderr)


# What the process in between does.


def _start(
    channel: socket.socket, command: Sequence[str], environment: Mapping[str, str], kept: Sequence[int]
) -> NoReturn:
    try:
        _be_nobody()
        process = subprocess.Popen(command, env=environment, pass_fds=kept, stderr=subprocess.PIPE)
        _tell(channel, process)
    except OSError as error:
        with suppress(ChannelError):
            send_message(channel, str(error).encode())
    finally:
        os._exit(0)  # whatever happened: never back into the caller's stack


def _be_nobody() -> None:
    """Give signals back the meaning that they have for a program that was just executed."""
    signals.ignore_all()
    for number in signals.HEARD:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.HEARD)


def _tell(channel: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    assert process.stderr is not None
    try:
        send_message(channel, b"%d" % process.pid, (os.pidfd_open(process.pid), process.stderr.fileno()))
    except (OSError, ChannelError):  # a program that nobody watches must not live
        process.kill()
        raise

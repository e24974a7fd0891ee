"""Signals as something to wait for with a selector. What they mean is the supervisor's business."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

HEARD: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class SignalInbox:
    """Notes the signals of HEARD, which no longer interrupt anything. Owns its pipe; one per process.

    The interpreter's own C handler writes each number into the pipe, so none of our code runs in a handler.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in HEARD:
            signal.signal(number, _note)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """What to select on."""
        return self._reader

    def take(self) -> list[signal.Signals]:
        """Give the signals that came since the last call, in order."""
        try:
            return [signal.Signals(number) for number in os.read(self._reader, 4096)]
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Stop noting. Signals of HEARD are ignored from here on, until somebody says otherwise."""
        ignore_all()
        os.close(self._reader)
        os.close(self._writer)


def ignore_all() -> None:
    """Be deaf to HEARD.

    A terminal sends SIGINT and SIGHUP to the whole process group, a service manager SIGTERM to the whole cgroup. Only
    the supervisor acts on them; its children hear of it over their channels and can finish their sessions.
    """
    signal.set_wakeup_fd(-1)
    for number in HEARD:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold back HEARD around a fork: a child that has not yet changed its handlers must not write into our pipe."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _note(number: int, frame: object) -> None:
    """Do nothing: that a handler is there makes the interpreter write `number` to the wakeup descriptor."""

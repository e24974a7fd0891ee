"""The new supervisor's process, as the old one starts and watches it.

What is executed is this process's own command line, by the same paths, in the same directory and with the same
environment: what an upgrade has put in their place is what runs. That may be another virtual environment, where a link
leads to another one than before. No shell reads it, and nothing of it comes from whoever asked for the upgrade.
"""

import logging
import os
import selectors
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

from gateway.upgrading.orphan import Orphan, spawn

HANDOVER_VARIABLE: Final = "MIDMILE_HANDOVER"
"""In the new supervisor's environment: the descriptor by which it hears from the old one, a colon, its pid."""

_log = logging.getLogger(__name__)

_TAIL_BYTES: Final = 4_096
_READ_BYTES: Final = 65_536  # all that a pipe holds (pipe(7))


class Heir:
    """A supervisor that was just started. What it says on stderr comes into our log, until it has that one itself.

    Args:
        orphan: owned from here on.
        on_death: called once, when it has ended.

    Attributes:
        lives: it has not ended.
    """

    def __init__(self, orphan: Orphan, selector: selectors.BaseSelector, *, on_death: Callable[[], None]) -> None:
        self.pid = orphan.pid
        self.lives = True
        self._orphan = orphan
        self._stderr = os.fdopen(orphan.stderr, "rb", buffering=0)
        self._selector = selector
        self._on_death = on_death
        self._tail = b""
        self._pidfd = orphan.pidfd
        selector.register(self._stderr, selectors.EVENT_READ, self._on_words)
        selector.register(self._pidfd, selectors.EVENT_READ, self._bury)

    @classmethod
    def start(
        cls,
        channel: socket.socket,
        selector: selectors.BaseSelector,
        *,
        environment: Mapping[str, str],
        on_death: Callable[[], None],
    ) -> Self:
        """Execute this process's command line once more.

        Args:
            channel: its end of the channel; closed here.
            environment: variables on top of ours.

        Raises:
            StartError: it cannot be executed, or there is no process or descriptor left.
        """
        announced = {**os.environ, **environment, HANDOVER_VARIABLE: f"{channel.fileno()}:{os.getpid()}"}
        with channel:
            orphan = spawn(command_line(sys.orig_argv), environment=announced, kept=[channel.fileno()])
        return cls(orphan, selector, on_death=on_death)

    @property
    def last_words(self) -> str:
        """The last that it said on stderr."""
        return self._tail.decode(errors="replace").strip()

    def kill(self) -> None:
        """End it at once; `on_death` comes in its time."""
        if self.lives:
            self._orphan.kill()

    def leave(self) -> None:
        """Close its descriptors: in a forked child, too, where they are not its own."""
        if not self._stderr.closed:
            self._stderr.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _on_words(self) -> None:
        """Read once: one that talks without end must not keep the event loop from ending it."""
        if self._stderr.closed:
            return
        try:
            said = os.read(self._stderr.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        if not said:
            self._selector.unregister(self._stderr)
            self._stderr.close()
        self._tail = (self._tail + said)[-_TAIL_BYTES:]
        for line in said.decode(errors="replace").splitlines():
            _log.warning("the new supervisor says: %s", line)

    def _bury(self) -> None:
        if self._pidfd < 0:
            return
        self.lives = False
        self._on_words()
        self._selector.unregister(self._pidfd)
        if not self._stderr.closed:  # somebody else has it, too
            self._selector.unregister(self._stderr)
        self.leave()
        self._on_death()


def command_line(original: Sequence[str]) -> Sequence[str]:
    """Give what to execute, where a process was started by `original` (sys.orig_argv).

    A script that names its interpreter is executed by itself: a link on its way may lead to another installation now,
    and then that one's interpreter is the right one.
    """
    _, *said = original
    return said if said and _names_its_interpreter(said[0]) else [sys.executable, *said]


def _names_its_interpreter(path: str) -> bool:
    if os.sep not in path or not os.access(path, os.X_OK):
        return False
    try:
        with open(path, "rb") as script:
            return script.read(2) == b"#!"
    except OSError:
        return False

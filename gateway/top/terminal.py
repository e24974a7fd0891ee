"""A terminal taken over for pictures, and given back as it was, also around Ctrl-Z. Knows nothing of gateways."""

import os
import select
import signal
import termios
import tty
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from enum import Enum, auto
from types import FrameType
from typing import Any, Final, Self, TextIO

from rich.console import Console, ConsoleDimensions, Group
from rich.text import Text

from gateway.top.picture import Size
from pools.net.clock import monotonic_s

_USUAL: Final = Size(80, 24)
_QUITS: Final = frozenset(b"qQ\x04")  # and Ctrl-C, which is a signal
_HEARD: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH, signal.SIGTSTP)


class Event(Enum):
    """What happens at a terminal between two pictures."""

    QUIT = auto()
    REDRAW = auto()


def refusal(*, is_terminal: bool, term: str) -> str:
    """Say why nothing can be drawn; empty where it can.

    Args:
        is_terminal: standard output is one.
        term: $TERM; empty where it is not set.
    """
    if not is_terminal:
        return "expected a terminal as standard output; found none: --once prints one sample, --json one line for each"
    if term in {"", "dumb", "unknown"}:
        found = f"TERM={term}" if term else "TERM not set"
        return f"expected a terminal that can place its cursor; found {found}: --once prints one sample"
    return ""


class Terminal:
    """Alternate screen without a cursor, keys without Enter, signals as events. A context manager, once.

    Args:
        output: a terminal.
        keyboard: descriptor of the terminal that keys come from; None for none.
    """

    def __init__(self, output: TextIO, keyboard: int | None) -> None:
        self._output = output
        self._keyboard = keyboard
        self._console = Console(file=output, force_terminal=True, highlight=False, markup=False, emoji=False)
        self._modes: list[Any] = []
        self._owned = ExitStack()
        self._signals = -1
        self._is_gone = False

    def __enter__(self) -> Self:
        self._hear_signals()
        self._take()
        self._owned.callback(self._give_back)
        return self

    def __exit__(self, *_: object) -> None:
        self._owned.close()

    @property
    def size(self) -> Size:
        """How large it is now."""
        with suppress(OSError):
            found = Size(*os.get_terminal_size(self._output.fileno()))
            if all(found):
                return found
        return _USUAL

    def draw(self, lines: Sequence[Text]) -> None:
        """Put a picture in the place of the last one; what does not fit is cut off."""
        size = self.size
        try:
            self._console.size = ConsoleDimensions(*size)
            self._console.update_screen(Group(*lines[: size.lines]))
        except OSError:  # it was closed: nobody is there to be told
            self._is_gone = True

    def wait(self, until_s: float) -> Event | None:
        """Wait for an event; None when it is `until_s` (monotonic clock)."""
        while not self._is_gone:
            sources = [self._signals] if self._keyboard is None else [self._signals, self._keyboard]
            ready, _, _ = select.select(sources, [], [], max(0.0, until_s - monotonic_s()))
            if not ready:
                return None
            if event := self._signalled() if self._signals in ready else self._typed():
                return event
        return Event.QUIT

    def _signalled(self) -> Event:
        numbers = set(os.read(self._signals, 4096))
        if numbers & {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}:
            return Event.QUIT
        if signal.SIGTSTP in numbers:
            self._give_back()
            os.kill(os.getpid(), signal.SIGSTOP)  # until the shell's fg
            self._take()
        return Event.REDRAW

    def _typed(self) -> Event | None:
        assert self._keyboard is not None
        try:
            typed = os.read(self._keyboard, 1024)
        except OSError:
            typed = b""
        return Event.QUIT if not typed or _QUITS & set(typed) else None

    def _take(self) -> None:
        if self._keyboard is not None:
            self._modes = termios.tcgetattr(self._keyboard)
            tty.setcbreak(self._keyboard, termios.TCSANOW)
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def _give_back(self) -> None:
        with suppress(OSError):
            self._console.show_cursor(True)
            self._console.set_alt_screen(False)
        with suppress(termios.error):
            if self._keyboard is not None:
                termios.tcsetattr(self._keyboard, termios.TCSANOW, self._modes)

    def _hear_signals(self) -> None:
        """Have the interpreter write each signal's number into a pipe, so that no code of ours runs in a handler."""
        self._signals, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._owned.callback(os.close, self._signals)
        self._owned.callback(os.close, writer)
        for number in _HEARD:
            self._owned.callback(signal.signal, number, signal.signal(number, _note))
        self._owned.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer, warn_on_full_buffer=False))


def _note(number: int, frame: FrameType | None) -> None:
    """Do nothing: that a handler is there makes the interpreter write to the wakeup descriptor."""

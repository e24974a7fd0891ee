"""A program that draws on a real terminal, and what it leaves behind."""

import os
import signal
import sys
import termios
from collections.abc import Iterator

import pytest

from gateway.top.terminal import refusal
from tests.gateway.screen import LIMIT_S, Screen

PROGRAM = """
import sys
from rich.text import Text
from gateway.top.terminal import Event, Terminal
from pools.net.clock import monotonic_s
drawn = 0
with Terminal(sys.stdout, sys.stdin.fileno() if len(sys.argv) < 2 else None) as terminal:
    while True:
        drawn += 1
        terminal.draw([Text(f"picture {drawn} of {terminal.size.columns} by {terminal.size.lines};")] * 99)
        if terminal.wait(monotonic_s() + 60) is Event.QUIT:
            break
print("the end")
"""


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen(sys.executable, "-c", PROGRAM)
    yield made
    made.close()


def test_the_terminal_is_taken_over_and_given_back_at_a_key(screen: Screen) -> None:
    begun = screen.wait_for("picture 1 of 80 by 24;")
    assert "\x1b[?1049h" in begun
    assert "\x1b[?25l" in begun
    assert termios.tcgetattr(screen.end)[3] & (termios.ICANON | termios.ECHO) == 0
    screen.type("x")
    screen.type("q")
    ended = screen.wait_for("the end")
    assert ended.index("\x1b[?1049l") > 0
    assert "\x1b[?25h" in ended
    assert "picture 2" not in ended
    assert screen.process.wait(LIMIT_S) == 0
    assert termios.tcgetattr(screen.end) == screen.modes


def test_a_picture_is_cut_to_the_terminal_and_drawn_anew_when_that_changes(screen: Screen) -> None:
    screen.wait_for("picture 1 of 80 by 24;")
    screen.resize(30, 4)
    screen.wait_for("picture 2 of 30 by 4;")
    screen.resize(90, 24)
    assert screen.wait_for("picture 3 of 90 by 24;").count("picture 2") == 3


def test_a_signal_that_ends_programs_gives_the_terminal_back(screen: Screen) -> None:
    screen.wait_for("picture 1")
    screen.process.send_signal(signal.SIGTERM)
    assert "\x1b[?1049l" in screen.wait_for("the end")
    assert screen.process.wait(LIMIT_S) == 0
    assert termios.tcgetattr(screen.end) == screen.modes


def test_a_stop_gives_the_terminal_back_until_it_goes_on(screen: Screen) -> None:
    screen.wait_for("picture 1")
    screen.process.send_signal(signal.SIGTSTP)
    screen.wait_for("\x1b[?1049l")
    _, status = os.waitpid(screen.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert termios.tcgetattr(screen.end) == screen.modes
    screen.process.send_signal(signal.SIGCONT)
    assert "\x1b[?1049h" in screen.wait_for("picture 2")
    screen.type("q")
    screen.wait_for("the end")


def test_without_a_keyboard_a_signal_ends_it() -> None:
    screen = Screen(sys.executable, "-c", PROGRAM, "no keyboard")
    try:
        screen.wait_for("picture 1")
        screen.process.send_signal(signal.SIGINT)
        screen.wait_for("the end")
    finally:
        screen.close()


@pytest.mark.parametrize(
    ("is_terminal", "term", "words"),
    [
        (True, "xterm-256color", ""),
        (False, "xterm", "expected a terminal as standard output"),
        (True, "dumb", "found TERM=dumb"),
        (True, "", "found TERM not set"),
    ],
)
def test_what_cannot_be_drawn_on_is_refused_with_what_to_do(is_terminal: bool, term: str, words: str) -> None:
    said = refusal(is_terminal=is_terminal, term=term)
    assert said.count("--once") == bool(words)
    assert words in said

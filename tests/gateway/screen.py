"""A terminal of the kernel's own with a program in it; the test holds its far end, and is who types and reads."""

import os
import pty
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_S = 30.0


class Screen:
    """The far end of a terminal in which a program runs.

    Args:
        words: the program's, itself the first.
        directory: where it runs; the tests' own where none is given.
    """

    def __init__(self, *words: str, columns: int = 80, lines: int = 24, directory: Path | None = None) -> None:
        self.end, inner = pty.openpty()
        termios.tcsetwinsize(self.end, (lines, columns))
        self.modes = termios.tcgetattr(self.end)
        self.process = subprocess.Popen(
            words,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            cwd=directory,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "20", "LINES": "5"},
        )
        os.close(inner)
        self.said = ""

    def wait_for(self, text: str) -> str:
        """Read until `text` was said since the last call, and give all that was."""
        deadline_s = time.monotonic() + LIMIT_S
        while text not in self.said:
            ready, _, _ = select.select([self.end], [], [], max(0.0, deadline_s - time.monotonic()))
            assert ready, f"expected {text!r} on the terminal; found {self.said!r}"
            self.said += os.read(self.end, 65_536).decode()
        found, _, self.said = self.said.partition(text)
        return found + text

    def resize(self, columns: int, lines: int) -> None:
        termios.tcsetwinsize(self.end, (lines, columns))
        self.process.send_signal(signal.SIGWINCH)  # the kernel tells only those whose controlling terminal it is

    def type(self, keys: str) -> None:
        os.write(self.end, keys.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT_S)
        os.close(self.end)

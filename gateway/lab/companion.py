"""A process of ours that obeys commands, and that ends when its owner does, whatever becomes of that one.

The two speak JSON over the companion's standard input and output, one object a line. The first line in says what to
set up, each other one is a command; each has one answer. The end of input is the companion's end.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pools.net.errors import StartError

ROOT: Final = Path(__file__).parents[2]
"""From where `gateway` can be imported, installed or not."""


class Companion:
    """A companion that runs, from the owner's side. Ended with `close`.

    Args:
        module: what it runs, as in `gateway.lab.wan_process`.
        called: what messages call it, as in "the emulated WAN".
    """

    def __init__(self, module: str, *, called: str) -> None:
        self._called = called
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C is for the owner, who may still need it to end well
        )

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def ask(self, question: Mapping[str, Any]) -> Any:
        """Give the answer to one line.

        Raises:
            StartError: what was asked for cannot be done, and why; or it has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended: then there is no answer either
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or b'{"error": "its process has ended"}')
        if "error" in answer:
            raise StartError(f"{self._called}: {answer['error']}")
        return answer

    def close(self, *, patience_s: float) -> None:
        """Tell it to end, and end it by force after `patience_s`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

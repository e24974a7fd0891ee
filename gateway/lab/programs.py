"""Runs programs at sites of an emulated WAN, so that neither they nor their files outlive whoever holds this.

    with Programs() as programs:
        file = programs.write("gateway.toml", text)
        programs.start("oregon", [sys.executable, "-m", "gateway.cli", "start", ..], wan.namespace("oregon"))

They are children of a companion, which keeps their directory too: see gateway.lab.programs_process.
"""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gateway.lab.companion import Companion
from gateway.lab.programs_process import PATIENCE_S
from pools.net.clock import monotonic_s
from pools.net.errors import StartError

_SAID_BYTES: Final = 4_000  # the end of what a program wrote: enough for its start, and for a message about it
_TICK_S: Final = 0.02


class Programs:
    """Programs that run, and their directory. A context manager; or end it with `close`.

    Attributes:
        directory: empty to begin with, and ours alone; gone with all it holds once the programs have ended.
    """

    def __init__(self) -> None:
        self._companion = Companion("gateway.lab.programs_process", called="the lab's programs")
        try:
            self.directory = Path(self._companion.ask({})["directory"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the companion."""
        return self._companion.pid

    def write(self, name: str, content: str) -> Path:
        """Write a file that nobody else can read, and give its path."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(content)
        return path

    def start(self, name: str, argv: Sequence[str], namespace: Path) -> int:
        """Begin to run a program.

        Args:
            name: of no other program; `said` knows it by this.
            namespace: of the network, where it stands.

        Returns:
            Its process id.

        Raises:
            StartError: it does not exist, or the namespace does not.
        """
        command = {"name": name, "argv": list(argv), "namespace": str(namespace)}
        return int(self._companion.ask({"start": command})["pid"])

    def has_ended(self, name: str) -> bool:
        """Tell whether a program that was started runs no more."""
        return bool(self._companion.ask({"ended": name})["ended"])

    def said(self, name: str) -> str:
        """Give the end of what a program wrote on its standard output and error."""
        return (self.directory / f"{name}.log").read_text(errors="replace")[-_SAID_BYTES:].strip()

    def wait_said(self, name: str, pattern: str, *, until_s: float) -> None:
        """Return once a program has written a line that `pattern` is found in.

        Args:
            until_s: on the monotonic clock.

        Raises:
            StartError: it ended, or the time is up; the message has what it wrote instead.
        """
        while not re.search(pattern, said := self.said(name), re.MULTILINE):
            if self.has_ended(name) or monotonic_s() > until_s:
                raise StartError(f"{name}: expected it to say {pattern!r}; found: {said or 'nothing'}")
            time.sleep(_TICK_S)

    def close(self) -> None:
        """End all programs, in order where they do, and remove the directory."""
        self._companion.close(patience_s=2 * PATIENCE_S)

"""Runs programs at sites of an emulated WAN, so that neither they nor their files outlive whoever holds this.

    with Programs() as programs:
        file = programs.write("gateway.toml", text)
        programs.start("oregon", [sys.executable, "-m", "gateway.cli", "start", ..], wan.namespace("oregon"))

They are children of a companion, which keeps their directory too: see gateway.lab.programs_process.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gateway.lab.companion import Companion
from gateway.lab.programs_process import PATIENCE_S

_SAID_BYTES: Final = 1_500  # of what a program wrote, for a message about it


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

    def close(self) -> None:
        """End all programs, in order where they do, and remove the directory."""
        self._companion.close(patience_s=2 * PATIENCE_S)

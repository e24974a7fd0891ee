"""The process whose children the lab's programs are: starts them at their sites, ends them. See gateway.lab.programs.

A companion: gateway.lab.companion says how it is spoken to. When its input ends, because its owner did in whatever way,
it ends all programs and removes their directory. Should it be killed itself, the kernel asks them to end.

    {}                                                                       answered by their directory
    {"start": {"name": "a", "argv": [..], "namespace": "/proc/../fd/5"}}     answered by the process id
    {"ended": "a"}                                                           whether it has
"""

import ctypes
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from os import killpg
from pathlib import Path
from typing import Any, Final

from gateway.lab import network_namespace
from gateway.lab.companion import ROOT
from pools.net.clock import monotonic_s

PATIENCE_S: Final = 5.0
"""How long programs may take to end once they are asked to."""

_PREFIX: Final = "midmile-lab-"
_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG, prctl(2)
_libc: Final = ctypes.CDLL(None, use_errno=True)
Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """Programs by name, and the directory that holds what they write."""

    directory: Path
    programs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def obey(self, command: Table) -> Table:
        """Do what one command says and give the answer to it."""
        if "ended" in command:
            return {"ended": self.programs[command["ended"]].poll() is not None}
        try:
            return {"pid": self._start(**command["start"])}
        except OSError as error:
            return {"error": f"{command['start']['argv'][0]}: {error}"}

    def end(self) -> None:
        """Ask all programs to end; after a while end by force whoever is left of them and of their children."""
        for program in self.programs.values():
            program.terminate()
        until_s = monotonic_s() + PATIENCE_S
        for program in self.programs.values():
            with suppress(subprocess.TimeoutExpired):
                program.wait(max(0.0, until_s - monotonic_s()))
            with suppress(ProcessLookupError):  # the usual case: nobody is left
                killpg(program.pid, signal.SIGKILL)
            program.wait()

    def _start(self, *, name: str, argv: list[str], namespace: str) -> int:
        log = self.directory / f"{name}.log"
        with log.open("ab") as sink, network_namespace.entered(Path(namespace)):
            program = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd=ROOT,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  # it deadlocks beside threads; there is only one here
            )
        self.programs[name] = program
        return program.pid


def _end_with_parent() -> None:
    _libc.prctl(_DEATH_SIGNAL, signal.SIGTERM)


def answer(found: Table) -> None:
    """Write one line."""
    print(json.dumps(found), flush=True)


def main() -> int:
    """Run programs until standard input ends."""
    sys.stdin.readline()
    with ExitStack() as undo:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        stage = Stage(directory)
        undo.callback(stage.end)
        answer({"directory": str(directory)})
        for line in sys.stdin:
            answer(stage.obey(json.loads(line)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

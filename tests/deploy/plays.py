"""Running a playbook and reading what it says it did."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from pools.net.clock import monotonic_s

ANSIBLE: Final = Path(__file__).parents[2] / "deploy" / "ansible"
_RECAP: Final = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)\s", re.MULTILINE)
_LIMIT_S: Final = 1500
_CONNECT_S: Final = 60  # ssh's 10 s may be short beside a load


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a playbook.

    Attributes:
        changed: tasks that changed something, by host.
        failed: hosts that failed or were not reached.
    """

    exit_code: int
    output: str
    changed: dict[str, int]
    failed: tuple[str, ...]

    def well(self) -> "Played":
        """Give this back; where it failed, raise with the end of what it said."""
        assert self.exit_code == 0, f"exit code {self.exit_code}\n{self.output[-6000:]}"
        return self


@dataclass(frozen=True, slots=True)
class Controller:
    """Where playbooks are run.

    Attributes:
        inventory: a file; the key is kept beside it.
        scratch: for all that Ansible writes.
        program: ansible-playbook.
        vault_password: a file.
    """

    inventory: Path
    scratch: Path
    program: str
    vault_password: Path

    def vault(self, *arguments: str | Path) -> str:
        """Run ansible-vault and give what it prints."""
        command = [Path(self.program).with_name("ansible-vault"), *arguments]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def transcript(self) -> Path:
        """What all plays have said."""
        return self.scratch / "plays.log"

    def play(self, book: str, *arguments: str) -> Played:
        """Run a playbook."""
        began_s = monotonic_s()
        command = [self.program, "-i", str(self.inventory), str(ANSIBLE / f"{book}.yml"), *arguments]
        with self.transcript.open("a+", encoding="utf-8") as transcript:
            begin = transcript.tell()
            exit_code = _run(command, self._environment(), transcript)
            transcript.seek(begin)
            output = transcript.read()
        took = f"{monotonic_s() - began_s:.0f} s, exit code {exit_code}"
        print(f"\n  {book} {' '.join(arguments)}: {took}", flush=True)
        rows = _RECAP.findall(output)
        changed = {host: int(number) for host, _, number, _, _ in rows}
        failed = tuple(host for host, _, _, unreachable, bad in rows if int(unreachable) or int(bad))
        return Played(exit_code, output, changed, failed)

    def _environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        sockets = {
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.scratch / "ssh"),
            "ANSIBLE_HOME": str(self.scratch / "ansible"),
        }
        return {
            **ours,
            **sockets,
            "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_TIMEOUT": str(_CONNECT_S),
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.vault_password),
            "LC_ALL": "C.UTF-8",
        }


def _run(command: Sequence[str], environment: Mapping[str, str], transcript: TextIO) -> int:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=transcript,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=_LIMIT_S,
            env=environment,
        ).returncode
    except subprocess.TimeoutExpired:
        transcript.write(f"not done within {_LIMIT_S} s\n")
        return -1

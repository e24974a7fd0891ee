"""Programs that scenarios run: found or the test is skipped, started, waited for, ended. Knows no program by itself."""

import glob
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.bench.processes import wait_listening

ROOT: Final = Path(__file__).parents[3]
LIMIT_S: Final = 30.0
"""How long anything may take before the test fails; far beyond what a loaded machine needs."""

_STOP_S = 15.0
_ELSEWHERE = ("/usr/sbin", "/sbin", "/usr/lib/postgresql/*/bin")  # where Debian has programs that are not on every PATH
_PACKAGES = {
    "chromium": "chromium",
    "curl": "curl",
    "haproxy": "haproxy",
    "initdb": "postgresql",
    "iperf3": "iperf3",
    "nginx": "nginx",
    "pgbench": "postgresql-contrib",
    "postgres": "postgresql",
    "promtool": "prometheus",
    "psql": "postgresql-client",
    "redis-benchmark": "redis-tools",
    "redis-cli": "redis-tools",
    "redis-server": "redis-server",
    "scp": "openssh-client",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
}


def require(program: str) -> str:
    """Give the path of `program`, or skip the test and name the Debian package to install."""
    places = [os.environ.get("PATH", os.defpath), *(place for each in _ELSEWHERE for place in glob.glob(each))]
    path = shutil.which(program, path=os.pathsep.join(places))
    if path is None:
        pytest.skip(f"needs {program}: apt-get install {_PACKAGES[program]}")
    return path


@dataclass(frozen=True, slots=True)
class Terms:
    """How a program is run.

    Attributes:
        ports: what it must listen on before the block begins.
        stop: the signal that ends it.
        user: who it runs as; None for whoever runs the tests. Only root can run a program as another user.
        environment: variables on top of the tests' own.
    """

    ports: Sequence[int] = ()
    stop: signal.Signals = signal.SIGTERM
    user: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def running(argv: Sequence[str], log: Path, *, terms: Terms | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, in a process group of its own, for as long as the block lasts; its output goes to `log`."""
    terms = terms or Terms()
    with log.open("ab") as sink:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            user=terms.user,
            group=terms.user,
            extra_groups=None if terms.user is None else [],
            env=os.environ | terms.environment,
        )
    try:
        if terms.ports:
            wait_listening(process, terms.ports, log)
        yield process
    finally:
        end(process, terms.stop)


def end(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> None:
    """Ask the leader of a process group to end; then end by force whoever of the group is left."""
    process.send_signal(number)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    with suppress(ProcessLookupError):  # the usual case: nobody is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_STOP_S)


def run(argv: Sequence[str], *, stdin: bytes = b"", code: int | None = 0) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end and give what it wrote.

    Args:
        code: the exit code it must have; None for any.
    """
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=LIMIT_S, check=False, cwd=ROOT)
    said = f"{list(argv)} ended with {done.returncode}: {done.stderr.decode(errors='replace')}{done.stdout[-800:]!r}"
    assert code is None or done.returncode == code, said
    return done

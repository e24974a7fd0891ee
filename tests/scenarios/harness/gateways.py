"""The real gateway, as an operator runs it: a process of its own, started from a file, ended by Ctrl-C.

Looks at it only from outside: its command line, its log, its admin page, /proc.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil
from prometheus_client.parser import text_string_to_metric_families

from gateway.commands.running import ask_supervisor, read_status
from tests.bench.processes import free_ports
from tests.scenarios.harness.access_lines import line_of
from tests.scenarios.harness.configuration import Table, at, to_toml
from tests.scenarios.harness.log_lines import LogLines
from tests.scenarios.harness.programs import LIMIT_S, ROOT
from tests.scenarios.harness.successors import Successor

COMMAND: Final = (sys.executable, "-c", "from gateway.cli import main; main()")  # as installed, but of this tree
_TICK_S = 0.02
_DRAIN_S = 2


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `gateway` to its end, whatever its exit code."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


class Gateway:
    """A gateway that runs.

    Args:
        words: what follows `gateway start`.
        runtime_dir: the one that those words lead to.
        environment: variables on top of the tests' own.
        under: a command that becomes the one that follows it, as prlimit(1) and taskset(1) do.
    """

    def __init__(
        self,
        words: Sequence[str],
        runtime_dir: Path,
        *,
        environment: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
    ) -> None:
        self.runtime_dir = runtime_dir
        self.retired: list[subprocess.Popen[bytes] | Successor] = []
        self.process: subprocess.Popen[bytes] | Successor = subprocess.Popen(
            [*under, *COMMAND, "start", *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | (environment or {}),
        )
        assert self.process.stderr is not None
        self._group = self.process.pid  # of every process of it, also after an upgrade
        self.log = LogLines(self.process.stderr)
        self._sockets_when_ready: dict[int, int] = {}

    @classmethod
    def configured(
        cls,
        directory: Path,
        listens: Sequence[Table],
        tables: Mapping[str, Mapping[str, Any]],
        *,
        environment: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
    ) -> "Gateway":
        """Start one from a file with these listeners and tables: two workers, its admin page on a free port.

        Args:
            directory: its own; made here.
            tables: by name; what they say goes before what is said here.
            environment, under: as for the class.
        """
        directory.mkdir()
        usual: dict[str, Table] = {
            "gateway": {"workers": 2, "runtime_dir": str(directory / "run")},
            "timeouts": {"drain": _DRAIN_S},
            "admin": {"http": at(free_ports(1)[0])},
        }
        told = {name: {**usual.get(name, {}), **tables.get(name, {})} for name in [*usual, *tables]}
        file = directory / "gateway.toml"
        file.write_text(to_toml(listens, told))
        return cls(["--config", str(file)], directory / "run", environment=environment, under=under)

    def wait_ready(self) -> "Gateway":
        """Return once it says that it is ready, and note what it holds then."""
        self.line(r"supervisor info: ready: |\"message\":\"ready: ")
        self._sockets_when_ready = {pid: _sockets(pid) for pid in self.worker_pids()}
        return self

    def line(self, pattern: str) -> re.Match[str]:
        """Give the first line of its log that `pattern` is found in; waits for it."""
        return self.lines(pattern)[0]

    def lines(self, pattern: str, *, count: int = 1) -> list[re.Match[str]]:
        """Give all lines of its log that `pattern` is found in; waits until there are `count`."""
        return self.log.wait_for(pattern, count=count, limit_s=LIMIT_S)

    def wait_until(self, fact: Callable[[], bool], *, expected: str) -> None:
        """Return once `fact` holds, looked at every 20 ms while the gateway lives."""
        for _ in range(int(LIMIT_S / _TICK_S)):
            if fact():
                return
            with suppress(subprocess.TimeoutExpired):
                code = self.process.wait(_TICK_S)
                raise AssertionError(f"the gateway ended with {code}; expected that {expected}:\n{self.log.text()}")
        raise AssertionError(f"expected within {LIMIT_S:g} s that {expected}:\n{self.log.text()}")

    def sessions_logged(self, listener: str, *, count: int = 1) -> list[dict[str, str]]:
        """Give the access log's text lines of a listener by column, see access_lines; waits until there are `count`."""
        return [match.groupdict() for match in self.lines(line_of(listener), count=count)]

    def port(self, listener: str) -> int:
        """Give the port of a listener, by its name."""
        return int(self.line(rf":(\d+) \({re.escape(listener)}, ")[1])

    @property
    def admin(self) -> tuple[str, int]:
        """Host and port of its admin page."""
        found = self.line(r"admin http://(\S+):(\d+);")
        return found[1].strip("[]"), int(found[2])

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `gateway` about this one."""
        return command(*words, "--runtime-dir", str(self.runtime_dir))

    def status(self) -> dict[str, Any]:
        """Give what `gateway status --json` prints, without the command, which takes longer."""
        found = read_status(self.runtime_dir, over_s=0)
        assert found.is_supervisor_alive
        return found.as_dict() | {"gateway": ask_supervisor(self.runtime_dir)}

    def get(self, path: str) -> tuple[int, str]:
        """Get a page of its admin; give status and body."""
        host, port = self.admin
        connection = http.client.HTTPConnection(host, port, timeout=LIMIT_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """Give every sample of /metrics, by name and labels as in `midmile_sessions_failed_total{reason="resolve"}`."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return {_sample_name(s.name, s.labels): s.value for family in families for s in family.samples}

    def upgrade(self) -> subprocess.CompletedProcess[str]:
        """Run `gateway upgrade --json`; where it succeeds, this is about the new supervisor from then on."""
        done = self.command("upgrade", "--json")
        if done.returncode == 0:
            self.retired.append(self.process)
            self.process = Successor(json.loads(done.stdout)["pid"])
            self._sockets_when_ready.clear()
        return done

    def worker_pids(self) -> list[int]:
        """Give the pids of its workers, in slot order."""
        return [pid for name, pid in sorted(self._children().items(), key=_slot) if name.startswith("gateway-w")]

    def resident_bytes(self) -> int:
        """Give what supervisor and children hold of memory, all pages counted wherever they are mapped."""
        pids = [self.process.pid, *self._children().values()]
        return sum(psutil.Process(pid).memory_info().rss for pid in pids)

    def expect_rest(self) -> None:
        """Hold it to having closed every socket of every session: no worker has more than it was ready with."""
        for pid in self.worker_pids():
            allowed = self._sockets_when_ready.get(pid)
            if allowed is not None:  # not a successor of one that was killed
                self.wait_until(partial(_has_at_most, pid, allowed), expected=f"process {pid} has {allowed} sockets")

    def end(self, *, code: int = 0, how: Callable[[], object] | None = None) -> None:
        """End it, and hold it to leaving nothing: no process, no socket or pid file, no traceback.

        Args:
            code: the exit code it must have.
            how: what makes it end; SIGINT where not given.
        """
        family = psutil.Process(self.process.pid).children(recursive=True)
        (how or (lambda: self.process.send_signal(signal.SIGINT)))()
        found = self.process.wait(LIMIT_S)
        assert [each.wait(LIMIT_S) for each in self.retired] == [0] * len(self.retired), self.log.text()
        _, alive = psutil.wait_procs(family, timeout=0)
        assert not alive, f"still there after the gateway has ended: {alive}\n{self.log.text()}"
        self.log.close(LIMIT_S)
        assert found == code, f"ended with {found}, expected {code}:\n{self.log.text()}"
        left = [name for name in ("control.sock", "supervisor.pid", "scoreboard") if (self.runtime_dir / name).exists()]
        assert not left, f"left in its runtime directory: {left}"
        assert "Traceback" not in self.log.text(), self.log.text()

    def abandon(self) -> None:
        """End it by force if it still runs, for a test that has failed, and close its log."""
        with suppress(ProcessLookupError):  # the usual case: nobody is left
            os.killpg(self._group, signal.SIGKILL)
        for each in (*self.retired, self.process):
            each.wait(LIMIT_S)
        self.log.close(LIMIT_S)

    @property
    def is_running(self) -> bool:
        """It has not ended."""
        return self.process.poll() is None

    def _children(self) -> dict[str, int]:
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it ends as we look
                found[child.name()] = child.pid
        return found


@contextmanager
def running_gateway(
    directory: Path,
    *listens: Table,
    environment: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
    **tables: Mapping[str, Any],
) -> Iterator[Gateway]:
    """Run a gateway for as long as the block lasts, as fixture start_gateway does for one test; see there."""
    gateway = Gateway.configured(directory, listens, tables, environment=environment, under=under)
    try:
        yield gateway.wait_ready()
        gateway.expect_rest()
        gateway.end()
    finally:
        gateway.abandon()


def _slot(named: tuple[str, int]) -> tuple[int, str]:
    return len(named[0]), named[0]  # gateway-w10 comes after gateway-w9


def _has_at_most(pid: int, sockets: int) -> bool:
    return _sockets(pid) <= sockets


def _sockets(pid: int) -> int:
    """Count the sockets of a process; one that closes while we look counts for none."""
    count = 0
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            count += os.readlink(entry.path).startswith("socket:")
    return count


def _sample_name(name: str, labels: Mapping[str, str]) -> str:
    if not labels:
        return name
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"

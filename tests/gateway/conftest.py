"""Gateways in processes of their own, with workers from small_gateway.py, ended whatever the test does."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 30.0


class Gateway:
    """A gateway under test. Every wait is for a fact and has an end."""

    def __init__(self, runtime_dir: Path, wish: dict[str, object], *, may_capture: bool = True) -> None:
        self.runtime_dir = runtime_dir
        usual = {"port": 0, "workers": 1, "peers": 0, "heartbeat_s": 10.0, "main": "serve", "broker": "serve"}
        usual |= {"more_listeners": [], "sessions": 1000, "again": "", "has_admin": False, "admin": "fail in office"}
        usual |= {"next": str(runtime_dir.with_name("next")), "ready_s": 60.0}
        wish = usual | {"early_syn": False, "memory_limit": 0, "runtime_dir": str(runtime_dir)} | wish
        rights = [] if may_capture or os.geteuid() else ["setpriv", "--bounding-set=-net_raw"]
        self.process = subprocess.Popen(
            [*rights, sys.executable, str(Path(__file__).with_name("small_gateway.py")), json.dumps(wish)],
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self.said = ""
        self.port = 0

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until stderr says `pattern`, after what was waited for before."""
        deadline_s = time.monotonic() + LIMIT_S
        assert self.process.stderr is not None
        while not (match := re.search(pattern, self.said)):
            ready, _, _ = select.select([self.process.stderr], [], [], max(0.0, deadline_s - time.monotonic()))
            chunk = os.read(self.process.stderr.fileno(), 65_536) if ready else b""
            assert chunk, f"expected {pattern!r} on stderr; found {self.said}"
            self.said += chunk.decode()
        self.said = self.said[match.end() :]
        return match

    def wait_ready(self) -> "Gateway":
        self.port = int(self.wait_for(r"ready: listening on 127\.0\.0\.1:(\d+).*\n")[1])
        return self

    def connect(self, word: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)
        connection.sendall(word)
        return connection

    def who(self) -> tuple[int, int]:
        """Slot and pid of a worker that serves, and that has closed its end of the asking when this returns."""
        slot, pid = self.answer(b"who")
        return slot, pid

    def answer(self, word: bytes) -> list[int]:
        """Give the numbers that a worker answers with."""
        said = b""
        with self.connect(word) as connection, suppress(ConnectionResetError):  # as listeners make it close
            while piece := connection.recv(100):
                said += piece
        return [int(number) for number in said.split()]

    def stay(self) -> socket.socket:
        """Begin a session."""
        connection = self.connect(b"stay")
        assert connection.recv(100) == b"staying"
        return connection

    def hang(self) -> None:
        """Make a worker hang, and return once it does."""
        with self.connect(b"hang") as connection:
            assert connection.recv(100) == b"hanging"

    def end(self) -> int:
        """Wait for the exit code."""
        return self.process.wait(LIMIT_S)

    def rest(self) -> str:
        """Everything it still says before its last process is gone."""
        assert self.process.stderr is not None
        return self.said + self.process.stderr.read().decode()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    started: list[Gateway] = []

    def start_one(*, may_capture: bool = True, **wish: object) -> Gateway:
        started.append(Gateway(tmp_path / "run", wish, may_capture=may_capture))
        return started[-1]

    yield start_one
    for gateway in started:
        with suppress(ProcessLookupError):  # the usual case: nobody is left, of a successor neither
            os.killpg(gateway.process.pid, signal.SIGKILL)
        gateway.process.wait(LIMIT_S)
        assert gateway.process.stderr is not None
        gateway.process.stderr.close()

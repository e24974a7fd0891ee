import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest

from gateway.signals import HEARD
from gateway.upgrading import orphan
from gateway.upgrading.orphan import Orphan, spawn
from pools.net.errors import StartError

LIMIT_S = 30.0
OVER = "that-is-all"


@pytest.fixture
def shell() -> Iterator["Shell"]:
    started = Shell()
    yield started
    started.close()


class Shell:
    """A program that does what it is told, one line at a time, and answers on stderr."""

    def __init__(self) -> None:
        self.line, theirs = socket.socketpair()
        with theirs:
            words = ["/bin/bash", "-c", f'while read -r word <&{theirs.fileno()}; do eval "$word" >&2; done']
            self.orphan = spawn(words, environment={"SEEN": "yes"}, kept=[theirs.fileno()])

    def says(self, word: str) -> str:
        self.line.sendall(f"{word}; echo {OVER}\n".encode())
        said = ""
        while not said.endswith(f"{OVER}\n"):  # it comes in as many pieces as the shell likes
            assert select.select([self.orphan.stderr], [], [], LIMIT_S)[0], f"expected {OVER}; found {said!r}"
            said += os.read(self.orphan.stderr, 4096).decode()
        return said.removesuffix(f"{OVER}\n").strip()

    def close(self) -> None:
        self.line.close()
        self.orphan.kill()
        wait_dead(self.orphan)
        os.close(self.orphan.pidfd)
        os.close(self.orphan.stderr)


def wait_dead(orphan: Orphan) -> None:
    assert select.select([orphan.pidfd], [], [], LIMIT_S)[0], f"expected {orphan} to end"


def test_it_is_nobodys_child_but_knows_what_it_was_given(shell: Shell) -> None:
    assert int(shell.says("echo $$")) == shell.orphan.pid
    assert int(shell.says("echo $PPID")) != os.getpid()
    assert shell.says('echo "$SEEN"') == "yes"
    with pytest.raises(ChildProcessError):
        os.waitpid(shell.orphan.pid, os.WNOHANG)
    assert not os.get_inheritable(shell.orphan.pidfd)
    assert not os.get_blocking(shell.orphan.stderr)


def test_signals_mean_to_it_what_they_mean_to_any_program(shell: Shell) -> None:
    lines = shell.says(r'mapfile -t lines < /proc/$$/status; printf "%s\n" "${lines[@]}"').splitlines()  # bash blocks
    masks = dict(line.split() for line in lines if line.startswith(("SigBlk:", "SigIgn:")))  # some while it forks
    heard = sum(1 << (number - 1) for number in HEARD)
    assert {name: int(mask, 16) & heard for name, mask in masks.items()} == {"SigBlk:": 0, "SigIgn:": 0}
    os.kill(shell.orphan.pid, signal.SIGTERM)
    wait_dead(shell.orphan)


def test_nothing_of_ours_stays_open_in_it_or_here(shell: Shell) -> None:
    with socket.socket() as ours:
        os.set_inheritable(ours.fileno(), True)
        before = len(os.listdir("/proc/self/fd"))
        other = Shell()
        assert f"socket:[{os.fstat(ours.fileno()).st_ino}]" not in other.says("ls -l /proc/$$/fd")
        other.close()
        assert len(os.listdir("/proc/self/fd")) == before


def test_killing_it_twice_is_no_error(shell: Shell) -> None:
    shell.orphan.kill()
    wait_dead(shell.orphan)
    shell.orphan.kill()


def test_what_cannot_be_executed_is_said_here() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StartError, match=r"cannot execute /nowhere/gateway: .*No such file or directory"):
        spawn(["/nowhere/gateway"], environment={})
    assert len(os.listdir("/proc/self/fd")) == before
    with suppress(ChildProcessError):
        assert os.waitpid(-1, os.WNOHANG) == (0, 0), "expected no zombie"


def test_what_does_not_start_in_time_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphan, "_LIMIT_S", 0.05)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: signal.pause())
    with pytest.raises(StartError, match=r"cannot execute /bin/true: .*timed out"):
        spawn(["/bin/true"], environment={})

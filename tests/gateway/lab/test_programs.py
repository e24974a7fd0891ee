import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gateway.lab.programs import Programs
from pools.net.clock import monotonic_s
from pools.net.errors import StartError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: enters network namespaces")

LIMIT_S = 20.0
HERE = Path("/proc/self/ns/net")
ROOT = Path(__file__).parents[3]
# Says that it is there, and waits; a child of its own does too, and neither minds being asked to end.
STUBBORN = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.fork(), flush=True)
signal.pause()
"""
POLITE = """
import signal
print("here", flush=True)
signal.pause()
"""


@pytest.fixture
def programs() -> Iterator[Programs]:
    with Programs() as held:
        yield held


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def said(programs: Programs, name: str, *, words: int) -> list[str]:
    """Give the words that a program has said, once there are so many."""
    programs.wait_said(name, r"\s+".join([r"\S+"] * words), until_s=monotonic_s() + LIMIT_S)
    return programs.said(name).split()


def require_gone(*pids: int) -> None:
    """Fail unless these processes end in time."""
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(processes, timeout=LIMIT_S)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_a_program_stands_in_its_namespace_and_what_it_says_is_kept(programs: Programs) -> None:
    programs.start(
        "one", python("import os, signal; print(os.readlink('/proc/self/ns/net'), flush=True); signal.pause()"), HERE
    )
    assert said(programs, "one", words=1) == [os.readlink(HERE)]


def test_an_end_is_noticed(programs: Programs) -> None:
    pid = programs.start("one", python(POLITE), HERE)
    said(programs, "one", words=1)
    assert not programs.has_ended("one")
    os.kill(pid, signal.SIGKILL)
    until_s = monotonic_s() + LIMIT_S
    while not programs.has_ended("one"):
        assert monotonic_s() < until_s


def test_waiting_for_words_ends_with_the_program_and_tells_what_it_said_instead(programs: Programs) -> None:
    programs.start("one", python("raise SystemExit('not today')"), HERE)
    with pytest.raises(StartError, match="(?s)one: expected it to say 'here'; found: not today"):
        programs.wait_said("one", "here", until_s=monotonic_s() + LIMIT_S)


def test_waiting_for_words_ends_with_its_time(programs: Programs) -> None:
    programs.start("one", python(POLITE), HERE)
    with pytest.raises(StartError, match="one: expected it to say 'there'"):
        programs.wait_said("one", "there", until_s=monotonic_s())


def test_what_cannot_be_run_is_named(programs: Programs) -> None:
    with pytest.raises(StartError, match="/no/such/program"):
        programs.start("one", ["/no/such/program"], HERE)
    with pytest.raises(StartError, match="/no/such/namespace"):
        programs.start("two", python(POLITE), Path("/no/such/namespace"))


def test_files_are_only_for_their_owner(programs: Programs) -> None:
    path = programs.write("secret", "words")
    assert (path.read_text(), path.stat().st_mode & 0o077) == ("words", 0)
    assert programs.directory.stat().st_mode & 0o077 == 0


def test_programs_and_their_children_end_and_the_directory_goes() -> None:
    with Programs() as programs:
        pids = [programs.start("polite", python(POLITE), HERE), programs.start("stubborn", python(STUBBORN), HERE)]
        said(programs, "polite", words=1)
        pids += [int(word) for word in said(programs, "stubborn", words=2)[:1]]
    require_gone(*pids)
    assert not programs.directory.exists()


OWNER = f"""
import json, signal, sys
from pathlib import Path
from gateway.lab.programs import Programs
programs = Programs()
pid = programs.start("polite", [sys.executable, "-c", {POLITE!r}], Path("/proc/self/ns/net"))
print(json.dumps([str(programs.directory), programs.pid, pid]), flush=True)
signal.pause()
"""


def test_an_owner_killed_leaves_neither_programs_nor_files() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, cwd=ROOT)
    assert owner.stdout is not None
    with owner.stdout:
        directory, *pids = json.loads(owner.stdout.readline())
    assert Path(directory).exists()
    owner.kill()
    owner.wait(LIMIT_S)
    require_gone(*pids)
    assert not Path(directory).exists()


def test_programs_end_even_when_the_one_who_holds_them_is_killed(programs: Programs) -> None:
    pid = programs.start("polite", python(POLITE), HERE)
    said(programs, "polite", words=1)
    os.kill(programs.pid, signal.SIGKILL)
    require_gone(pid)
    for file in programs.directory.iterdir():  # these nobody was left to remove
        file.unlink()
    programs.directory.rmdir()

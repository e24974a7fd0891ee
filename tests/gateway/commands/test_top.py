"""`gateway top` on a terminal, on paper and for programs, while a gateway comes and goes."""

import json
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from gateway.commands.top import top
from gateway.control_client import NotRunning
from gateway.exit_codes import ExitCode
from tests.gateway.screen import LIMIT_S, ROOT, Screen

Start = Callable[..., Any]
TOP = ("-m", "gateway.cli", "top", "--runtime-dir")


@contextmanager
def stream(runtime_dir: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Have a line of JSON for each sample, from a process of its own."""
    words = [sys.executable, *TOP, str(runtime_dir), "--json", "--every", "0.2"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    made = Screen(sys.executable, *TOP, str(tmp_path / "run"), "--every", "0.2")
    yield made
    made.close()


def test_it_waits_for_a_gateway_and_goes_on_with_the_next_one(screen: Screen, start: Start) -> None:
    screen.wait_for("no gateway runs in ")
    first = start(peers=1).wait_ready()
    screen.wait_for(f"pid {first.process.pid} ")
    screen.wait_for("MBIT/S")
    screen.wait_for("mumbai")
    screen.resize(50, 10)
    screen.wait_for("\x1b[10;1H")  # the first column of the last line
    first.process.send_signal(signal.SIGTERM)
    screen.wait_for("no gateway runs in ")
    assert first.end() == 0
    second = start().wait_ready()
    screen.wait_for(f"pid {second.process.pid} ")
    screen.type("q")
    assert "\x1b[?1049l" in screen.wait_for("\x1b[?1049l")
    assert screen.process.wait(LIMIT_S) == 0
    assert termios.tcgetattr(screen.end) == screen.modes


def test_one_sample_is_a_page_or_an_object_and_without_once_a_line_for_each(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = start(workers=2, peers=1).wait_ready()
    assert top(gateway.runtime_dir, every_s=0.2, once=True, as_json=False) is ExitCode.OK
    page = capsys.readouterr().out
    heads = [line.split()[0] for line in page.splitlines() if line[:1].isupper() and "  " in line]
    assert heads[-3:] == ["WORKER", "LISTENER", "PEER"]
    assert f"127.0.0.1:{gateway.port}" in page
    assert "\x1b" not in page
    assert top(gateway.runtime_dir, every_s=0.2, once=True, as_json=True) is ExitCode.OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["supervisor_pid"] == gateway.process.pid
    assert [worker["rates"]["sessions_per_s"] for worker in facts["workers"]] == [0.0, 0.0]
    assert [link["name"] for link in facts["links"]] == ["mumbai"]
    with stream(gateway.runtime_dir) as (process, lines):
        facts = [json.loads(lines.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == ExitCode.OK
    assert [fact["running"] for fact in facts] == [True, True]
    assert facts[0]["interval_s"] >= 0.2


def test_without_a_gateway_one_sample_is_refused_and_each_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        top(tmp_path, every_s=0.2, once=True, as_json=False)
    with stream(tmp_path) as (process, lines):
        fact = json.loads(lines.readline())
        lines.close()  # as head(1) does
        assert process.wait(LIMIT_S) == ExitCode.OK
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert (fact["running"], fact["reason"]) == (False, f"no gateway runs in {tmp_path}")


def test_where_nothing_can_be_drawn_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert top(tmp_path, every_s=0.2, once=False, as_json=False) is ExitCode.USAGE
    assert "--once" in capsys.readouterr().err

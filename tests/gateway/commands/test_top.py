"""`gateway top` on a terminal, on paper and for programs, while a gateway comes and goes."""

import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.exit_codes import ExitCode
from tests.gateway.screen import LIMIT_S, ROOT, Screen

Start = Callable[..., Any]
TOP = ("-m", "gateway.cli", "top", "--runtime-dir")


def top(runtime_dir: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *TOP, str(runtime_dir), *words],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


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


def test_one_sample_is_a_page_or_an_object_and_without_once_a_line_for_each(start: Start) -> None:
    gateway = start(workers=2, peers=1).wait_ready()
    page = top(gateway.runtime_dir, "--once", "--every", "0.2")
    assert page.returncode == ExitCode.OK
    assert "\x1b" not in page.stdout
    heads = [line.split()[0] for line in page.stdout.splitlines() if line[:1].isupper() and "  " in line]
    assert heads[-3:] == ["WORKER", "LISTENER", "PEER"]
    assert f"127.0.0.1:{gateway.port}" in page.stdout
    facts = json.loads(top(gateway.runtime_dir, "--once", "--json", "--every", "0.2").stdout)
    assert facts["supervisor_pid"] == gateway.process.pid
    assert [worker["rates"]["sessions_per_s"] for worker in facts["workers"]] == [0.0, 0.0]
    assert [link["name"] for link in facts["links"]] == ["mumbai"]
    words = [sys.executable, *TOP, str(gateway.runtime_dir), "--json", "--every", "0.2"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT, text=True) as stream:
        assert stream.stdout is not None
        lines = [json.loads(stream.stdout.readline()) for _ in range(2)]
        stream.send_signal(signal.SIGINT)
        assert stream.wait(LIMIT_S) == ExitCode.OK
    assert [line["running"] for line in lines] == [True, True]
    assert lines[0]["interval_s"] >= 0.2


def test_without_a_gateway_one_sample_is_refused_and_each_line_says_so(tmp_path: Path) -> None:
    done = top(tmp_path, "--once")
    assert (done.returncode, done.stderr) == (ExitCode.UNWELL, f"no gateway runs in {tmp_path}\n")
    words = [sys.executable, *TOP, str(tmp_path), "--json", "--every", "0.2"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True) as stream:
        assert stream.stdout is not None
        assert stream.stderr is not None
        line = json.loads(stream.stdout.readline())
        stream.stdout.close()  # as head(1) does
        assert stream.wait(LIMIT_S) == ExitCode.OK
        assert stream.stderr.read() == ""
    assert (line["running"], line["reason"]) == (False, f"no gateway runs in {tmp_path}")


def test_where_nothing_can_be_drawn_it_says_what_to_do(tmp_path: Path) -> None:
    done = top(tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert "--once" in done.stderr
    assert top(tmp_path, "--every", "0.1").returncode == ExitCode.USAGE

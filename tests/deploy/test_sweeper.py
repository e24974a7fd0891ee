"""What a run leaves is swept up, however it ends."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.deploy.sweeper import abandoned, claimed

LIMIT_S = 60


def test_files_go_and_so_does_who_is_left_when_the_one_that_started_it_is_gone(tmp_path: Path) -> None:
    left = tmp_path / "scratch" / "inner"
    left.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.deploy.sweeper", str(tmp_path / "scratch")]
    with (
        subprocess.Popen(["tail", "-f", "/dev/null"]) as run,
        subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as sweeper,
    ):
        sweeper.communicate(f"{run.pid}\n", timeout=LIMIT_S)  # and then the end
        assert run.wait(LIMIT_S) == -signal.SIGKILL
    assert not left.parent.exists()
    assert sweeper.returncode == 0


def test_what_a_run_left_is_known_from_what_another_one_uses(tmp_path: Path) -> None:
    for name in ("run-dead", "run-alive", "run-begins", "other"):
        (tmp_path / name).mkdir()
    with claimed(tmp_path / "run-dead"), claimed(tmp_path / "other"):
        assert abandoned(tmp_path, "run-") == []
    with claimed(tmp_path / "run-alive"):
        assert abandoned(tmp_path, "run-") == [tmp_path / "run-dead"]

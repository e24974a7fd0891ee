"""What an upgrade executes, and how it is listened to. What becomes of it is in test_upgrade.py."""

import fcntl
import os
import selectors
import sys
from pathlib import Path

import pytest

from gateway.upgrading.heir import Heir, command_line
from gateway.upgrading.orphan import Orphan


def test_a_script_is_executed_by_itself_for_a_link_may_lead_to_another_interpreter_by_now(tmp_path: Path) -> None:
    script = tmp_path / "gateway"
    script.write_text("#!/somewhere/bin/python3\n")
    script.chmod(0o755)
    assert command_line(["/somewhere/bin/python3", str(script), "start"]) == [str(script), "start"]


@pytest.mark.parametrize(("text", "mode"), [("#!/somewhere/bin/python3\n", 0o644), ("print()\n", 0o755)])
def test_what_cannot_be_executed_by_itself_is_given_to_our_interpreter(tmp_path: Path, text: str, mode: int) -> None:
    script = tmp_path / "gateway"
    script.write_text(text)
    script.chmod(mode)
    assert command_line(["python", str(script), "start"]) == [sys.executable, str(script), "start"]


@pytest.mark.parametrize("said", [["-m", "gateway.cli", "start"], ["-c", "pass"], []])
def test_a_module_is_given_to_our_interpreter(said: list[str]) -> None:
    assert command_line(["python", *said]) == [sys.executable, *said]


def test_one_that_talks_without_end_leaves_the_event_loop_its_turns() -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 18)
    os.write(writer, b"x" * (1 << 18))
    with selectors.DefaultSelector() as selector:
        heir = Heir(Orphan(os.getpid(), os.pidfd_open(os.getpid()), reader), selector, on_death=lambda: None)
        for key, _ in selector.select(10):
            key.data()
        assert os.read(reader, 1) == b"x"  # the rest has its turn, too
        heir.leave()
    os.close(writer)

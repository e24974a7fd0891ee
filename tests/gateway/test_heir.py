"""What an upgrade executes. That it is executed, and what becomes of it, is in test_upgrade.py."""

import sys
from pathlib import Path

import pytest

from gateway.heir import command_line


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

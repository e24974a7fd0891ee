"""What an operator sees of a key: where it is and its id."""

from pathlib import Path

import pytest

from gateway.commands.keygen import keygen
from gateway.exit_codes import ExitCode
from gateway.overlay_key import Rotation
from pools.key_file import read_keys


def test_a_key_is_made_and_replaced_without_being_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "overlay.key"
    seen = []
    for step in (None, *Rotation):
        assert keygen(file, step=step) is ExitCode.OK
        keys, _ = read_keys(file, key="", uid=file.stat().st_uid)
        said = capsys.readouterr().out
        assert all(key.id.hex() in said for key in keys)
        seen += [said, *file.read_text().split()]
    outputs = "".join(text for text in seen if not text.startswith("midmile-key-1:"))
    written = {text.partition(":")[2] for text in seen if text.startswith("midmile-key-1:")}
    assert len(written) == 2
    assert not any(key in outputs for key in written)


def test_a_file_that_is_there_and_a_step_out_of_turn_are_usage_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "overlay.key"
    keygen(file, step=None)
    assert keygen(file, step=None) is ExitCode.USAGE
    assert keygen(file, step=Rotation.DROP) is ExitCode.USAGE
    assert capsys.readouterr().err.count("expected") == 2

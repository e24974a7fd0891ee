"""Real fish, which says by itself what it would offer."""

import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.completion.fish import script
from tests.gateway.completion.scripts import root
from tests.gateway.screen import LIMIT_S

LINES = {
    "gateway st": {"start", "stop", "status"},
    "gateway --v": {"--version"},
    "gateway top --o": {"--once"},
    "gateway start --workers ": {"auto"},
    "gateway start --listen ": set[str](),
    "gateway start --config we": {"west.toml", "wet/"},
    "gateway start --config=we": {"--config=west.toml", "--config=wet/"},
    "gateway start --runtime-dir we": {"wet/"},
    "gateway keygen --rotate s": {"switch"},
    "gateway check we": {"west.toml", "wet/"},
    "gateway completion ": {"bash", "zsh", "fish"},
    "gateway lab ": {"plan", "ladder", "download", "relay"},
    "gateway lab download --ra": {"--rate"},
    "gateway status we": set(),
}


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish(1)")
def test_each_word_of_the_command_line_is_offered_where_it_may_stand(tmp_path: Path) -> None:
    (tmp_path / "gateway.fish").write_text(script(root()))
    (tmp_path / "west.toml").touch()
    (tmp_path / "wet").mkdir()
    asked = "".join(f"complete -C '{line}'; echo ,\n" for line in LINES)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source gateway.fish\n{asked}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.stderr == ""
    offered = [{line.split("\t")[0] for line in part.splitlines() if line} for part in done.stdout.split(",\n")]
    assert dict(zip(LINES, offered, strict=False)) == LINES


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish(1)")
def test_what_is_offered_is_explained(tmp_path: Path) -> None:
    (tmp_path / "gateway.fish").write_text(script(root()))
    words = [
        "fish",
        "--no-config",
        "-c",
        "source gateway.fish; complete -C 'gateway versi'; complete -C 'gateway keygen --ro'",
    ]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert done.stdout == "version\tPrint the version.\n--rotate\tTake one step of replacing the file's key.\n"

"""Real zsh, and Tabs that are typed."""

import shutil
from pathlib import Path

import pytest

from gateway.completion.zsh import script
from tests.gateway.completion.scripts import root
from tests.gateway.screen import Screen

LINES = {
    "gateway versi": "gateway version",
    "gateway --v": "gateway --version",
    "gateway lab --h": "gateway lab --help",
    "gateway top --o": "gateway top --once",
    "gateway start --work\tau": "gateway start --workers=auto",
    "gateway start --config wes": "gateway start --config west.toml",
    "gateway start --config=wes": "gateway start --config=west.toml",
    "gateway start --runtime-dir we": "gateway start --runtime-dir wet",  # zsh takes a last slash or = away again
    "gateway keygen --rotate sw": "gateway keygen --rotate switch",
    "gateway check wes": "gateway check west.toml",
    "gateway completion fi": "gateway completion fish",
    "gateway lab lad": "gateway lab ladder",
    "gateway lab download --ra": "gateway lab download --rate",
}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh(1)")
def test_each_word_of_the_command_line_is_completed_where_it_may_stand(tmp_path: Path) -> None:
    for name in ("gateway.zsh", "_gateway"):
        (tmp_path / name).write_text(script(root()))
    (tmp_path / "west.toml").touch()
    (tmp_path / "wet").mkdir()
    screen = Screen("zsh", "-f", "-i", directory=tmp_path)
    try:
        screen.type("autoload -Uz compinit; compinit -u -D; source gateway.zsh; PS1=; echo rea''dy\n")
        screen.wait_for("ready\r\n")
        for typed, expected in LINES.items():
            complete(screen, typed, expected)
        screen.type("unfunction -m '_gateway*'; fpath=($PWD $fpath); autoload -Uz _gateway; echo loa''ded\n")
        screen.wait_for("loaded\r\n")
        complete(screen, "gateway versi", "gateway version")  # which loads it
        complete(screen, "gateway lab lad", "gateway lab ladder")
    finally:
        screen.close()


def complete(screen: Screen, typed: str, expected: str) -> None:
    screen.type(f"{typed}\t\x01echo \n")  # Ctrl-A: to the line's beginning
    screen.wait_for(f"{expected}\r\n")

"""Real bash: its function with COMP_WORDS as at a Tab, and Tabs that are typed."""

import subprocess
from pathlib import Path

import pytest

from gateway.completion.bash import script
from tests.gateway.completion.scripts import root
from tests.gateway.screen import LIMIT_S, Screen

# What readline would do with options of compopt is said instead of done.
ASK = """
compopt() { said+="compopt $*;"; }
while IFS= read -r line; do
    COMP_WORDS=() said=
    while IFS= read -r word; do COMP_WORDS+=("$word"); done < <(printf '%s' "$line" | tr '\\t' '\\n'; echo)
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _gateway
    echo "$said${COMPREPLY[*]}"
done
"""
NONE = "compopt +o default;"
DIRECTORIES = "compopt -o dirnames;compopt +o default;"
FILES = ""
LINES = {
    "gateway st": NONE + "start stop status",
    "gateway -": NONE + "--version --help",
    "gateway nonsense ": NONE,
    "gateway lab nonsense ": NONE,
    "gateway status start": NONE,
    "gateway check start --": NONE + "--json --help",
    "gateway top --o": NONE + "--once",
    "gateway start --workers ": NONE + "auto",
    "gateway start --listen ": NONE,
    "gateway start --config ": FILES,
    "gateway start --config = we": FILES,
    "gateway start --config =": FILES,
    "gateway start --runtime-dir ": DIRECTORIES,
    "gateway start --config a.toml --w": NONE + "--workers",
    "gateway keygen --rotate s": NONE + "switch",
    "gateway keygen --rotate = s": NONE + "switch",
    "gateway check ": FILES,
    "gateway check -": NONE + "--json --help",
    "gateway completion ": NONE + "bash zsh fish",
    "gateway lab ": NONE + "plan ladder download relay",
    "gateway lab --": NONE + "--help",
    "gateway lab download --ra": NONE + "--rate",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "completion.bash"
    made.write_text(script(root()))
    return made


def test_each_word_of_the_command_line_is_offered_where_it_may_stand(file: Path) -> None:
    asked = "".join(line.replace(" ", "\t") + "\n" for line in LINES)
    done = subprocess.run(
        ["bash", "--norc", "-c", f"source {file}\n{ASK}"],
        input=asked,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert done.stderr == ""
    assert dict(zip(LINES, done.stdout.split("\n"), strict=False)) == LINES


def test_at_a_real_tab_commands_files_and_directories_come(file: Path, tmp_path: Path) -> None:
    (tmp_path / "west coast.toml").touch()
    (tmp_path / "wet").mkdir()
    screen = Screen("bash", "--norc", "--noprofile", "-i", directory=tmp_path)
    try:
        screen.type(f"source {file.name}; bind 'set bell-style none'; PS1=; echo rea''dy\n")
        screen.wait_for("ready\r\n")
        for typed, expected in {
            "gateway stat": "gateway status ",
            "gateway check wes": "gateway check west\\ coast.toml ",
            "gateway start --runtime-dir we": "gateway start --runtime-dir wet/",
            "gateway start --config=wes": "gateway start --config=west\\ coast.toml ",
        }.items():
            screen.type(f"{typed}\t\x01echo \n")  # Ctrl-A: to the line's beginning
            assert expected.replace("\\", "").rstrip() in screen.wait_for(expected.replace("\\", "").rstrip() + "\r\n")
    finally:
        screen.close()

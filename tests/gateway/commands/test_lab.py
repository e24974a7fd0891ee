import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.exit_codes import ExitCode

ROOT = Path(__file__).parents[3]


def lab(*words: str) -> Result:
    return CliRunner().invoke(app, ["lab", *words])


def test_the_plan_is_the_page_of_the_ladder() -> None:
    page = (ROOT / "docs/ladder.md").read_text()
    shown = re.findall(r"^\$ gateway lab (plan .*)\n((?:.*\n)*?)```", page, re.MULTILINE)
    assert len(shown) == 2
    for words, output in shown:
        assert lab(*words.split()).stdout == output


def test_the_plan_for_programs_is_in_seconds() -> None:
    done = lab("plan", "--rtt", "28,214,32", "--json")
    assert done.exit_code == ExitCode.OK
    told = json.loads(done.stdout)
    stages = {each["stage"]: each["model"] for each in told["stages"]}
    limits = {each["name"]: each["times"] for each in told["limits"]}
    assert stages["end to end"] == {"first_byte_s": 0.548, "all_bytes_s": 0.822}
    assert stages["+ turbo start"] == {"first_byte_s": 0.306, "all_bytes_s": 0.338}
    assert limits["unmodified client"] == {"first_byte_s": 0.302, "all_bytes_s": 0.302}
    assert (told["rtts_s"], told["size_bytes"], told["rate_bits_s"]) == ([0.028, 0.214, 0.032], 43_000, 0)


def test_a_plan_has_as_many_gateways_as_there_are_legs_between() -> None:
    assert lab("plan", "--rtt", "10,20.5").stdout.startswith("client -10- gateway -20.5- server, in ms; 43 kB,")
    assert lab("plan", "--rtt", "0,0").stdout.count("0 ms") == 16


@pytest.mark.parametrize(
    "words", [["--rtt", "28"], ["--rtt", "fast,slow"], ["--size", "0"], ["--size", "2G"], ["--rate", "200Mbit"]]
)
def test_what_cannot_be_planned_is_a_wrong_command_line(words: list[str]) -> None:
    done = lab("plan", *words)
    assert done.exit_code == ExitCode.USAGE
    assert f"Invalid value for '{words[0]}'" in done.stderr


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_plan_is_drawn_where_a_picture_is_asked_for(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"ladder.{suffix}"
    done = lab("plan", "--picture", str(file))
    assert done.exit_code == ExitCode.OK
    assert done.stdout == lab("plan").stdout
    assert file.stat().st_size > 10_000


def test_a_picture_that_cannot_be_drawn_is_said_before_the_work(tmp_path: Path) -> None:
    nowhere = lab("plan", "--picture", str(tmp_path / "nowhere/it.png"))
    assert (nowhere.exit_code, nowhere.stdout) == (ExitCode.CANNOT_START, "")
    assert "found none at" in nowhere.stderr
    assert lab("plan", "--picture", "ladder.pdf").exit_code == ExitCode.USAGE


def test_a_picture_that_cannot_be_written_costs_no_figures(tmp_path: Path) -> None:
    (tmp_path / "it.png").mkdir()
    done = lab("plan", "--picture", str(tmp_path / "it.png"))
    assert done.exit_code == ExitCode.USAGE
    assert done.stdout == lab("plan").stdout
    assert "Is a directory" in done.stderr

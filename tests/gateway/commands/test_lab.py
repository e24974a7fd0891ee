import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.commands.lab_download import download_table
from gateway.commands.lab_ladder import ladder_table
from gateway.commands.lab_relay import relay_table
from gateway.exit_codes import ExitCode
from gateway.lab.client import FetchError
from gateway.lab.results import (
    Curve,
    DownloadResult,
    DownloadWay,
    LadderResult,
    Limit,
    Punctuality,
    RelayCost,
    RelayResult,
    Stage,
    StageResult,
    Times,
    Way,
)

ROOT = Path(__file__).parents[3]


def lab(*words: str) -> Result:
    return CliRunner().invoke(app, ["lab", *words])


def without_rights(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the lab as root without a right, or as whoever runs this test, who has none."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-m", "gateway.cli", "lab", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


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


@pytest.mark.parametrize("command", ["ladder", "download", "relay"])
def test_without_root_there_is_one_line_and_nothing_is_measured(command: str) -> None:
    done = without_rights(command)
    assert (done.returncode, done.stdout) == (ExitCode.CANNOT_START, "")
    assert "needs root" in done.stderr
    assert "Traceback" not in done.stderr


def ladder_of_two() -> LadderResult:
    model = [Times(0.548, 0.822), Times(0.548, 0.762)]
    samples = [[Times(0.550, 0.827), Times(0.552, 0.825), Times(0.549, 0.9)], [Times(0.5, 0.75)]]
    stages = [StageResult(*each) for each in zip((Stage.END_TO_END, Stage.SPLIT), samples, model, strict=True)]
    limits = [Limit("propagation", Times(0.274, 0.274))]
    return LadderResult((0.028, 0.214, 0.032), 43_000, stages, limits, Punctuality(10, 0, 0.0), ["few samples"])


def download_of_three() -> DownloadResult:
    took_s = {(Way.END_TO_END, 0.0): 130.0, (Way.EVERYTHING, 0.0): 26.0, (Way.END_TO_END, 0.001): 200.0}
    ways = [DownloadWay(*key, [Curve([(0.0, 0), (each, 50_000_000)])], each - 1) for key, each in took_s.items()]
    return DownloadResult((0.028, 0.214, 0.032), 50_000_000, 2e8, ways, 2.346, Punctuality(10, 0, 0.0))


def test_a_ladder_is_shown_with_its_progress_and_warnings_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_ladder(rtts_s: object, *, size_bytes: int, repeats: int, progress: Callable[[str], None]) -> LadderResult:
        progress(f"{rtts_s} {size_bytes} {repeats}")
        return ladder_of_two()

    monkeypatch.setattr("gateway.commands.lab_ladder.run_ladder", run_ladder)
    done = lab("ladder", "--rtt", "6,10,4", "--size", "20k", "--repeats", "1", "--json")
    assert done.exit_code == ExitCode.OK
    assert json.loads(done.stdout)["stages"][0]["median"] == {"first_byte_s": 0.550, "all_bytes_s": 0.827}
    assert done.stderr == "(0.006, 0.01, 0.004) 20000 1\nwarning: few samples\n"
    assert lab("ladder").stdout == ladder_table(ladder_of_two()) + "\n"


def test_what_was_measured_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.commands.lab_ladder.run_ladder", lambda *_, **__: ladder_of_two())
    monkeypatch.setattr("gateway.commands.lab_download.run_download", lambda *_, **__: download_of_three())
    for command in ("ladder", "download"):
        assert lab(command, "--picture", str(tmp_path / f"{command}.svg")).exit_code == ExitCode.OK
        assert (tmp_path / f"{command}.svg").stat().st_size > 10_000


def test_an_answer_that_did_not_come_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_download(*_: object, **__: object) -> DownloadResult:
        raise FetchError("expected 50 bytes; found none")

    monkeypatch.setattr("gateway.commands.lab_download.run_download", run_download)
    done = lab("download")
    assert (done.exit_code, done.stdout, done.stderr) == (ExitCode.UNWELL, "", "expected 50 bytes; found none\n")


def test_a_table_has_each_stage_with_its_model_and_the_limits() -> None:
    assert ladder_table(ladder_of_two()) == (
        "STAGE               FIRST BYTE   MODEL     OFF  ALL BYTES   MODEL     OFF  ALL BYTES FROM .. TO\n"
        "end to end              550 ms  548 ms   +2 ms     827 ms  822 ms   +5 ms         825 .. 900 ms\n"
        "split                   500 ms  548 ms  -48 ms     750 ms  762 ms  -12 ms         750 .. 750 ms\n"
        "limit: propagation           -  274 ms       -          -  274 ms       -                     -"
    )


def test_downloads_are_told_with_how_much_faster_they_are_at_the_same_loss() -> None:
    assert download_table(download_of_three()) == (
        "LOSS  WAY                              TOOK     MODEL  MBIT/S  FASTER\n"
        "0.0%  end to end                   130.00 s  129.00 s       3   1.00x\n"
        "0.0%  everything on                 26.00 s   25.00 s      15   5.00x\n"
        "0.1%  end to end                   200.00 s  199.00 s       2   1.00x\n"
        "   -  limit: rate and propagation         -    2.35 s       -       -"
    )


def test_ways_of_relaying_are_told_with_what_they_cost_and_what_was_not_tried_with_its_reason() -> None:
    costs = [
        RelayCost("copy", 0.6123, 0.5, 7_300_000, True),
        RelayCost("sockmap", 0.3, None, 200_000_000, False),
        RelayCost("splice", note="this kernel has none"),
    ]
    assert relay_table(RelayResult(costs, 4_000_000_000)) == (
        "WAY      CPU S/GB  OF IT ITS OWN  TAKEN IN UNREAD  BACK-PRESSURE\n"
        "copy        0.612          0.500             7.0M  kept\n"
        "sockmap     0.300              -             191M  not kept\n"
        "splice          -              -                -  -              this kernel has none"
    )

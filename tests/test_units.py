"""The units say what they should, systemd finds no fault in them, and they leave no more open than their page says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.descriptor_limit import shortage
from gateway.drain import GRACE_S
from gateway.service_report import HOPELESS_S
from gateway.supervisor import STOP_S, WATCH_S
from workers.settings import Limits, Timeouts

ROOT = Path(__file__).parent.parent
UNITS = ROOT / "deploy/systemd"
PAGE = (ROOT / "docs/systemd.md").read_text()
DROP_INS = sorted((UNITS / "drop-ins").glob("*.conf"))
PROGRAM = "/opt/midmile/venv/bin/gateway"
LIMIT_S = 60.0

Lines = list[tuple[str, str, str]]


def lines_of(file: Path) -> Lines:
    """Give section, key and value of each line; a key may come again, which no parser of INI files knows."""
    found: Lines = []
    section = ""
    for line in file.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.append((section, key, value))
    return found


SERVICE = {key: value for _, key, value in lines_of(UNITS / "midmile.service")}


def systemd_analyze(*words: str) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze, which the Debian package systemd has")
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def exposure(directory: Path, *drop_ins: Path) -> float:
    """Give the figure of the service with drop-ins, as it would be installed in `directory`."""
    units = directory / "etc/systemd/system"
    (units / "midmile.service.d").mkdir(parents=True)
    for file, place in [
        (UNITS / "midmile.service", units),
        *((each, units / "midmile.service.d") for each in drop_ins),
    ]:
        shutil.copy(file, place)
    said = systemd_analyze("security", "--offline=true", f"--root={directory}", "midmile.service")
    match = re.search(r"Overall exposure level for midmile\.service: ([\d.]+)", said)
    assert match, said
    return float(match[1])


def documented(pattern: str) -> float:
    match = re.search(pattern, PAGE)
    assert match, f"expected {pattern} in docs/systemd.md"
    return float(match[1])


def test_the_service_is_told_of_by_its_supervisor_alone() -> None:
    assert (SERVICE["Type"], SERVICE["NotifyAccess"], SERVICE["KillMode"]) == ("notify", "main", "mixed")
    assert SERVICE["ExecStart"] == f"{PROGRAM} start --config /etc/midmile/gateway.toml"
    assert SERVICE["ExecReload"] == f"{PROGRAM} reload --config /etc/midmile/gateway.toml"


def test_its_times_and_limits_fit_the_defaults_of_the_gateway() -> None:
    timeouts = Timeouts()
    assert float(SERVICE["TimeoutStopSec"]) > timeouts.drain + GRACE_S + STOP_S + WATCH_S
    assert float(SERVICE["WatchdogSec"]) > timeouts.worker_heartbeat + HOPELESS_S
    assert not shortage(Limits().sessions, workers=1, allowed=int(SERVICE["LimitNOFILE"]))


def test_the_plain_service_has_no_capability_and_each_drop_in_one() -> None:
    assert (SERVICE["CapabilityBoundingSet"], SERVICE["AmbientCapabilities"]) == ("", "")
    assert len(DROP_INS) == 4
    for file in DROP_INS:
        (ambient, bounding) = (value for _, _, value in lines_of(file))
        assert ambient == bounding
        assert f"| `{file.name}` |" in PAGE
        assert f"| {ambient} |" in PAGE


def test_each_line_is_explained() -> None:
    keys = {key for _, key, _ in lines_of(UNITS / "midmile.service")}
    explained = PAGE.partition("## The unit, line by line")[2]
    assert [key for key in sorted(keys) if f"`{key}`" not in explained and f"`{key}=" not in explained] == []


def test_the_page_shows_the_sockets_of_the_example() -> None:
    block = re.search(r"^```ini\n(\[Socket\]\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block
    assert block[1] in (UNITS / "midmile.socket").read_text()


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    for name in ("midmile.service", "midmile.socket"):
        (tmp_path / name).write_text((UNITS / name).read_text().replace(PROGRAM, "/bin/true"))
    said = systemd_analyze("verify", "--man=no", str(tmp_path / "midmile.service"), str(tmp_path / "midmile.socket"))
    assert "midmile" not in said


def test_the_exposure_is_no_more_than_the_page_says(tmp_path: Path) -> None:
    assert exposure(tmp_path / "plain") <= documented(r"overall exposure of ([\d.]+) for the unit")
    assert exposure(tmp_path / "all", *DROP_INS) <= documented(r"and ([\d.]+) with all four")
    for file in DROP_INS:
        assert exposure(tmp_path / file.stem, file) <= documented(rf"\| `{file.name}` \|.*\| ([\d.]+) \|\n")

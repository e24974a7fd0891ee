import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
NUMBER = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def version_said(path: Path, directory: Path, *, checkout: str = "") -> str:
    """Ask an interpreter that knows the standard library and the packages in `path`."""
    argument = f"Path({checkout!r})" if checkout else ""
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            f"from pathlib import Path; from gateway.release import version; print(version({argument}))",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(path)},
    )
    return done.stdout.strip()


def copied(to: Path) -> Path:
    """Copy what release needs to where nothing was installed."""
    (to / "gateway").mkdir(parents=True)
    for name in ("__init__.py", "release.py"):
        (to / "gateway" / name).write_text((ROOT / "gateway" / name).read_text())
    return to


def test_installed_its_metadata_say_the_version(tmp_path: Path) -> None:
    place = copied(tmp_path / "site")
    (place / "midmile-9.8.7.dist-info").mkdir()
    (place / "midmile-9.8.7.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: midmile\nVersion: 9.8.7\n")
    assert version_said(place, tmp_path) == "9.8.7"


def test_a_checkout_says_what_it_would_install_and_that_it_is_one(tmp_path: Path) -> None:
    place = copied(tmp_path / "checkout")
    (place / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    assert version_said(place, tmp_path) == f"{NUMBER} (from a checkout)"


def test_a_copy_without_either_does_not_guess(tmp_path: Path) -> None:
    assert version_said(copied(tmp_path / "copy"), tmp_path) == "unknown (from a checkout)"

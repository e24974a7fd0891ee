"""What hosts install: the wheel of this tree and wheels of all it needs, in one archive, so that no host asks an index.

`make dist` writes two files into dist/:

    midmile-VERSION-SUM-cp311-MACHINE.tar   the wheels, and requirements.lock, which has the SHA-256 sum of each
    release.json                            the archive's name and sum, and what it is for

SUM is the beginning of the lock's own: two archives of one name install the same bytes. A host needs its own Python,
and neither compiler nor network:

    pip install --no-index --find-links DIR --require-hashes --requirement DIR/requirements.lock
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHON: Final = "3.11"  # of Debian 12
LOCK: Final = "requirements.lock"
_GLIBC_MINOR: Final = 36  # of Debian 12: 2.36
_OLDEST_GLIBC_MINOR: Final = 17  # manylinux2014's
SOURCES: Final = ("pyproject.toml", "README.md", "gateway", "workers", "pools")
_PINS: Final = "requirements-dev.txt"
_EPOCH_S: Final = 315532800  # 1980-01-01, the oldest that a wheel can say: the same tree gives the same bytes


@dataclass(frozen=True, slots=True)
class Release:
    """What was made, for whoever installs it.

    Attributes:
        name: version and sum, which a host calls its directory by.
        archive: the file's name, beside release.json.
        sha256: of the archive.
        python: that the wheels are for, as major.minor.
        machine: as in uname(1).
    """

    name: str
    version: str
    archive: str
    sha256: str
    python: str
    machine: str


def make(into: Path, *, machine: str, tree: Path = ROOT) -> Release:
    """Make archive and release.json in a directory, which holds nothing else of an earlier release afterwards.

    Args:
        machine: whose wheels, as in uname(1).
        tree: the sources.
    """
    with TemporaryDirectory() as scratch:
        wheels = Path(scratch) / "wheels"
        own = build_wheel(tree, wheels)
        download(own, wheels, machine=machine, pins=tree / _PINS)
        return pack(wheels, into, machine=machine)


def build_wheel(tree: Path, into: Path) -> Path:
    """Build a tree's wheel and give its path; from a copy, for setuptools would pack what an old build/ holds."""
    with TemporaryDirectory() as scratch:
        for name in SOURCES:
            _copy(tree / name, Path(scratch) / name)
        _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", into, scratch)
    (wheel,) = into.glob("midmile-*.whl")
    return wheel


def download(own: Path, into: Path, *, machine: str, pins: Path) -> None:
    """Put the wheels of all that a wheel needs beside it, as pinned."""
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in range(_GLIBC_MINOR, _OLDEST_GLIBC_MINOR, -1)]
    platforms.append(f"--platform=manylinux2014_{machine}")
    target = ("--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}", *platforms)
    _pip("download", *target, "--constraint", pins, "--dest", into, own)


def pack(wheels: Path, into: Path, *, machine: str) -> Release:
    """Write the lock of a directory of wheels, and make archive and release.json of both."""
    lock = locked(wheels.glob("*.whl"))
    (wheels / LOCK).write_text(lock, encoding="utf-8")
    (own,) = wheels.glob("midmile-*.whl")
    version = own.name.split("-")[1]
    name = f"{version}-{hashlib.sha256(lock.encode()).hexdigest()[:12]}"
    _clear(into)
    archive = into / f"midmile-{name}-cp{PYTHON.replace('.', '')}-{machine}.tar"
    _write_archive(archive, sorted(wheels.iterdir()))
    release = Release(name, version, archive.name, _sha256(archive), PYTHON, machine)
    (into / "release.json").write_text(json.dumps(asdict(release), indent=2) + "\n", encoding="utf-8")
    return release


def locked(wheels: Iterable[Path]) -> str:
    """Give the text of a lock: every wheel by name and version, with the sum that pip holds it to."""
    lines = []
    for wheel in sorted(wheels):
        name, version, *_ = wheel.name.split("-")
        lines.append(f"{name.replace('_', '-').lower()}=={version} --hash=sha256:{_sha256(wheel)}\n")
    return "".join(lines)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


def _pip(*arguments: str | Path) -> None:
    quiet = ("-qq", "--disable-pip-version-check")
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(_EPOCH_S)}
    subprocess.run((sys.executable, "-m", "pip", *quiet, *arguments), check=True, env=environment)


def _clear(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for old in (*directory.glob("midmile-*.tar"), *directory.glob("release.json")):
        old.unlink()


def _write_archive(path: Path, files: Iterable[Path]) -> None:
    """Write an archive that depends on names and contents alone: who made it when, and how, is left out."""
    with tarfile.open(path, "w") as archive:
        for file in files:
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mtime, entry.mode = file.stat().st_size, _EPOCH_S, 0o644
            with file.open("rb") as content:
                archive.addfile(entry, content)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _main() -> None:
    parser = argparse.ArgumentParser(prog="make dist", description="Make what hosts install.")
    parser.add_argument("--into", type=Path, default=ROOT / "dist", metavar="DIR", help="instead of dist/")
    parser.add_argument("--machine", default=platform.machine(), metavar="NAME", help="x86_64, aarch64; this one's")
    options = parser.parse_args()
    release = make(options.into, machine=options.machine)
    print(f"{options.into / release.archive}: for Python {release.python} on {release.machine}")


if __name__ == "__main__":
    _main()

"""What `make dist` writes, but for what it downloads."""

import hashlib
import json
from pathlib import Path

from deploy import dist
from tests.deploy.releases import unpack

WHEELS = {
    "midmile-1.2.3-py3-none-any.whl": b"ours",
    "zope_event-6.2-py3-none-any.whl": b"theirs",
    "PyYAML-6.0-cp311-cp311-manylinux2014_x86_64.whl": b"compiled",
}


def packed(directory: Path) -> Path:
    wheels, into = directory / "wheels", directory / "dist"
    wheels.mkdir(parents=True)
    for name, content in WHEELS.items():
        (wheels / name).write_bytes(content)
    dist.pack(wheels, into, machine="x86_64")
    return into


def test_the_lock_holds_every_wheel_to_its_sum(tmp_path: Path) -> None:
    into = packed(tmp_path)
    unpack(next(into.glob("*.tar")), tmp_path / "host")
    assert {path.name for path in (tmp_path / "host").iterdir()} == {*WHEELS, "requirements.lock"}
    assert (tmp_path / "host" / "requirements.lock").read_text().splitlines() == [
        f"pyyaml==6.0 --hash=sha256:{hashlib.sha256(b'compiled').hexdigest()}",
        f"midmile==1.2.3 --hash=sha256:{hashlib.sha256(b'ours').hexdigest()}",
        f"zope-event==6.2 --hash=sha256:{hashlib.sha256(b'theirs').hexdigest()}",
    ]


def test_release_json_says_what_the_archive_is(tmp_path: Path) -> None:
    into = packed(tmp_path)
    release = json.loads((into / "release.json").read_text())
    assert release["name"].startswith("1.2.3-")
    assert release["archive"] == f"midmile-{release['name']}-cp311-x86_64.tar"
    assert release["sha256"] == hashlib.sha256((into / release["archive"]).read_bytes()).hexdigest()


def test_the_same_wheels_give_the_same_bytes_whenever_and_wherever(tmp_path: Path) -> None:
    one, other = packed(tmp_path / "one"), packed(tmp_path / "other")
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {p.name: p.read_bytes() for p in other.iterdir()}


def test_an_earlier_release_goes(tmp_path: Path) -> None:
    into = packed(tmp_path)
    (into / "midmile-0.0.1-0-cp311-x86_64.tar").touch()
    dist.pack(tmp_path / "wheels", into, machine="x86_64")
    assert len(list(into.glob("*.tar"))) == 1

"""Further releases for upgrades: the one that `make dist` made, with another wheel of this tree in it."""

import json
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from deploy import dist

_BROKEN: Final = '\nraise SystemExit("broken on purpose")\n'


def another(made: Path, into: Path, *, version: str, broken: bool = False) -> str:
    """Make a release of another version and give its name; a broken one judges files, but does not start."""
    facts = json.loads((made / "release.json").read_text(encoding="utf-8"))
    with TemporaryDirectory() as scratch:
        wheels, tree = Path(scratch) / "wheels", Path(scratch) / "tree"
        unpack(made / facts["archive"], wheels)
        (wheels / dist.LOCK).unlink()
        next(wheels.glob("midmile-*.whl")).unlink()
        _change(tree, facts["version"], version, broken=broken)
        dist.build_wheel(tree, wheels)
        return dist.pack(wheels, into, machine=facts["machine"]).name


def unpack(archive: Path, into: Path) -> None:
    """Unpack one as a host does; extractall is deprecated without a filter, which Debian 12 has not."""
    into.mkdir()
    subprocess.run(["tar", "--extract", "--file", archive, "--directory", into], check=True)


def _change(tree: Path, old: str, new: str, *, broken: bool) -> None:
    tree.mkdir()
    for name in dist.SOURCES:
        source = dist.ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, tree / name)
    project = tree / "pyproject.toml"
    project.write_text(project.read_text(encoding="utf-8").replace(f'version = "{old}"', f'version = "{new}"', 1))
    if broken:
        with (tree / "gateway" / "commands" / "start.py").open("a", encoding="utf-8") as start:
            start.write(_BROKEN)

"""Deploys to real Debian hosts on this machine and tests what comes of it: `make deploy-test`.

Three hosts boot in namespaces of this run alone: systemd-nspawn with systemd, sshd and sudo, on a bridge that leads
nowhere. Their disks are this run's memory over a Debian that is kept in the user's cache. When the run ends, in
whatever way, all of it is gone; what a run left whose sweeper was killed, too, goes at the beginning of the next.

    python -m tests.deploy DIST [ARGUMENTS OF PYTEST]      DIST is what `make dist` made

Ends with 0, and says why, where this machine cannot run hosts: DEPLOY_TEST=must makes that an error.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Final

from tests.deploy import needs, sweeper
from tests.deploy.base_image import ImageError, image

_PREFIX: Final = "midmile-deploy-"
_STORY: Final = "tests/deploy/test_an_overlay.py"
_PYTEST: Final = ["--numprocesses=0", "--exitfirst", "--verbose", "--capture=no", "--timeout=1800"]


def run(dist: Path, arguments: Sequence[str]) -> int:
    """Run the tests and give pytest's exit code."""
    for left in sweeper.abandoned(Path(gettempdir()), _PREFIX):
        _remove(left)
    scratch = Path(mkdtemp(prefix=_PREFIX))
    with sweeper.claimed(scratch):
        return _run_swept(scratch, dist, arguments)


def _remove(scratch: Path) -> None:
    for directory in (*_groups(scratch), scratch):
        sweeper.remove(directory)


def _groups(scratch: Path) -> list[Path]:
    return [point / scratch.name for point in needs.hierarchies()]


def _run_swept(scratch: Path, dist: Path, arguments: Sequence[str]) -> int:
    groups = _groups(scratch)
    sweeps = _start_sweeper([*groups, scratch])
    assert sweeps.stdin is not None
    try:
        return _run_alone(sweeps, scratch, groups, dist, arguments)
    except KeyboardInterrupt:
        return 130
    finally:
        sweeps.stdin.close()
        sweeps.wait()


def _start_sweeper(directories: Sequence[Path]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.deploy.sweeper", *map(str, directories)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)


def _run_alone(
    sweeps: "subprocess.Popen[str]", scratch: Path, groups: Sequence[Path], dist: Path, arguments: Sequence[str]
) -> int:
    facts = {
        "MIDMILE_DEPLOY_SCRATCH": str(scratch),
        "MIDMILE_DEPLOY_IMAGE": str(image()),
        "MIDMILE_DEPLOY_DIST": str(dist.resolve()),
        "MIDMILE_DEPLOY_CGROUPS": os.pathsep.join(map(str, groups)),
    }
    with subprocess.Popen(
        [*needs.ALONE, "--net", sys.executable, "-m", "pytest", _STORY, *_PYTEST, *arguments],
        env={**os.environ, **facts},
    ) as tests:
        assert sweeps.stdin is not None
        sweeps.stdin.write(f"{tests.pid}\n")
        sweeps.stdin.flush()
        return tests.wait()


def _main() -> int:
    if lacking := needs.lacking():
        print("\n".join(["deploy-test does not run here:", *(f"  {each}" for each in lacking)]))
        return 1 if os.environ.get("DEPLOY_TEST") == "must" else 0
    try:
        return run(Path(sys.argv[1]), sys.argv[2:])
    except ImageError as error:
        print(f"deploy-test does not run here, for want of a Debian:\n{error}")
        return 1 if os.environ.get("DEPLOY_TEST") == "must" else 0


if __name__ == "__main__":
    sys.exit(_main())

"""Deploys to real Debian hosts on this machine and tests what comes of it: `make deploy-test`.

Three hosts boot in namespaces of this run alone: systemd-nspawn with systemd, sshd and sudo, on a bridge that leads
nowhere. Their disks are this run's memory over a Debian that is kept in the user's cache. When the run ends, in
whatever way, all of it is gone.

    python -m tests.deploy DIST [ARGUMENTS OF PYTEST]      DIST is what `make dist` made

Ends with 0, and says why, where this machine cannot run hosts: DEPLOY_TEST=must makes that an error.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from tests.deploy import needs
from tests.deploy.base_image import ImageError, image

_ALONE: Final = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
_STORY: Final = "tests/deploy/test_an_overlay.py"
_PYTEST: Final = ["--numprocesses=0", "--exitfirst", "--verbose", "--capture=no", "--timeout=1800"]


def run(dist: Path, arguments: Sequence[str]) -> int:
    """Run the tests and give pytest's exit code."""
    scratch = Path(mkdtemp(prefix="midmile-deploy-"))
    groups = [point / scratch.name for point in needs.hierarchies()]
    sweeper = _sweeper([scratch, *groups])
    assert sweeper.stdin is not None
    try:
        return _run_alone(sweeper, scratch, groups, dist, arguments)
    except KeyboardInterrupt:
        return 130
    finally:
        sweeper.stdin.close()
        sweeper.wait()


def _sweeper(directories: Sequence[Path]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.deploy.sweeper", *map(str, directories)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)


def _run_alone(
    sweeper: "subprocess.Popen[str]", scratch: Path, groups: Sequence[Path], dist: Path, arguments: Sequence[str]
) -> int:
    facts = {
        "MIDMILE_DEPLOY_SCRATCH": str(scratch),
        "MIDMILE_DEPLOY_IMAGE": str(image()),
        "MIDMILE_DEPLOY_DIST": str(dist.resolve()),
        "MIDMILE_DEPLOY_CGROUPS": os.pathsep.join(map(str, groups)),
    }
    with subprocess.Popen(
        [*_ALONE, sys.executable, "-m", "pytest", _STORY, *_PYTEST, *arguments], env={**os.environ, **facts}
    ) as tests:
        assert sweeper.stdin is not None
        sweeper.stdin.write(f"{tests.pid}\n")
        sweeper.stdin.flush()
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

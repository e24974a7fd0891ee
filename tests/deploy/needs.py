"""What this machine must have to run hosts, and what it lacks."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ALONE: Final = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)
"""Before a command: its mounts and processes are its own, and end with it and with whoever started it."""

_PROGRAMS: Final = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "curl": "curl",
    "apt-get": "apt",
}
_TRIAL: Final = """
set -e
mount --make-rprivate /
mount -t tmpfs none /mnt
mkdir /mnt/a /mnt/b /mnt/c
mount -t overlay none -o lowerdir=/etc,upperdir=/mnt/a,workdir=/mnt/b /mnt/c
ip link add type bridge
"""


def lacking() -> list[str]:
    """Say what is missing, one sentence each; nothing where hosts can run here."""
    if os.geteuid() != 0:
        return ["root is needed, to make namespaces and to run systemd in them"]
    return [*_programs(), *_cgroups(), *_namespaces()]


def hierarchies() -> list[Path]:
    """Give where systemd's own control groups can be made: the unified hierarchy, and the old one beside it."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return [Path(point) for _, point, kind, options, *_ in mounts if _is_systemds(kind, options.split(","))]


def _is_systemds(kind: str, options: Sequence[str]) -> bool:
    return kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options)


def _programs() -> Iterator[str]:
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            yield f"{program} is missing: apt-get install {package}"


def _cgroups() -> Iterator[str]:
    if not hierarchies():
        yield "no control groups that systemd could use are mounted"
    for point in hierarchies():
        if not os.access(point, os.W_OK):
            yield f"{point} cannot be written to"


def _namespaces() -> Iterator[str]:
    found = subprocess.run([*ALONE, "--net", "sh", "-c", _TRIAL], capture_output=True, text=True, check=False)
    if found.returncode:
        yield f"namespaces with an overlay file system and a bridge cannot be made: {found.stderr.strip()}"

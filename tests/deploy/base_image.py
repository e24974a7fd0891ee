"""A plain Debian 12, as a host is after its installation; made once and kept in the user's cache.

Where packages come from is what this machine's own apt says: its mirror, its keys, its settings. The packages that the
role installs are there as files, not installed: hosts in the test reach no mirror.
"""

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.deploy.needs import ALONE

SUITE: Final = "bookworm"
_INSTALLED: Final = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
)
_RECIPE: Final = 1  # another one where images are made in another way
_FETCHED: Final = ("nftables", "python3-venv")


class ImageError(Exception):
    """The image could not be made, and what said so."""


def image() -> Path:
    """Give the directory of the image, making it first where the cache has none of today's kind."""
    place = _cache() / f"{SUITE}-{_kind()}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / "lock").open("w") as lock:  # who comes second waits, and finds it made
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            _make(place)
    return place


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "midmile" / "deploy-test"


def _kind() -> str:
    """Tell images apart by what is in them."""
    return hashlib.sha256(repr((_RECIPE, _INSTALLED, _FETCHED)).encode()).hexdigest()[:12]


def _make(place: Path) -> None:
    partial = place.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    print(f"making a Debian 12 in {place}; this takes some minutes, once", flush=True)
    options = ("--variant=minbase", f"--include={','.join(_INSTALLED)}")
    _run(*ALONE, "debootstrap", *options, SUITE, partial, _mirror(), environment=_proxy())  # it mounts /proc there
    _fetch(partial)
    for old in place.parent.glob(f"{SUITE}-*"):
        if old != partial:
            shutil.rmtree(old)
    partial.rename(place)


def _mirror() -> str:
    """Give the mirror that this machine installs Debian from."""
    shown = ("--format", "$(SITE) $(REPO_URI)", "Created-By: Packages", f"Release: {SUITE}")
    found = _run("apt-get", "indextargets", *shown).split()
    if not found:
        raise ImageError(
            f"expected apt on this machine to know where Debian's {SUITE} is; it knows of no such repository"
        )
    return found[1]


def _proxy() -> dict[str, str]:
    """Give debootstrap, which asks wget, the proxy that apt has."""
    said = _run("apt-config", "shell", "PROXY", "Acquire::http::Proxy").strip()
    return {"http_proxy": shlex.split(said)[0].removeprefix("PROXY=")} if said else {}


def _fetch(root: Path) -> None:
    """Fetch what the role will install, by apt in the image, set up for the time as it is on this machine."""
    (root / "etc/apt/sources.list").write_text(f"deb {_mirror()} {SUITE} main\n", encoding="utf-8")
    ours = root / "etc/apt/apt.conf.d/99-for-now"
    ours.write_text(_run("apt-config", "dump", "--format", '%f "%v";%n', "Acquire"), encoding="utf-8")
    _run("chroot", root, "apt-get", "update")
    _run("chroot", root, "apt-get", "install", "--yes", "--no-install-recommends", "--download-only", *_FETCHED)
    ours.unlink()


def _run(*command: str | Path, environment: Mapping[str, str] = MappingProxyType({})) -> str:
    ours = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ours)
    if done.returncode:
        raise ImageError(f"{' '.join(map(str, command))}:\n{_tail(done.stdout)}{_tail(done.stderr)}")
    return done.stdout


def _tail(text: str) -> str:
    lines: Sequence[str] = text.splitlines(keepends=True)[-20:]
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(print(image()))

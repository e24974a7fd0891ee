"""Debian hosts: systemd-nspawn machines on a bridge, each with a disk in memory over the image. Reached by ssh alone.

Runs in namespaces of its own, see `tests.deploy.__main__`; so nothing here has to be undone.
"""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.deploy.waiting import until

BRIDGE: Final = "br-deploy"
NETWORK: Final = "10.77.0"
HERE: Final = f"{NETWORK}.1"
USER: Final = "admin"
_BOOT_S: Final = 180.0
_NETWORK_UNIT: Final = """[Match]
Name=host0
[Network]
Address={address}/24
LinkLocalAddressing=no
"""
# Strict hosts give root this umask: what the gateway's user is to read must not depend on another one.
_SUDOERS: Final = f"""Defaults umask=0077, umask_override
{USER} ALL=(ALL) NOPASSWD: ALL
"""
# Into its control groups first, then nspawn: it makes those of its host below its own.
_ENTER: Final = """
for group in $GROUPS_OF_HOST; do mkdir -p "$group" && echo $$ >"$group/cgroup.procs" || exit; done
exec systemd-nspawn --quiet --boot --keep-unit --register=no --console=pipe --resolv-conf=off "$@"
"""


@dataclass(frozen=True, slots=True)
class Site:
    """Where hosts are made.

    Attributes:
        scratch: a directory of this run; its disks are in a file system in memory there.
        image: the Debian, which nobody writes to.
        groups: control groups of this run, one in each hierarchy.
    """

    scratch: Path
    image: Path
    groups: Sequence[Path]

    @property
    def disks(self) -> Path:
        return self.scratch / "disks"

    @property
    def key(self) -> Path:
        return self.scratch / "ssh-key"

    @property
    def known_hosts(self) -> Path:
        return self.scratch / "known-hosts"


class Host:
    """One host, which runs from `boot` to `cut`, as often as that comes.

    Args:
        number: the last of its address.
    """

    def __init__(self, site: Site, name: str, number: int) -> None:
        self.name = name
        self.address = f"{NETWORK}.{number}"
        self._site = site
        self._root = _disk(site, name)
        self._console = site.scratch / f"{name}.console"
        self._process: subprocess.Popen[bytes] | None = None
        _settle(site, self._root, self.address)

    def boot(self) -> None:
        """Switch it on; `wait` waits until it answers."""
        names = [f"--directory={self._root}", f"--machine={self.name}", f"--network-bridge={BRIDGE}"]
        groups = " ".join(str(group / self.name) for group in self._site.groups)
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(
                ["sh", "-c", _ENTER, "sh", *names],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**os.environ, "GROUPS_OF_HOST": groups},
            )

    def wait(self) -> None:
        """Wait until it answers."""
        until(self._is_up, f"{self.name} answers", within_s=_BOOT_S)

    def cut(self) -> None:
        """Cut its power, and wait until the kernel has put its network away."""
        assert self._process
        self._process.kill()
        self._process.wait()
        self._kill_all()
        until(self._is_unplugged, f"the bridge has no port of {self.name}", within_s=_BOOT_S)

    def ssh(self, command: str) -> str:
        """Run a command as root and give what it printed; a failure raises with what it said."""
        done = subprocess.run(
            [*_ssh(self._site), f"{USER}@{self.address}", f"sudo sh -c {_quoted(command)}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            raise AssertionError(f"{self.name}: {command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def _kill_all(self) -> None:
        """Kill whoever is in its control groups: its first process outlives nspawn."""
        for group in self._site.groups:
            for members in (group / self.name).rglob("cgroup.procs"):
                for pid in filter(None, map(int, members.read_text(encoding="utf-8").split())):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def _is_unplugged(self) -> bool:
        return f"vb-{self.name}" not in {name for _, name in socket.if_nameindex()}

    def _is_up(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            raise AssertionError(f"{self.name} ended:\n{self._console.read_text(errors='replace')}")
        try:
            with socket.create_connection((self.address, 22), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


def prepare(site: Site) -> None:
    """Make the bridge, the place for disks, and the key by which hosts are reached."""
    _run("mount", "--make-rprivate", "/")
    site.disks.mkdir()
    _run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", site.disks)
    for command in ("set lo up", f"add {BRIDGE} type bridge", f"set {BRIDGE} up"):
        _run("ip", "link", *command.split())
    _run("ip", "address", "add", f"{HERE}/24", "dev", BRIDGE)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", site.key)


def _disk(site: Site, name: str) -> Path:
    upper, work, root = (site.disks / name / part for part in ("upper", "work", "root"))
    for directory in (upper, work, root):
        directory.mkdir(parents=True)
    _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={site.image},upperdir={upper},workdir={work}", root)
    return root


def _settle(site: Site, root: Path, address: str) -> None:
    """Do what the installation of a host would have done: its address, its administrator, a fresh package index."""
    (root / "etc/systemd/network/10-host0.network").write_text(_NETWORK_UNIT.format(address=address), encoding="utf-8")
    (root / "etc/hostname").write_text(f"{root.parent.name}\n", encoding="utf-8")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{address} {root.parent.name}\n", encoding="utf-8")
    (root / "etc/resolv.conf").write_text("", encoding="utf-8")  # there is nobody to ask
    _run("systemctl", f"--root={root}", "--quiet", "enable", "systemd-networkd.service")
    _run("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", USER)
    (root / "etc/sudoers.d/admin").write_text(_SUDOERS, encoding="utf-8")
    home = root / "home" / USER / ".ssh"
    home.mkdir(mode=0o700)
    shutil.copy(f"{site.key}.pub", home / "authorized_keys")
    _run("chroot", root, "chown", "--recursive", f"{USER}:{USER}", f"/home/{USER}")
    os.utime(root / "var/lib/apt/lists")
    public = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="utf-8").split()[:2]
    with site.known_hosts.open("a", encoding="utf-8") as known:
        known.write(f"{address} {' '.join(public)}\n")


def _ssh(site: Site) -> list[str]:
    return ["ssh", "-i", str(site.key), "-o", f"UserKnownHostsFile={site.known_hosts}", "-o", "BatchMode=yes"]


def _quoted(command: str) -> str:
    return "'" + command.replace("'", "'\\''") + "'"


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"

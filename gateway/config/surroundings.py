"""What a configuration depends on besides its file: who runs the gateway, and what this kernel offers.

Read once, by `Surroundings.read`; all that judges a configuration takes the result as an argument.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_CONGESTION_CONTROLS = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The facts about user and kernel that decide defaults and rules.

    Attributes:
        uid: effective user of this process.
        xdg_runtime_dir: $XDG_RUNTIME_DIR, empty where it is not set.
        congestion_controls: what the kernel offers for TCP_CONGESTION (tcp(7)); None where it does not say.
        shared_dir: where a user without a runtime directory makes one, next to everybody else's.
        service_dir: $RUNTIME_DIRECTORY, which the service manager made for us; empty where it is not set.
    """

    uid: int
    xdg_runtime_dir: str = ""
    congestion_controls: frozenset[str] | None = None
    shared_dir: Path = Path("/tmp")
    service_dir: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Look around: the one place where environment, user and /proc reach a configuration."""
        return cls(
            uid=os.geteuid(),
            xdg_runtime_dir=environment.get("XDG_RUNTIME_DIR", ""),
            congestion_controls=_congestion_controls(),
            service_dir=environment.get("RUNTIME_DIRECTORY", "").partition(":")[0],
        )

    @property
    def runtime_dir(self) -> Path:
        """Where control socket and pid file go unless the file says otherwise."""
        if Path(self.service_dir).is_absolute():
            return Path(self.service_dir)
        if self.uid == 0:
            return Path("/run/midmile")
        if Path(self.xdg_runtime_dir).is_absolute():
            return Path(self.xdg_runtime_dir) / "midmile"
        return self.shared_dir / f"midmile-{self.uid}"

    def runtime_dir_fault(self) -> str:
        """Say what of the default runtime directory cannot be trusted; empty where all is well or nothing is there.

        Only a directory in a place where everybody may write could have been made, first, by somebody else.
        """
        path = self.runtime_dir
        if path.parent != self.shared_dir or not os.path.lexists(path):
            return ""
        facts = path.lstat()
        if not stat.S_ISDIR(facts.st_mode):
            return f"{path}, which is no directory"
        if facts.st_uid != self.uid:
            return f"{path}, which belongs to user {facts.st_uid}"
        mode = stat.S_IMODE(facts.st_mode)
        return f"{path} with mode {mode:04o}" if mode & 0o077 else ""


def _congestion_controls() -> frozenset[str] | None:
    if not _CONGESTION_CONTROLS.exists():
        return None
    return frozenset(_CONGESTION_CONTROLS.read_text(encoding="ascii").split())

"""What this host is and allows, read once from the kernel. Judging it is gateway.checks.doctor's."""

import os
import platform
import re
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, Self

from gateway.topology import usable_cores

SYSCTLS: Final = (
    "net.core.somaxconn",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_migrate_req",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.tcp_allowed_congestion_control",
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv6.conf.all.forwarding",
    "fs.pipe-user-pages-soft",
)


class Capability(IntEnum):
    """Rights that matter here, by their bit. Source: linux/capability.h, capabilities(7)."""

    NET_BIND_SERVICE = 10
    NET_ADMIN = 12
    NET_RAW = 13
    SYS_ADMIN = 21
    SYS_RESOURCE = 24


@dataclass(frozen=True, slots=True)
class Host:
    """This host, as far as a gateway depends on it.

    Attributes:
        kernel: release, major and minor.
        python: major and minor.
        capabilities: effective ones, a bit each.
        descriptors_hard: RLIMIT_NOFILE, to which a worker may raise its own limit.
        cores: those that this process may use.
        page_bytes: size of a memory page.
        sysctls: values by name, without those that this kernel or container does not show.
    """

    kernel: tuple[int, int]
    python: tuple[int, int]
    capabilities: int
    descriptors_hard: float
    cores: tuple[int, ...]
    page_bytes: int
    sysctls: Mapping[str, str]

    @classmethod
    def read(cls) -> Self:
        """Look around."""
        return cls(
            kernel=parse_release(platform.release()),
            python=sys.version_info[:2],
            capabilities=parse_capabilities(Path("/proc/self/status").read_text()),
            descriptors_hard=_unlimited(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
            cores=usable_cores(),
            page_bytes=os.sysconf("SC_PAGE_SIZE"),
            sysctls={name: value for name in SYSCTLS if (value := _sysctl(name)) is not None},
        )

    def may(self, capability: Capability) -> bool:
        """Tell whether this process has the right."""
        return bool(self.capabilities >> capability & 1)

    def numbers(self, sysctl: str) -> tuple[int, ...]:
        """Give a sysctl's numbers, none where it is not shown."""
        return tuple(int(word) for word in self.sysctls.get(sysctl, "").split())


def parse_release(release: str) -> tuple[int, int]:
    """Read major and minor from a kernel's release such as 6.1.0-18-amd64; (0, 0) for what is none."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def parse_capabilities(status: str) -> int:
    """Read CapEff from /proc/PID/status; 0 where it is not there. Source: proc_pid_status(5)."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return int(match[1], 16) if match else 0


def _unlimited(limit: int) -> float:
    return float("inf") if limit == resource.RLIM_INFINITY else limit


def _sysctl(name: str) -> str | None:
    # The name of a sysctl has dots for slashes (sysctl(8)).
    path = Path("/proc/sys") / name.replace(".", "/")
    try:
        return path.read_text().strip()
    except OSError:  # an older kernel, or a container that hides it
        return None

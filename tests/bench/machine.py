"""The machine under the bench: what it must have, which cores it lends, and what a reader must know of it."""

import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.processes import BenchError

_STREAM_MODULE = "/usr/share/nginx/modules/ngx_stream_module.so"
_PACKAGES = {  # what must be there → the Debian package that brings it
    "haproxy": "haproxy",
    "nginx": "nginx",
    _STREAM_MODULE: "libnginx-mod-stream",
    "wrk": "wrk",
    "iperf3": "iperf3",
    "taskset": "util-linux",
    "ip": "iproute2",
}


@dataclass(frozen=True, slots=True)
class Cores:
    """The core a relay has for itself, and the one that all loads and origins share."""

    relay: int
    loads: int


def choose_cores() -> Cores:
    """Take the last core this process may use for the relay, the first for the rest: the first serves most interrupts.

    Raises:
        BenchError: there is only one, and a relay would be measured against its own load.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError(f"needs two cores, one for the relay and one for the load; this process may use {allowed}")
    return Cores(relay=allowed[-1], loads=allowed[0])


def require_programs() -> None:
    """Raise BenchError, naming the packages, unless all peers and loads are installed."""
    missing = [package for name, package in _PACKAGES.items() if not (shutil.which(name) or Path(name).is_file())]
    if missing:
        raise BenchError(f"needs the Debian packages {' '.join(missing)} (apt install {' '.join(missing)})")


def require_descriptors(sessions: int) -> None:
    """Raise this process's limit, which all programs inherit, to the hard one; a relay needs two for each session.

    Raises:
        BenchError: the hard limit is too low.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < (needed := 2 * sessions + 300):
        raise BenchError(f"needs {needed} descriptors a process, the hard limit is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def facts(cores: Cores) -> dict[str, str | int]:
    """Give what a figure means nothing without: machine, kernel, versions, commit, cores, time."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": _first_line(["git", "describe", "--always", "--dirty", "--abbrev=10"]),
        "kernel": platform.release(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "relay_core": cores.relay,
        "loads_core": cores.loads,
        "python": sys.version.split()[0],
        "gevent": importlib.metadata.version("gevent"),
        "haproxy": _first_line(["haproxy", "-v"]),
        "nginx": _first_line(["nginx", "-v"]),
        "wrk": _first_line(["wrk", "-v"]),
        "iperf3": _first_line(["iperf3", "-v"]),
    }


def _first_line(argv: list[str]) -> str:
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )  # wrk -v ends with 1
    return done.stdout.partition("\n")[0].strip()


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

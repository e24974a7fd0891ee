"""Programs the bench starts, how they end, and what they cost. Knows nothing of relays or loads.

Each program leads a process group of its own and is pinned before it runs its first instruction (taskset(1) sets the
affinity and then becomes the program), so whatever it forks is pinned too.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_PATIENCE_S = 30.0
_STOP_S = 5.0
_POLL_S = 0.01
_LOWEST_PORT = 2048
_SLICE = 200  # ports
_DEFAULT_PORTS = {7400, 8443, 9900}  # what examples and defaults name
_claims: list[socket.socket] = []


class BenchError(Exception):
    """A figure could not be had; the message says which program, what was expected and what came."""


class UnpunctualError(BenchError):
    """All of it ran, but late: the machine had other work, or somebody was too slow. What it gave is no figure."""


def pinned(argv: Sequence[str], core: int) -> list[str]:
    """Give the command that runs `argv` on one core only."""
    return ["taskset", "--cpu-list", str(core), *argv]


@contextmanager
def running(argv: Sequence[str], *, core: int, log: Path, talk: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, pinned, for as long as the block lasts; then end it and everything it started.

    Args:
        log: where its output goes.
        talk: stdin and stdout are pipes to the caller instead, and only stderr goes to the log.
    """
    with log.open("ab") as sink:
        pipe = subprocess.PIPE if talk else None
        process = subprocess.Popen(
            pinned(argv, core),
            stdin=pipe or subprocess.DEVNULL,
            stdout=pipe or sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the leader, who knows his children; then end by force whoever of the group is left."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    with suppress(ProcessLookupError):  # the usual case: nobody is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in filter(None, (process.stdin, process.stdout)):
        with suppress(BrokenPipeError):
            pipe.close()


def wait_for(process: subprocess.Popen[bytes], fact: Callable[[], bool], *, expected: str, log: Path) -> None:
    """Return once `fact` holds, looking every 10 ms.

    Raises:
        BenchError: the program ended, or the fact did not come true in 30 s.
    """
    for _ in range(int(_PATIENCE_S / _POLL_S)):
        if fact():
            return
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(_POLL_S)
            raise BenchError(f"{process.args!r} ended with {code}, expected that it {expected}: {tail(log)}")
    raise BenchError(f"{process.args!r}: expected that it {expected} within {_PATIENCE_S:g} s: {tail(log)}")


def wait_listening(process: subprocess.Popen[bytes], ports: Sequence[int], log: Path) -> None:
    """Return once the program's descriptors show that it listens; a trial connection would already be a session."""
    wait_for(process, lambda: set(ports) <= _listening(process.pid), expected=f"listens on {list(ports)}", log=log)


def _listening(pid: int) -> set[int]:
    return {entry.laddr.port for entry in sockets(pid) if entry.status == psutil.CONN_LISTEN}


def sockets(pid: int) -> list[Any]:
    """Give the TCP sockets of one process as psutil describes them; none once it has ended."""
    try:
        return list(psutil.Process(pid).net_connections(kind="tcp"))
    except psutil.NoSuchProcess:
        return []


def tail(log: Path, *, size: int = 800) -> str:
    """Give the end of what a program wrote, for a message about it."""
    return log.read_text(errors="replace")[-size:].strip() or "(it wrote nothing)"


def free_ports(count: int) -> list[int]:
    """Give ports that nobody listens on, and that no other process is given by this function while this one lives.

    They lie below those that the kernel gives to whoever asks for none in particular: one of these could be somebody's
    connection or listener before the program that it is for has got to its own bind().

    Raises:
        BenchError: no port is left.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = next(_own_ports, None)
        if port is None:
            raise BenchError("expected a free port below ip_local_port_range; found none")
        with suppress(OSError):  # somebody's who does not ask here
            socket.create_server(("", port)).close()
            ports.append(port)
    return ports


def _claimed_ports() -> Iterator[int]:
    """Name ports, a slice at a time. A slice is claimed by a name in the abstract namespace, which ends with us."""
    beyond = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for first in range(beyond - _SLICE, _LOWEST_PORT, -_SLICE):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0midmile-ports-{first}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        yield from (port for port in range(first, first + _SLICE) if port not in _DEFAULT_PORTS)


_own_ports = _claimed_ports()


def _memory_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


@dataclass(frozen=True, slots=True)
class Tree:
    """Programs with everything they forked: masters, their workers, and whatever else serves the sessions."""

    roots: Sequence[psutil.Process]

    def members(self) -> list[psutil.Process]:
        """Give all live processes, each root before its children."""
        return [member for root in self.roots for member in (root, *root.children(recursive=True))]

    def parts(self) -> "list[Tree]":
        """Give a tree for each root."""
        return [Tree([root]) for root in self.roots]

    def cpu_s(self) -> dict[int, float]:
        """Give user plus system seconds by pid, as in /proc/PID/stat: exact sums, rounded to a tick of 10 ms."""
        return {member.pid: sum(member.cpu_times()[:2]) for member in self.members()}

    def cpu_since(self, before: dict[int, float]) -> float:
        """Give the CPU seconds the tree has used since `before`, a former answer of `cpu_s`.

        Raises:
            BenchError: a process came or went in between; what it used is not known.
        """
        now = self.cpu_s()
        if now.keys() != before.keys():
            raise BenchError(f"processes changed under load: {sorted(before)} became {sorted(now)}")
        return sum(now.values()) - sum(before.values())

    def memory_bytes(self) -> int:
        """Give the tree's memory but for mapped files: a page that master and workers share since the fork counts once.

        Files are left out, for their share falls whenever anyone else maps them, such as a load in the same Python.

        Source: Pss_Anon and Pss_Shmem of /proc/PID/smaps_rollup, proc(5), Linux 5.3.
        """
        return sum(_memory_bytes(member.pid) for member in self.members())

    def require_pinned(self, core: int) -> None:
        """Raise BenchError unless every process of the tree may run on `core` only."""
        for member in self.members():
            if member.cpu_affinity() != [core]:
                raise BenchError(f"{member!r} may run on cores {member.cpu_affinity()}, expected [{core}]")

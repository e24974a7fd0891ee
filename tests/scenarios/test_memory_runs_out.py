"""One worker gets no more memory: the kernel kills it and nobody else, and its successor takes its place.

The worker is put into a memory cgroup of its own, whose bound is met by sessions that it is given to hold.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.scenarios.echo_sink import echo_sink
from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import running_gateway
from tests.scenarios.peers_under_test import connect, hear_exactly

ROOM_BYTES = 3 * 1024 * 1024  # beyond what it has when it is put there: that stays where it was charged
IDLE_MOST = 4_000
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def own_group() -> tuple[Path, str] | None:
    """Give this process's memory cgroup, and the name of the file with a group's bound; None where there is none."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return V1 / path.lstrip("/"), "memory.limit_in_bytes"
        if not controllers and "memory" in _controllers(V2 / path.lstrip("/")):
            return V2 / path.lstrip("/"), "memory.max"
    return None


def _controllers(group: Path) -> str:
    with suppress(OSError):
        return (group / "cgroup.subtree_control").read_text()
    return ""


def can_bound() -> bool:
    """Tell whether groups may be made and bounded here."""
    try:
        with bounded_group():
            return True
    except OSError:
        return False


@contextmanager
def bounded_group() -> Iterator[Path]:
    """Make a memory cgroup with little room, and take it away when nobody is in it any more."""
    found = own_group()
    if found is None:
        raise FileNotFoundError("no memory cgroup")
    parent, bound = found
    group = _usable(parent) / f"midmile-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / bound).write_text(str(ROOM_BYTES))
        yield group
    finally:
        group.rmdir()


def _usable(group: Path) -> Path:
    """Give the group itself, or the root of its hierarchy where this process's group is not to be seen from here."""
    return group if group.is_dir() else (V1 if group.is_relative_to(V1) else V2)


pytestmark = pytest.mark.skipif(not can_bound(), reason="needs a memory cgroup that may be written to, as root has")


def test_the_others_go_on(tmp_path: Path) -> None:
    with echo_sink() as destination, ExitStack() as opened:
        group = opened.enter_context(bounded_group())
        gateway = opened.enter_context(running_gateway(tmp_path / "gateway", forward(destination)))
        port, (victim, other) = gateway.port("forward"), gateway.worker_pids()
        (group / "cgroup.procs").write_text(str(victim))
        clients = fill(port, until_ended=victim, opened=opened)
        gateway.line(rf"worker 0, pid {victim} ended by SIGKILL")
        gateway.wait_until(lambda: gateway.worker_pids() not in ([victim, other], [other]), expected="a successor")
        assert gateway.worker_pids()[1] == other
        echoes = [echoed(client) for client in clients]
        assert any(echoes), "sessions of the other worker go on"
        assert not all(echoes), "those of the killed one were reset"
        newcomers = [opened.enter_context(connect(port)) for _ in range(20)]
        assert all(map(echoed, newcomers)), "both shards serve"


def fill(port: int, *, until_ended: int, opened: ExitStack) -> list[socket.socket]:
    """Have more and more idle sessions, until a process has ended; gives the clients' ends."""
    clients: list[socket.socket] = []
    while len(clients) < IDLE_MOST and is_alive(until_ended):
        clients.append(opened.enter_context(connect(port)))
    return clients


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def echoed(client: socket.socket) -> bool:
    """Tell whether a session carries bytes there and back; it was reset where not."""
    try:
        client.sendall(b"still here")
        return hear_exactly(client, 10) == b"still here"
    except (ConnectionResetError, BrokenPipeError):
        return False

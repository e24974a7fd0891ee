"""The disk of the log is full: sessions go on, lines are dropped and counted, and are written again with room."""

import os
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.control_client import NotRunning
from tests.bench.processes import free_ports
from tests.scenarios.harness.configuration import Table, at, forward
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.load import SERVED, answering, visiting

DISK_BYTES = 256 * 1024
MORE = 500
DROPPED = "midmile_log_lines_dropped_total"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small file system of its own"),
    pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare of util-linux"),
]


class Disk:
    """A small file system that only a gateway under test and its children see; it is gone with the last of them."""

    def __init__(self, place: Path, gateway: Gateway) -> None:
        self._seen = Path(f"/proc/{gateway.process.pid}/root{place}")  # proc(5)

    @property
    def log(self) -> str:
        return (self._seen / "log").read_text()

    def fill(self) -> None:
        with (self._seen / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
            while True:
                filler.write(bytes(4096))

    def make_room(self) -> None:
        (self._seen / "filler").unlink()


@contextmanager
def logging_to_a_disk(directory: Path, listen: Table, *, admin: str) -> Iterator[tuple[Gateway, Disk]]:
    """Run a gateway whose log is a file on a small disk."""
    disk = directory / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size={DISK_BYTES} tmpfs "$0" && exec "$@" 2>"$0/log"'
    under = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(disk)]
    tables: dict[str, Table] = {"gateway": {"workers": 1}, "admin": {"http": admin}}
    gateway = Gateway.configured(directory / "gateway", [listen], tables, under=under)
    try:
        gateway.wait_until(lambda: is_ready(gateway), expected="it is ready")
        yield gateway, Disk(disk, gateway)
        gateway.end()
    finally:
        gateway.abandon()


def is_ready(gateway: Gateway) -> bool:
    """Tell whether its workers accept; its log cannot be read."""
    try:
        return all(worker["state"] == "ready" for worker in gateway.status()["workers"])
    except NotRunning:
        return False


def dropped(admin: str) -> float:
    """Give how many lines the gateway says it has dropped; its log, which tells others where to ask, cannot be read."""
    with urllib.request.urlopen(f"http://{admin}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return next(sample.value for family in families for sample in family.samples if sample.name == DROPPED)


def test_sessions_go_on_and_lines_come_again_with_room(tmp_path: Path) -> None:
    with answering() as port:
        listen, admin = forward(port), at(free_ports(1)[0])
        with logging_to_a_disk(tmp_path, listen, admin=admin) as (gateway, disk):
            own_port = int(str(listen["bind"]).rpartition(":")[2])
            with visiting(own_port) as outcomes:
                gateway.wait_until(lambda: " forward " in disk.log, expected="sessions are logged")
                disk.fill()
                seen = len(outcomes)
                gateway.wait_until(lambda: len(outcomes) > seen + MORE, expected="sessions go on without a log")
                gateway.wait_until(lambda: dropped(admin) > 0, expected="dropped lines are counted")
                size = len(disk.log)
                disk.make_room()
                gateway.wait_until(lambda: len(disk.log) > size, expected="lines are written again")
            assert outcomes.count(SERVED) == len(outcomes)
            assert "Traceback" not in disk.log
            lines = disk.log.splitlines()
            assert [line for line in lines if line and not line.startswith("20")] == []

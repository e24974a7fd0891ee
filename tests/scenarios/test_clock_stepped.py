"""Somebody sets the clock a day forth and a day back: no session ends of it, no worker is taken for one that hangs.

libfaketime sets the wall clock of the gateway's processes alone, as they run. The monotonic one goes on, as in Linux.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import Gateway, running_gateway
from tests.scenarios.harness.load import SERVED, answering, visiting
from tests.scenarios.peers_under_test import Destination, Heard, hear_exactly, session

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
DAY = timedelta(days=1)
MORE = 50

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime, of the Debian package of that name")


class Clock:
    """The wall clock of a gateway under test."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.step(timedelta())

    @property
    def environment(self) -> dict[str, str]:
        """Variables under which a program has this clock; see faketime(1)."""
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, off: timedelta) -> None:
        """Set it `off` from what it really is."""
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{off.total_seconds():+.0f}\n")
        draft.rename(self._file)


def test_nothing_ends_of_it(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    timeouts = {"idle": 3600, "worker_heartbeat": 2, "drain": 2}
    with answering() as port, Destination() as destination:
        listens = [forward(port, name="short"), forward(destination.port, name="long")]
        with running_gateway(
            tmp_path / "gateway", *listens, environment=clock.environment, timeouts=timeouts
        ) as gateway:
            pids = gateway.worker_pids()
            with session(gateway.port("long"), destination) as (client, far):
                with visiting(gateway.port("short")) as outcomes:
                    for off in (DAY, -DAY, timedelta()):
                        clock.step(off)
                        expect_on(gateway, outcomes, off)
                assert outcomes.count(SERVED) == len(outcomes)
                client.sendall(b"still here")
                assert hear_exactly(far, 10) == b"still here"
            assert gateway.worker_pids() == pids
            assert gateway.command("health").returncode == 0
            times_us = [int(us) for line in gateway.sessions_logged("short") for us in line["us"].split("/")]
            assert 0 <= min(times_us) <= max(times_us) < 60e6, "durations are the monotonic clock's"


def expect_on(gateway: Gateway, outcomes: list[Heard], off: timedelta) -> None:
    """Hold the gateway to going on, and its log to the time that the clock shows now."""
    seen = len(outcomes)
    gateway.wait_until(lambda: len(outcomes) > seen + MORE, expected=f"sessions go on at a clock {off} off")
    day = (datetime.now(UTC) + off).strftime("%Y-%m-%d")
    gateway.line(rf"^{day}T.* short ")

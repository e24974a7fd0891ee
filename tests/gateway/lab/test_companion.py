"""Companions in general, by one that holds an emulated WAN; what is asked of a WAN is in test_wan."""

import os
import signal
from typing import Any

import psutil
import pytest

from gateway.lab.companion import Companion
from pools.net.errors import StartError

PLAN: dict[str, Any] = {"sites": {}, "lines": []}  # a WAN without sites: nothing that takes root
LIMIT_S = 20.0


def test_it_answers_each_line_and_ends_when_it_is_told_to() -> None:
    companion = Companion("gateway.lab.wan_process", called="it")
    assert companion.ask(PLAN) == {}
    assert companion.ask({"counts": True})["lines"] == []
    companion.close(patience_s=LIMIT_S)
    assert not psutil.pid_exists(companion.pid)


def test_what_it_cannot_do_is_said_with_its_name() -> None:
    companion = Companion("gateway.lab.wan_process", called="it")
    with pytest.raises(StartError, match="^it: rate_bits_s must be 0 or more"):
        companion.ask({"sites": {}, "lines": [["a", "b", {"rate_bits_s": -1}]]})
    companion.close(patience_s=LIMIT_S)


def test_one_that_hangs_is_ended_by_force() -> None:
    companion = Companion("gateway.lab.wan_process", called="it")
    companion.ask(PLAN)
    os.kill(companion.pid, signal.SIGSTOP)
    companion.close(patience_s=0.1)
    assert not psutil.pid_exists(companion.pid)


def test_one_that_has_died_is_told_of() -> None:
    companion = Companion("gateway.lab.wan_process", called="it")
    os.kill(companion.pid, signal.SIGKILL)
    with pytest.raises(StartError, match="its process has ended"):
        companion.ask(PLAN)
    companion.close(patience_s=LIMIT_S)

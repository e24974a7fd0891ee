"""How costs are computed, on ways whose cost is known; the ways themselves are in test_relay_ways."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest

from gateway.lab import relay_cost
from gateway.lab.relay_cost import run_relay
from gateway.lab.relay_ways import COPY, DIRECT, SOCKMAP, SPLICE
from gateway.lab.results import RelayCost
from gateway.lab.sockmap import SockmapUnavailable

GB = 10**9
SIZE = 2 * GB
COSTS_S = {DIRECT: 1.0, COPY: 1.75, SPLICE: 1.25, SOCKMAP: 1.5}  # of the machine, for a gigabyte
OWN_S = {COPY: 0.5, SPLICE: 0.125}


class Ledger:
    """Stands for all ways, and counts what they cost."""

    def __init__(self, *, has_sockmap: bool = True) -> None:
        self.spent_s = {"machine": 0.0, COPY: 0.0, SPLICE: 0.0}
        self.opened: list[str] = []
        self._has_sockmap = has_sockmap
        self._now = DIRECT

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.append("closed")

    @contextmanager
    def open(self, how: str) -> Iterator["Ledger"]:
        if how == SOCKMAP and not self._has_sockmap:
            raise SockmapUnavailable("bpf(2) is not permitted here")
        self.opened.append(how)
        self._now = how
        yield self

    def own_cpu_s(self, how: str) -> float | None:
        return self.spent_s[how] if how in OWN_S else None

    def carry(self, size_bytes: int) -> None:
        self.spent_s["machine"] += COSTS_S[self._now] * size_bytes / GB
        if self._now in OWN_S:
            self.spent_s[self._now] += OWN_S[self._now] * size_bytes / GB

    def taken_in(self, *, at_most_bytes: int) -> int:
        return at_most_bytes if self._now == SOCKMAP else 5_000_000


def measured(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, *, busy: float = 0.0) -> tuple[Any, list[str]]:
    told: list[str] = []
    monkeypatch.setattr(relay_cost, "RelayWays", lambda: ledger)
    monkeypatch.setattr(relay_cost, "_machine_cpu_s", lambda: ledger.spent_s["machine"])
    monkeypatch.setattr(relay_cost, "_busy_cores", lambda: busy)
    return run_relay(size_bytes=SIZE, repeats=2, progress=told.append), told


def test_a_cost_is_what_a_way_takes_on_top_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    result, told = measured(monkeypatch, ledger := Ledger())
    found = [(cost.how, cost.cpu_s_per_gb, cost.own_cpu_s_per_gb, cost.keeps_back_pressure) for cost in result.costs]
    assert found == [
        (COPY, pytest.approx(0.75), pytest.approx(0.5), True),
        (SPLICE, pytest.approx(0.25), pytest.approx(0.125), True),
        (SOCKMAP, pytest.approx(0.5), None, False),
    ]
    assert len(told) == 8
    assert (ledger.opened[-1], result.warnings, result.size_bytes) == ("closed", [], SIZE)


def test_ways_are_measured_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, ledger := Ledger())
    assert ledger.opened[1:9] == [DIRECT, COPY, SPLICE, SOCKMAP] * 2


def test_what_this_host_does_not_have_is_told_and_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = measured(monkeypatch, ledger := Ledger(has_sockmap=False))
    assert result.costs[-1] == RelayCost(SOCKMAP, note="bpf(2) is not permitted here")
    assert SOCKMAP not in ledger.opened


def test_other_work_on_the_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = measured(monkeypatch, Ledger(), busy=0.5)
    assert result.warnings == [
        "the machine must have no other work; found 0.50 of a core in use before anything was measured"
    ]

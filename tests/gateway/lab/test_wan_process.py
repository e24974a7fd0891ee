import json
import subprocess
import sys
from contextlib import ExitStack
from ipaddress import IPv4Interface
from typing import Any

import pytest

from gateway.lab import wan_process
from gateway.lab.carrier import Carrier
from gateway.lab.delay_line import DelayLine, LineTerms
from gateway.lab.site import Site
from pools.net.errors import StartError


@pytest.fixture
def carrier() -> Carrier:
    sites = [Site(name, IPv4Interface(f"10.77.0.{device}/24"), -1, device) for device, name in enumerate("ab", 1)]
    return Carrier(sites, {("a", "b"): DelayLine(LineTerms()), ("b", "a"): DelayLine(LineTerms())})


@pytest.fixture
def sites_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_site(name: str, address: IPv4Interface, *, sysctls: dict[str, str]) -> Site:
        if sysctls:
            raise PermissionError("not as this user")
        return Site(name, address, -1, -1)

    monkeypatch.setattr(Site, "open", open_site)
    monkeypatch.setattr(Site, "close", lambda _: None)
    monkeypatch.setattr(Site, "cut_packets", lambda _: None)


def test_a_command_changes_one_line(carrier: Carrier) -> None:
    assert wan_process.obey({"change": ["a", "b", {"delay_s": 0.5}]}, carrier) == {}
    assert [line.terms for line in carrier.lines.values()] == [LineTerms(delay_s=0.5), LineTerms()]


@pytest.mark.parametrize(("seeds", "same"), [((7, 7), True), ((7, 8), False)])
def test_lines_that_draw_by_equal_seeds_lose_the_same(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch, seeds: tuple[int, int], same: bool
) -> None:
    monkeypatch.setattr(Site, "cut_packets", lambda _: None)
    for (start, end), seed in zip(carrier.lines, seeds, strict=True):
        wan_process.obey({"change": [start, end, {"loss": 0.5}], "seed": seed}, carrier)
    fates = {fate(line) for line in carrier.lines.values()}
    assert (len(fates) == 1) is same


def test_sites_whose_lines_lose_some_send_packets_singly(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[str] = []
    monkeypatch.setattr(Site, "cut_packets", lambda site: cut.append(site.name))
    for loss in (0.0, 1.0, 0.001):
        wan_process.obey({"change": ["b", "a", {"loss": loss}]}, carrier)
    assert cut == ["b"]


def test_counts_tell_of_each_line_and_of_all(carrier: Carrier) -> None:
    carrier.lines["a", "b"].enter(b"packet", now_s=0)
    carrier.punctuality.late = 3
    told = wan_process.obey({"counts": True}, carrier)
    assert [(start, end, counts["entered"]) for start, end, counts in told["lines"]] == [("a", "b", 1), ("b", "a", 0)]
    assert told["late"] == 3


def test_the_worst_is_told_once(carrier: Carrier) -> None:
    carrier.punctuality.worst_s = 0.25
    assert [wan_process.obey({"counts": True}, carrier)["worst_s"] for _ in range(2)] == [0.25, 0.0]


@pytest.mark.usefixtures("sites_without_root")
def test_a_plan_gives_each_site_an_address_and_each_line_a_seed_of_its_own() -> None:
    terms = {"loss": 0.5}
    plan = {"sites": {"a": {}, "b": {}}, "lines": [["a", "b", terms], ["b", "a", terms]]}
    with ExitStack() as held:
        carrier = wan_process.build(plan, held)
    assert [str(site.address) for site in carrier.sites] == ["10.77.0.1/24", "10.77.0.2/24"]
    assert len({fate(line) for line in carrier.lines.values()}) == 2


def fate(line: DelayLine) -> tuple[bool, ...]:
    """Tell which of a hundred packets come out."""
    gone = []
    for _ in range(100):
        line.enter(b"packet", now_s=0)
        gone.append(line.leave(now_s=0) is not None)
    return tuple(gone)


@pytest.mark.usefixtures("sites_without_root")
def test_a_site_that_cannot_be_made_is_named() -> None:
    plan = {"sites": {"a": {}, "b": {"ipv4.ip_forward": "1"}}, "lines": []}
    with ExitStack() as held, pytest.raises(StartError, match="site b: needs root.*not as this user"):
        wan_process.build(plan, held)


@pytest.mark.usefixtures("sites_without_root")
def test_more_sites_than_addresses_are_refused() -> None:
    plan: dict[str, Any] = {"sites": {f"site{number}": {} for number in range(255)}, "lines": []}
    with ExitStack() as held, pytest.raises(ValueError, match="addresses for 254 sites; found 255"):
        wan_process.build(plan, held)


@pytest.mark.parametrize("terms", [{"delay_s": -1}, {"loss": 2}])
def test_a_plan_that_is_wrong_is_answered_with_what_is_wrong(terms: dict[str, float]) -> None:
    plan = {"sites": {}, "lines": [["a", "b", terms]]}
    done = subprocess.run(
        [sys.executable, "-m", "gateway.lab.wan_process"],
        input=json.dumps(plan) + "\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{next(iter(terms))} must be" in json.loads(done.stdout)["error"]

"""What transparent capture needs of a host: each lack by itself, and nothing asked of hosts without it."""

from dataclasses import replace

import pytest

from gateway.checks.findings import Finding, Level
from gateway.checks.host import Capability, Host
from gateway.checks.transparent_checks import check_transparent
from pools.net.endpoint import Endpoint
from workers.settings import Listen, Mode

BIND = Endpoint("0.0.0.0", 15001)
REDIRECT = Listen("redirected", BIND, Mode.REDIRECT)
TPROXY = Listen("web", BIND, Mode.TPROXY)
AS_CLIENT = Listen("orders", BIND, Mode.FORWARD, Endpoint("192.0.2.1", 443), preserve_source=True)
FITTING = Host(
    kernel=(6, 1),
    python=(3, 11),
    capabilities=1 << Capability.NET_RAW,
    descriptors_hard=1024,
    cores=(0,),
    page_bytes=4096,
    sysctls={
        "net.ipv4.ip_forward": "1",
        "net.ipv6.conf.all.forwarding": "1",
        "net.ipv4.conf.all.rp_filter": "2",
    },
)


def wrong(host: Host, *listens: Listen) -> list[Finding]:
    return [finding for finding in check_transparent(host, listens) if finding.level is not Level.OK]


def with_sysctl(name: str, value: str) -> Host:
    return replace(FITTING, sysctls={**FITTING.sysctls, name: value})


def test_a_host_without_such_listeners_is_not_looked_at() -> None:
    assert list(check_transparent(FITTING, [Listen("proxy", BIND, Mode.MIXED)])) == []


def test_a_host_that_fits_has_nothing_wrong() -> None:
    assert wrong(FITTING, REDIRECT, TPROXY, AS_CLIENT) == []
    assert wrong(replace(FITTING, sysctls={}), REDIRECT, TPROXY, AS_CLIENT) == []


def test_either_right_will_do_and_without_both_those_who_need_one_are_named() -> None:
    assert wrong(replace(FITTING, capabilities=1 << Capability.NET_ADMIN), TPROXY) == []
    (finding,) = wrong(replace(FITTING, capabilities=0), REDIRECT, TPROXY, AS_CLIENT)
    assert finding.level is Level.FAIL
    assert finding.found == "web, orders: CAP_NET_RAW or CAP_NET_ADMIN not held"
    assert finding.advice.startswith("AmbientCapabilities=CAP_NET_RAW")


def test_redirect_needs_no_right() -> None:
    assert wrong(replace(FITTING, capabilities=0), REDIRECT) == []


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("net.ipv4.ip_forward", "0", "sysctl -w net.ipv4.ip_forward=1"),
        ("net.ipv6.conf.all.forwarding", "0", "sysctl -w net.ipv6.conf.all.forwarding=1"),
        ("net.ipv4.conf.all.rp_filter", "1", "sysctl -w net.ipv4.conf.all.rp_filter=2"),
    ],
)
def test_a_setting_that_stands_in_the_way_is_named(name: str, value: str, advice: str) -> None:
    (finding,) = wrong(with_sysctl(name, value), TPROXY)
    assert (finding.check, finding.found, finding.level) == (name, value, Level.WARN)
    assert finding.advice.startswith(advice)


def test_the_rules_are_shown_with_the_listeners_own_port() -> None:
    found = {finding.check: finding.found for finding in check_transparent(FITTING, [REDIRECT, TPROXY, AS_CLIENT])}
    assert "redirect to :15001" in found["firewall for redirected"]
    assert "ip rule" not in found["firewall for redirected"]
    assert "tproxy to :15001" in found["firewall for web"]
    for name in ("web", "orders"):
        assert "socket transparent 1" in found[f"firewall for {name}"]
        assert "ip rule add fwmark" in found[f"firewall for {name}"]

"""The rules, fed with numbers: a host that fits, and one fault at a time."""

from dataclasses import replace

import pytest

from gateway.checks.findings import Finding, Level
from gateway.checks.host import Capability, Host
from gateway.checks.host_checks import Demand, check_host
from pools.net.endpoint import Endpoint

FITTING = Host(
    kernel=(6, 1),
    python=(3, 11),
    capabilities=0,
    descriptors_hard=100_000,
    cores=(0, 1),
    page_bytes=4096,
    sysctls={
        "net.core.somaxconn": "4096",
        "net.ipv4.tcp_max_syn_backlog": "4096",
        "net.ipv4.tcp_slow_start_after_idle": "0",
        "net.ipv4.tcp_rmem": "4096\t131072\t16777216",
        "net.ipv4.tcp_wmem": "4096\t16384\t16777216",
        "net.ipv4.ip_local_port_range": "32768\t60999",
        "net.ipv4.tcp_fin_timeout": "60",
        "net.ipv4.tcp_migrate_req": "0",
        "net.ipv4.ip_unprivileged_port_start": "1024",
        "net.ipv4.tcp_available_congestion_control": "reno cubic bbr",
        "net.ipv4.tcp_allowed_congestion_control": "reno cubic",
        "fs.pipe-user-pages-soft": "16384",
    },
)
MODEST = Demand(
    workers=2,
    sessions=20_000,
    backlog=4096,
    congestions=frozenset({"cubic"}),
    binds=(("orders", Endpoint("0.0.0.0", 8443)),),
)


def wrong(host: Host = FITTING, demand: Demand = MODEST) -> list[Finding]:
    return [finding for finding in check_host(host, demand) if finding.level is not Level.OK]


def with_sysctl(name: str, value: str) -> Host:
    return replace(FITTING, sysctls={**FITTING.sysctls, name: value})


def test_a_host_that_fits_has_nothing_wrong_and_every_check_its_own_name() -> None:
    assert wrong() == []
    names = [finding.check for finding in check_host(FITTING, MODEST)]
    assert len(names) == len(set(names)) > 10


def test_a_host_that_shows_no_sysctls_is_not_accused() -> None:
    assert wrong(replace(FITTING, sysctls={}), replace(MODEST, congestions=frozenset())) == []


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("net.core.somaxconn", "128", "sysctl -w net.core.somaxconn=4096"),
        ("net.ipv4.tcp_max_syn_backlog", "1024", "sysctl -w net.ipv4.tcp_max_syn_backlog=4096"),
        ("net.ipv4.tcp_slow_start_after_idle", "1", "sysctl -w net.ipv4.tcp_slow_start_after_idle=0"),
        ("net.ipv4.tcp_wmem", "4096 16384 4194304", "sysctl -w net.ipv4.tcp_wmem='4096 16384 16777216'"),
        ("net.ipv4.tcp_rmem", "4096 131072 6291456", "sysctl -w net.ipv4.tcp_rmem='4096 131072 16777216'"),
        ("net.ipv4.ip_local_port_range", "50000 59999", "sysctl -w net.ipv4.ip_local_port_range='10240 65535'"),
        ("net.ipv4.tcp_fin_timeout", "120", "sysctl -w net.ipv4.tcp_fin_timeout=60"),
        ("fs.pipe-user-pages-soft", "1024", "sysctl -w fs.pipe-user-pages-soft=16384"),
    ],
)
def test_each_sysctl_gets_the_line_to_type(name: str, value: str, advice: str) -> None:
    (finding,) = wrong(with_sysctl(name, value))
    assert (finding.check, finding.level) == (name, Level.WARN)
    assert finding.advice.startswith(advice)


def test_with_peers_their_idle_legs_lose_their_window_too() -> None:
    (finding,) = wrong(with_sysctl("net.ipv4.tcp_slow_start_after_idle", "1"), replace(MODEST, pool_legs=512))
    assert "each idle leg to a peer" in finding.advice
    (finding,) = wrong(with_sysctl("net.ipv4.tcp_slow_start_after_idle", "1"))
    assert "peer" not in finding.advice


def test_the_broker_must_be_allowed_to_hold_all_pool_legs() -> None:
    demand = replace(MODEST, pool_legs=99_808)
    assert wrong(demand=demand) == []
    (finding,) = wrong(demand=replace(demand, pool_legs=99_809))
    assert (finding.check, finding.level) == ("pool legs", Level.WARN)
    assert finding.found == "hard limit 100000; the broker needs 100001 for 99809 legs"
    assert finding.advice.startswith("LimitNOFILE=100001")


@pytest.mark.parametrize(("kernel", "level"), [((4, 18), Level.FAIL), ((4, 19), None), ((10, 0), None)])
def test_the_oldest_kernel(kernel: tuple[int, int], level: Level | None) -> None:
    assert [finding.level for finding in wrong(replace(FITTING, kernel=kernel))] == ([level] if level else [])


def test_descriptors_are_counted_against_the_sessions_of_one_worker() -> None:
    assert wrong(replace(FITTING, descriptors_hard=20_192)) == []
    (finding,) = wrong(replace(FITTING, descriptors_hard=20_191))
    assert finding.found == "hard limit 20191; a worker needs 20192 for 10000 sessions"
    assert "LimitNOFILE=20192" in finding.advice
    assert "about 19998 sessions" in finding.advice


def test_no_limit_on_descriptors_is_enough_and_a_tiny_one_holds_no_session() -> None:
    assert wrong(replace(FITTING, descriptors_hard=float("inf"))) == []
    (finding,) = wrong(replace(FITTING, descriptors_hard=64))
    assert "about 0 sessions" in finding.advice


def test_more_workers_than_cores() -> None:
    (finding,) = wrong(with_sysctl("fs.pipe-user-pages-soft", "0"), replace(MODEST, workers=3))
    assert finding.found == "3 workers on 2 usable cores (0, 1)"


def test_a_low_port_needs_the_right_or_another_start() -> None:
    demand = replace(MODEST, binds=(("web", Endpoint("0.0.0.0", 443)),))
    (finding,) = wrong(demand=demand)
    assert (finding.level, finding.check) == (Level.FAIL, "low ports")
    assert wrong(replace(FITTING, capabilities=1 << Capability.NET_BIND_SERVICE), demand) == []
    assert wrong(with_sysctl("net.ipv4.ip_unprivileged_port_start", "80"), demand) == []


@pytest.mark.parametrize("early_syn", [False, True])
def test_a_right_that_a_listener_needs_is_not_called_needless(*, early_syn: bool) -> None:
    findings = check_host(FITTING, replace(MODEST, early_syn=early_syn))
    (others,) = [finding.found for finding in findings if finding.check == "other rights"]
    assert ("CAP_NET_RAW" in others) is not early_syn


def test_rights_lift_the_bound_on_pipes() -> None:
    host = replace(with_sysctl("fs.pipe-user-pages-soft", "1024"), capabilities=1 << Capability.SYS_RESOURCE)
    assert wrong(host) == []
    assert wrong(with_sysctl("fs.pipe-user-pages-soft", "0")) == []


def test_a_congestion_control_must_be_offered_and_allowed() -> None:
    (missing,) = wrong(demand=replace(MODEST, congestions=frozenset({"vegas"})))
    assert (missing.level, missing.advice.split(",")[0]) == (Level.FAIL, "modprobe tcp_vegas")
    demand = replace(MODEST, congestions=frozenset({"bbr"}))
    (forbidden,) = wrong(demand=demand)
    assert forbidden.advice == "sysctl -w net.ipv4.tcp_allowed_congestion_control='reno cubic bbr'"
    assert wrong(replace(FITTING, capabilities=1 << Capability.NET_ADMIN), demand) == []

"""The doctor on this host: addresses really tried, the whole examination of the default configuration."""

import base64
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import overlay_key
from gateway.checks.doctor import address, demand_of, examine, key_file, ports_of, runtime_dir, try_out
from gateway.checks.findings import Finding, Level
from gateway.config import configuration
from gateway.config.settings import GatewaySettings
from pools.net.endpoint import Endpoint
from pools.net.transport import Transport, mptcp_lack
from pools.net.trials import TrialError
from pools.peer import Peer
from tests.bench.processes import free_ports

NOBODY = frozenset[int]()


def refused() -> None:
    raise TrialError("cannot splice: EPERM")


def test_an_address_that_is_free() -> None:
    (port,) = free_ports(1)
    assert address("orders", Endpoint("127.0.0.1", port), dual_stack=False, ours=NOBODY).level is Level.OK


def test_an_address_that_is_taken_by_a_stranger_or_by_our_own_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = Endpoint("127.0.0.1", taken.getsockname()[1])
        stranger = address("orders", bind, dual_stack=False, ours=NOBODY)
        own = address("orders", bind, dual_stack=False, ours=ports_of(os.getpid()))
    assert (stranger.level, stranger.check) == (Level.FAIL, "address of orders")
    assert "EADDRINUSE" in stranger.found
    assert (own.level, own.found) == (Level.OK, f"{bind} is held by the running gateway")


def test_a_process_that_is_gone_listens_nowhere() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert ports_of(pid) == frozenset()


def test_a_runtime_directory_that_can_be_made_and_one_that_cannot(tmp_path: Path) -> None:
    assert runtime_dir(tmp_path / "new" / "midmile").level is Level.OK
    (tmp_path / "file").write_text("")
    finding = runtime_dir(tmp_path / "file" / "midmile")
    assert finding.level is Level.FAIL
    assert finding.advice.startswith("RuntimeDirectory=midmile")


def test_a_trial_that_fails_becomes_a_finding_with_advice() -> None:
    assert try_out("splice", refused, Level.WARN, "do this") == Finding(
        "splice", Level.WARN, "cannot splice: EPERM", "do this"
    )


def test_the_demand_names_every_address_and_congestion_control() -> None:
    settings = configuration.default(listen=Endpoint("127.0.0.1", 8443))
    settings = replace(settings, outbound=replace(settings.outbound, congestion="bbr"), workers=None)
    demand = demand_of(settings, cores=4)
    assert (demand.workers, demand.congestions) == (4, frozenset({"bbr"}))
    assert demand.binds[0] == ("default", Endpoint("127.0.0.1", 8443))
    assert demand_of(replace(settings, workers=3), cores=4).workers == 3


def test_the_demand_counts_the_legs_of_all_peers_and_their_congestion_controls() -> None:
    mumbai = Peer("mumbai", Endpoint("203.0.113.9", 7400), congestion="bbr", pool_max=100)
    madrid = Peer("madrid", Endpoint("198.51.100.4", 7400), pool_max=20)
    demand = demand_of(replace(configuration.default(), peers=(mumbai, madrid)), cores=1)
    assert (demand.pool_legs, demand.congestions) == (120, frozenset({"bbr"}))


def test_a_key_file_is_ours_alone_or_a_fault_and_no_secret_is_told(tmp_path: Path) -> None:
    path = tmp_path / "overlay.key"
    made = overlay_key.create(path)
    good = key_file(path)
    assert (good.level, good.found) == (Level.OK, f"{path}: proves with {made.id.hex()}, accepts {made.id.hex()}")
    assert base64.b64encode(made.secret).decode() not in good.found
    path.chmod(0o640)
    bad = key_file(path)
    assert bad.level is Level.FAIL
    assert "found mode 0640" in bad.found
    assert bad.advice.startswith(f"chmod 600 {path}")


def test_a_key_file_is_examined_where_the_configuration_names_one(settings: GatewaySettings) -> None:
    path = settings.runtime_dir / "overlay.key"
    overlay_key.create(path)
    peers = (Peer("mumbai", Endpoint("203.0.113.9", 7400)),)
    findings = examine(replace(settings, key_file=str(path), peers=peers))
    assert {"overlay key", "pool legs"} <= {finding.check for finding in findings}
    assert not {"overlay key", "pool legs"} & {finding.check for finding in examine(settings)}


def test_capturing_is_tried_where_a_listener_begins_early(settings: GatewaySettings) -> None:
    early = replace(settings, listens=(replace(settings.listens[0], early_syn=True),))
    (tried,) = [finding for finding in examine(early) if finding.check == "packet capture"]
    if os.geteuid() == 0:
        assert tried.level is Level.OK
    else:
        assert (tried.level, tried.advice.split(";")[0]) == (
            Level.WARN,
            "AmbientCapabilities=CAP_NET_RAW in the systemd unit",
        )
    assert "packet capture" not in {finding.check for finding in examine(settings)}


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    usual = configuration.default()
    anywhere = replace(usual.listens[0], bind=Endpoint("127.0.0.1", 0))
    return replace(usual, listens=(anywhere,), runtime_dir=tmp_path, admin=None)


def test_a_whole_examination_advises_wherever_it_finds_fault(settings: GatewaySettings) -> None:
    findings = examine(settings)
    assert len({finding.check for finding in findings}) == len(findings)
    assert {"kernel", "descriptors", "splice", "reuseport program", "address of default"} <= {f.check for f in findings}
    assert all(bool(finding.advice) == (finding.level is not Level.OK) for finding in findings)
    assert all("\n" not in finding.advice for finding in findings)


def test_mptcp_is_tried_where_legs_are_to_be_of_it(settings: GatewaySettings) -> None:
    peers = (Peer("mumbai", Endpoint("203.0.113.9", 7400), transport=Transport.MPTCP),)
    (tried,) = [finding for finding in examine(replace(settings, peers=peers)) if finding.check == "mptcp"]
    assert tried.level is (Level.WARN if mptcp_lack() else Level.OK)
    overlay = replace(settings.listens[0], transport=Transport.MPTCP)
    assert demand_of(replace(settings, listens=(overlay,)), cores=1).mptcp
    assert "mptcp" not in {finding.check for finding in examine(settings)}

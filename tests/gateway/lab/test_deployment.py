import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway import overlay_key
from gateway.config import configuration
from gateway.lab.deployment import Deployment
from gateway.lab.ladder import STAGES
from gateway.lab.results import Stage
from pools.net.endpoint import Endpoint

ADDRESSES = {"near": "10.77.0.3", "middle": "10.77.0.4", "far": "10.77.0.5"}
DESTINATION = Endpoint("10.77.0.2", 8080)
BUILT = [stage for stage in STAGES if stage is not Stage.END_TO_END]


def tables(stage: Stage, name: str) -> dict[str, Any]:
    text = Deployment(stage, ADDRESSES, DESTINATION).configuration(
        name, runtime_dir=Path("/run/lab"), key_file=Path("/run/key")
    )
    return tomllib.loads(text)


@pytest.mark.parametrize("stage", BUILT)
@pytest.mark.parametrize("name", ADDRESSES)
def test_every_file_is_one_that_the_gateway_accepts(stage: Stage, name: str, tmp_path: Path) -> None:
    overlay_key.create(tmp_path / "key")
    deployment = Deployment(stage, ADDRESSES, DESTINATION)
    file = tmp_path / "gateway.toml"
    file.write_text(deployment.configuration(name, runtime_dir=tmp_path / "run", key_file=tmp_path / "key"))
    assert configuration.load(file).name == name


def test_a_split_leads_from_listener_to_listener() -> None:
    leads = [tables(Stage.SPLIT, name)["listen"][0] for name in ADDRESSES]
    assert [(leg["bind"], leg["to"]) for leg in leads] == [
        ("10.77.0.3:8443", "10.77.0.4:8443"),
        ("10.77.0.4:8443", "10.77.0.5:8443"),
        ("10.77.0.5:8443", "10.77.0.2:8080"),
    ]
    assert all("overlay" not in tables(Stage.SPLIT, name) for name in ADDRESSES)


def test_early_syn_is_on_wherever_clients_come_in_from_its_stage_on() -> None:
    told = {
        stage: [table.get("early_syn", False) for name in ADDRESSES for table in tables(stage, name).get("listen", [])]
        for stage in (Stage.SPLIT, Stage.EARLY_SYN, Stage.POOL_LEGS)
    }
    assert told == {Stage.SPLIT: [False] * 3, Stage.EARLY_SYN: [True] * 3, Stage.POOL_LEGS: [True]}


def test_with_pool_legs_the_first_gateway_names_the_path_and_the_last_allows_its_end() -> None:
    near, middle, far = (tables(Stage.POOL_LEGS, name) for name in ADDRESSES)
    assert (near["listen"][0]["via"], near["listen"][0]["to"]) == (["middle", "far"], "10.77.0.2:8080")
    assert [[peer["name"] for peer in each.get("peer", [])] for each in (near, middle, far)] == [
        ["middle"],
        ["far"],
        [],
    ]
    assert ("egress" in middle, far["egress"]["allow"]) == (False, ["10.77.0.2:8080"])
    assert all("initial_window" not in peer for each in (near, middle) for peer in each["peer"])


def test_turbo_start_holds_both_ways_and_keeps_legs_ready_one_way() -> None:
    peers = [
        [(peer["name"], peer["pool_min"] > 0) for peer in tables(Stage.TURBO_START, name)["peer"]] for name in ADDRESSES
    ]
    assert peers == [[("middle", True)], [("far", True), ("near", False)], [("middle", False)]]
    assert all(peer["initial_window"] == 200 for name in ADDRESSES for peer in tables(Stage.TURBO_START, name)["peer"])


def test_connections_are_kept_ready_where_the_path_ends() -> None:
    near, middle, far = (tables(Stage.PRECONNECT, name) for name in ADDRESSES)
    assert far["egress"]["preconnect"] == [{"to": "10.77.0.2:8080", "connections": 4}]
    assert "preconnect" not in near["listen"][0]
    assert "egress" not in middle
    alone = Deployment(Stage.PRECONNECT, {"near": "10.77.0.3"}, DESTINATION)
    text = alone.configuration("near", runtime_dir=Path("/run/lab"), key_file=Path("/run/key"))
    assert tomllib.loads(text)["listen"][0]["preconnect"] == 4


def test_it_is_known_which_pools_will_be_filled() -> None:
    turbo = Deployment(Stage.TURBO_START, ADDRESSES, DESTINATION)
    assert [turbo.filled_pools(name) for name in turbo.names] == [["middle"], ["far"], []]
    assert Deployment(Stage.EARLY_SYN, ADDRESSES, DESTINATION).filled_pools("near") == []
    assert turbo.door == Endpoint("10.77.0.3", 8443)


def test_only_the_first_gateway_s_clients_have_a_congestion_control_of_their_own() -> None:
    deployment = Deployment(Stage.TURBO_START, ADDRESSES, DESTINATION, client_congestion="bbr")
    paths = {"runtime_dir": Path("/run/lab"), "key_file": Path("/run/lab/overlay.key")}
    texts = [deployment.configuration(name, **paths) for name in ADDRESSES]
    assert [text.count("congestion") for text in texts] == [1, 0, 0]
    assert tomllib.loads(texts[0])["listen"][0]["congestion"] == "bbr"

import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.bench import configurations
from tests.bench.configurations import Command, Doors, Plan, RelayName

PROCESSES = [name for name in RelayName if name is not RelayName.DIRECT]
HERE, MIDDLE, END = Doors(1001, 1002), Doors(2001, 2002, "10.0.0.2"), Doors(3001, 3002, "10.0.0.3")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(tmp_path, HERE, END, sessions=100)


def text(command: Command) -> str:
    return Path(command.words[-1]).read_text()


def table(command: Command) -> dict[str, Any]:
    return tomllib.loads(text(command))


@pytest.mark.parametrize("name", PROCESSES)
def test_one_by_itself_forwards_both_doors(name: RelayName, plan: Plan) -> None:
    command = configurations.alone(name, plan)
    assert command.ports == [1001, 1002]
    assert all(door in text(command) for door in (HERE.http, HERE.bulk, END.http, END.bulk))


@pytest.mark.parametrize("name", [RelayName.HAPROXY, RelayName.NGINX])
def test_two_in_a_row_meet_in_the_middle(name: RelayName, plan: Plan) -> None:
    far, near = configurations.chain(name, plan, middle=MIDDLE)
    assert (far.ports, near.ports) == ([2001, 2002], [1001, 1002])
    assert all(door in text(far) for door in (MIDDLE.http, MIDDLE.bulk, END.http, END.bulk))
    assert all(door in text(near) for door in (HERE.http, HERE.bulk, MIDDLE.http, MIDDLE.bulk))
    assert END.http not in text(near)


def test_two_gateways_meet_in_the_overlay_of_the_far_one(plan: Plan) -> None:
    far, near = configurations.chain(RelayName.MIDMILE, plan, middle=MIDDLE)
    assert (far.ports, near.ports) == ([2001], [1001, 1002])
    assert table(far)["overlay"]["bind"] == table(near)["peer"][0]["address"] == MIDDLE.http
    assert table(far)["egress"]["allow"] == [END.http, END.bulk]
    assert [(each["bind"], each["to"], each["via"]) for each in table(near)["listen"]] == [
        (HERE.http, END.http, ["far"]),
        (HERE.bulk, END.bulk, ["far"]),
    ]
    assert table(near)["peer"][0]["name"] == table(far)["gateway"]["name"]


def test_two_gateways_share_a_key_that_nobody_else_can_read(plan: Plan) -> None:
    files = {
        table(command)["overlay"]["key_file"]
        for command in configurations.chain(RelayName.MIDMILE, plan, middle=MIDDLE)
    }
    assert len(files) == 1
    assert stat.S_IMODE(Path(files.pop()).stat().st_mode) == 0o600


def test_a_pool_is_the_products_own_unless_a_measurement_wants_another(plan: Plan) -> None:
    _, near = configurations.chain(RelayName.MIDMILE, plan, middle=MIDDLE)
    assert "pool_min" not in table(near)["peer"][0]

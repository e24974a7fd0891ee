import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.arrangement import Arrangement, first
from gateway.config import configuration
from gateway.config.settings import GatewaySettings
from gateway.reloading.reload_plan import compare, concerns_admin, concerns_broker, refusal, replaces_broker
from pools.net.endpoint import Endpoint
from pools.net.keepalive import Keepalive
from pools.peer import Peer
from workers.settings import LogFormat, Timeouts

USUAL = replace(
    configuration.default(),
    workers=2,
    key_file="/some.key",
    peers=(Peer("madrid", Endpoint("madrid.example", 1)), Peer("mumbai", Endpoint("mumbai.example", 1))),
)
Changed = Callable[[GatewaySettings], GatewaySettings]


def by(**changed: Any) -> Changed:
    return lambda settings: replace(settings, **changed)


def listening(**changed: Any) -> Changed:
    return lambda settings: replace(settings, listens=(replace(settings.listens[0], **changed),))


def arranged(settings: GatewaySettings) -> Arrangement:
    return first(settings, cores=(0, 1), shard_seed=7)


def test_changes_are_named_as_the_file_has_them() -> None:
    usual = USUAL.listens[0]
    after = replace(
        USUAL,
        listens=(replace(usual, backlog=9), replace(usual, name="new")),
        peers=(replace(USUAL.peers[1], pool_min=1),),
        workers=4,
        name="other",
        timeouts=Timeouts(idle=1),
        admin=None,
    )
    found = compare(arranged(USUAL), arranged(after))
    assert str(found) == (
        "listeners +new ~default; peers -madrid ~mumbai; workers 2 -> 4; changed gateway.name, timeouts, admin.http"
    )


def test_that_nothing_changed_is_said() -> None:
    assert str(compare(arranged(USUAL), arranged(USUAL))) == "nothing changed"


def test_passwords_change_a_listener_and_are_not_shown() -> None:
    found = compare(arranged(USUAL), arranged(listening(users={"ann": "secret"})(USUAL)))
    assert str(found) == "listeners ~default"
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (by(runtime_dir=Path("/elsewhere")), r"gateway\.runtime_dir: expected .* found /elsewhere; restart"),
        (by(log_format=LogFormat.JSON), r"gateway\.log_format: expected text, .* found json; `gateway upgrade`"),
        (by(listens=USUAL.listens * 251), "expected at most 250 listeners; found 251"),
    ],
)
def test_what_takes_another_supervisor_is_refused_with_the_way_out(change: Changed, said: str) -> None:
    assert re.search(said, refusal(USUAL, change(USUAL)))


def test_everything_else_is_not_refused() -> None:
    assert refusal(USUAL, replace(USUAL, name="other", workers=9, peers=(), admin=None, key_file="")) == ""


@pytest.mark.parametrize(
    ("change", "broker", "admin"),
    [
        (by(peers=USUAL.peers[:1]), True, True),
        (by(keepalive=Keepalive(idle=1)), False, False),
        (by(timeouts=Timeouts(connect=1)), True, False),
        (by(timeouts=Timeouts(idle=1)), False, False),
        (by(workers=3), True, False),
        (by(name="other"), True, True),
        (by(ready_when_filled=True), False, True),
        (listening(name="other"), False, True),
        (listening(users={"ann": "secret"}), False, False),
        (by(admin=None), False, False),
    ],
)
def test_broker_and_admin_child_are_concerned_where_they_were_told_otherwise(
    change: Changed, *, broker: bool, admin: bool
) -> None:
    before, after = arranged(USUAL), arranged(change(USUAL))
    assert concerns_broker(before.told, after.told) is broker
    assert concerns_admin(before, after) is admin


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        (by(name="other"), True),
        (by(key_file="/other.key"), True),
        (by(peers=USUAL.peers[:1], workers=3, timeouts=Timeouts(connect=1)), False),
    ],
)
def test_the_broker_is_replaced_where_its_legs_were_proved_otherwise(change: Changed, *, replaced: bool) -> None:
    assert replaces_broker(arranged(USUAL).told, arranged(change(USUAL)).told) is replaced

"""Names, peers and paths: each rule, and what is close to breaking one and does not."""

from typing import Any

import pytest

from gateway.config.overlay_rules import PATH_LIMIT, broken
from gateway.config.reading import understand

OVERLAY = {"bind": "0.0.0.0:7400", "key_file": "overlay.key"}


def peer(name: str = "mumbai", **more: object) -> dict[str, Any]:
    return {"name": name, "address": f"{name}.example:7400"} | more


def listen(**more: object) -> dict[str, Any]:
    return {"name": "a", "bind": "127.0.0.1:1080", "mode": "mixed"} | more


def with_(*, peers: Any = None, listens: Any = None, **gateway: object) -> dict[str, Any]:
    """Give the tables of a gateway that breaks no rule until something is changed."""
    return {
        "gateway": {"name": "oregon"} | gateway,
        "overlay": dict(OVERLAY),
        "peer": [peer(), peer("pune")] if peers is None else peers,
        "listen": [listen()] if listens is None else listens,
    }


def without(tables: dict[str, Any], table: str, key: str) -> dict[str, Any]:
    return tables | {table: {name: value for name, value in tables[table].items() if name != key}}


def lines_of(tables: dict[str, Any]) -> list[str]:
    document, problems = understand(tables)
    assert problems == []
    return [str(problem) for problem in broken(document)]


def test_a_gateway_with_peers_a_key_and_a_name_breaks_no_rule() -> None:
    assert lines_of(with_()) == []


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        (without(with_(), "gateway", "name"), "gateway.name: is required where there is [overlay] or a [[peer]]"),
        (
            without(with_(peers=[]), "gateway", "name"),
            "gateway.name: is required where there is [overlay] or a [[peer]]",
        ),
        (
            without(with_(peers=[]), "overlay", "key_file"),
            "overlay.key_file: is required where there is overlay.bind or a [[peer]]",
        ),
        (with_() | {"overlay": {}}, "overlay.key_file: is required where there is overlay.bind or a [[peer]]"),
        (with_(peers=[{"address": "a:1"}]), "peer[0].name: is required"),
        (with_(peers=[{"name": "mumbai"}]), "peer[0].address: is required"),
    ],
)
def test_what_a_gateway_with_others_cannot_do_without_is_missed(tables: dict[str, Any], line: str) -> None:
    assert lines_of(tables) == [f"{line}; found nothing"]


def test_a_peer_without_any_overlay_table_needs_a_key_file_too() -> None:
    tables = with_()
    del tables["overlay"]
    assert [line.partition(":")[0] for line in lines_of(tables)] == ["overlay.key_file"]


@pytest.mark.parametrize("key_file", [{}, {"key_file": "overlay.key"}])
def test_a_gateway_that_neither_takes_nor_goes_to_others_needs_no_key(key_file: dict[str, str]) -> None:
    assert lines_of(with_(peers=[]) | {"overlay": key_file}) == []


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        (with_(peers=[peer(), peer()]), 'peer[1].name: must be unique, and peer[0] has it; found "mumbai"'),
        (
            with_(peers=[peer("oregon")]),
            'peer[0].name: must be another gateway\'s, and gateway.name is this one; found "oregon"',
        ),
        (
            with_(peers=[peer(pool_min=20, pool_max=19)]),
            "peer[0].pool_max: must be at least pool_min, which is 20; found 19",
        ),
        (
            with_(peers=[peer(pool_min=0, pool_max=7)], workers=4),
            "peer[0].pool_max: must be at least two for each worker, which is 8; found 7",
        ),
    ],
)
def test_a_peer_that_breaks_a_rule_is_named(tables: dict[str, Any], line: str) -> None:
    assert lines_of(tables) == [line]


def test_a_pool_may_be_as_small_as_the_rules_allow() -> None:
    assert lines_of(with_(peers=[peer(pool_min=8, pool_max=8)], workers=4)) == []
    assert lines_of(with_(peers=[peer(pool_min=0, pool_max=1)], workers="auto")) == []


def test_the_overlays_listener_keeps_its_name_for_itself() -> None:
    tables = with_(listens=[listen(name="overlay")])
    rule = "must be another name where there is overlay.bind, whose listener has this one"
    assert lines_of(tables) == [f'listen[0].name: {rule}; found "overlay"']
    assert lines_of(without(tables, "overlay", "bind")) == []


OURS = "must be another gateway, and gateway.name is this one"
TWICE = "must be a gateway that is not on the path yet"
STRANGER = "must be the name of a [[peer]]"


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        ({"via": ["tokyo", "mumbai"]}, [f'via[0]: {STRANGER}; found "tokyo"']),
        ({"via": ["mumbai", "oregon"]}, [f'via[1]: {OURS}; found "oregon"']),
        ({"via": ["mumbai", "tokyo", "mumbai"]}, [f'via[2]: {TWICE}; found "mumbai"']),
        (
            {"paths": [["mumbai"], ["tokyo"], ["pune", "pune"]]},
            [f'paths[1][0]: {STRANGER}; found "tokyo"', f'paths[2][1]: {TWICE}; found "pune"'],
        ),
        ({"via": [], "paths": [[]]}, ["via: must be absent where there is paths; found both"]),
        (
            {"paths": []},
            ["paths: must have at least one path, [] being the one that dials from here; found a list"],
        ),
        (
            {"via": ["mumbai"], "choose": "first"},
            ['choose: must be absent unless there is paths; found "first"'],
        ),
        (
            {"via": ["mumbai", *(f"g{number}" for number in range(PATH_LIMIT))]},
            [f"via: must be at most {PATH_LIMIT} gateways; found {PATH_LIMIT + 1}"],
        ),
    ],
)
def test_a_path_that_breaks_a_rule_is_told_with_the_step_that_does(keys: dict[str, Any], lines: list[str]) -> None:
    assert lines_of(with_(listens=[listen(), listen(**keys)])) == [f"listen[1].{line}" for line in lines]


@pytest.mark.parametrize(
    "keys",
    [
        {"via": ["mumbai", "tokyo", "pune"]},
        {"via": ["mumbai", *(f"g{number}" for number in range(PATH_LIMIT - 1))]},
        {"paths": [["mumbai"], ["pune", "mumbai"], []], "choose": "fastest"},
        {"paths": [["mumbai"]]},
    ],
)
def test_a_path_may_go_through_gateways_that_only_others_know(keys: dict[str, Any]) -> None:
    assert lines_of(with_(listens=[listen(**keys)])) == []


def test_a_peer_whose_name_could_not_be_read_may_be_the_one_a_path_means() -> None:
    tables = with_(peers=[peer(), {"name": 7, "address": "a:1"}], listens=[listen(via=["tokyo"])])
    document, problems = understand(tables)
    assert [problem.key for problem in problems] == ["peer[1].name"]
    assert [problem.key for problem in broken(document)] == ["peer[1].name"]  # told once, by its reading


def test_the_source_is_preserved_where_something_is_dialled() -> None:
    away = listen(via=["mumbai"], preserve_source=True)
    rule = "must be false where no path dials from here; egress.preserve_source of the last gateway counts there"
    assert lines_of(with_(listens=[away])) == [f"listen[0].preserve_source: {rule}; found true"]
    assert lines_of(with_(listens=[listen(paths=[["mumbai"], []], preserve_source=True)])) == []


def test_the_source_is_preserved_for_others_where_they_come_in() -> None:
    tables = with_() | {"egress": {"preserve_source": True}}
    assert lines_of(tables) == []
    rule = "must be false without overlay.bind; nobody asks for anything"
    assert lines_of(without(tables, "overlay", "bind")) == [f"egress.preserve_source: {rule}; found true"]


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"to": "10.0.0.5:443"}, "connections: is required; found nothing"),
        ({"connections": 8}, "to: is required; found nothing"),
        (
            {"to": "10.0.0.5:444", "connections": 8},
            'to: must be a destination that egress.allow allows; found "10.0.0.5:444"',
        ),
        (
            {"to": "127.0.0.1:443", "connections": 8},
            'to: must be a destination that egress.allow allows; found "127.0.0.1:443"',
        ),
    ],
)
def test_what_is_kept_ready_for_peers_is_what_they_may_open(table: dict[str, Any], line: str) -> None:
    fine = {"to": "10.0.0.5:443", "connections": 8}
    egress = {"allow": ["10.0.0.0/8:443", "*.example:*"], "preconnect": [fine, table]}
    assert lines_of(with_() | {"egress": egress}) == [f"egress.preconnect[1].{line}"]
    named = {"to": "db.example:5432", "connections": 1}
    assert lines_of(with_() | {"egress": egress | {"preconnect": [fine, named]}}) == []


def test_nothing_is_kept_ready_for_peers_whose_clients_addresses_are_to_be_seen() -> None:
    fine = {"to": "10.0.0.5:443", "connections": 8}
    egress = {"allow": ["10.0.0.0/8:443"], "preconnect": [fine], "preserve_source": True}
    rule = "must be absent where egress.preserve_source is true; no client's address is known beforehand"
    assert lines_of(with_() | {"egress": egress}) == [f"egress.preconnect: {rule}; found 1 of them"]

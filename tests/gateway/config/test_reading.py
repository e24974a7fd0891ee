"""Reading tables on past what is wrong in them: every problem is told, and nothing but problems comes out."""

import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.configuration import example, settle
from gateway.config.reading import key_of, shown, understand
from gateway.config.surroundings import Surroundings
from pools.net.errors import ConfigurationError, Problem

WHOLE: dict[str, Any] = tomllib.loads(example()) | {
    "overlay": {"bind": "0.0.0.0:7400", "key_file": "key"},
    "peer": [{"name": "mumbai", "address": "203.0.113.9:7400", "pool_min": 16, "initial_window": 10}],
    "egress": {"allow": ["*.example:443"]},
}


def lines_of(tables: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in understand(tables)[1]]


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({"gateway": {"worker": 3}}, 'gateway.worker: must be a key that exists, perhaps `workers`; found "worker"'),
        ({"listen": [{}, {"bnid": 1}]}, 'listen[1].bnid: must be a key that exists, perhaps `bind`; found "bnid"'),
        (
            {"overlay": {"kee_file": 1}},
            'overlay.kee_file: must be a key that exists, perhaps `key_file`; found "kee_file"',
        ),
        ({"timeout": {}}, 'timeout: must be a key that exists, perhaps `timeouts`; found "timeout"'),
        ({"zzz": {}}, 'zzz: must be a key that exists; found "zzz"'),
        ({"gateway": {"a b": 1}}, 'gateway."a b": must be a key that exists; found "a b"'),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_known(tables: dict[str, Any], line: str) -> None:
    assert lines_of(tables) == [line]


def test_the_value_of_an_unknown_key_is_not_shown() -> None:
    assert "hunter2" not in str(lines_of({"listen": [{"password": "hunter2", "users": {"ann": "hunter2"}}]}))


def test_every_problem_is_told_at_once() -> None:
    tables = {
        "gateway": {"workers": "many", "colour": "red"},
        "listen": [{"bind": "localhost:80", "mode": "forward"}, 3, {"name": "b", "bind": "[::]:80", "mode": "mixed"}],
        "timeouts": {"connect": 0},
        "keepalive": {"user_timeout": 100},
        "egress": {"allow": ["*.example:443", "nowhere"]},
    }
    with pytest.raises(ConfigurationError) as caught:
        settle(tables, folder=Path(), surroundings=Surroundings(uid=0))
    assert sorted(problem.key for problem in caught.value.problems) == [
        "egress.allow[1]",
        "gateway.colour",
        "gateway.workers",
        "keepalive.user_timeout",
        "listen[0].bind",
        "listen[0].name",
        "listen[0].to",
        "listen[1]",
        "timeouts.connect",
    ]


def test_what_is_wrong_leaves_its_default_and_its_neighbours() -> None:
    document, _ = understand({"timeouts": {"connect": "soon", "idle": 7}})
    assert document.timeouts.connect == 5
    assert document.timeouts.idle == 7


def test_keys_are_written_as_operators_read_them() -> None:
    assert key_of(("listen", 1, "via", 0)) == "listen[1].via[0]"


def test_a_long_value_is_shortened() -> None:
    assert shown("x" * 1000) == '"' + "x" * 79 + "…"


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Name every table, list and value below `value`."""
    if isinstance(value, dict):
        return [place for key in value for place in [(*path, key), *places_in(value[key], (*path, key))]]
    if isinstance(value, list):
        return [place for at, each in enumerate(value) for place in [(*path, at), *places_in(each, (*path, at))]]
    return []


texts = st.text("az09-_.:[]\"'\n\0é×", max_size=20)
toml_scalars = (
    texts
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.sampled_from(["forward", "mixed", "[::]:80", "127.0.0.1:1080", "auto", "off", "/dev/null"])
)
toml_values = st.recursive(
    toml_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def problems_of(tables: dict[str, Any]) -> list[Problem]:
    try:
        settle(tables, folder=Path("/nonexistent"), surroundings=Surroundings(uid=0))
    except ConfigurationError as error:
        return error.problems
    return []


def put(tables: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    holder: Any = tables
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value


@given(st.dictionaries(st.sampled_from(places_in(WHOLE)), toml_values, max_size=4))
def test_whatever_stands_in_place_of_values_is_told_as_problems(changes: dict[tuple[Any, ...], Any]) -> None:
    tables = deepcopy(WHOLE)
    for path in sorted(changes, key=len, reverse=True):  # the deepest first, while their tables are still there
        put(tables, path, changes[path])
    assert all(problem.key and problem.rule and problem.found for problem in problems_of(tables))


@given(st.dictionaries(texts | st.sampled_from(sorted(WHOLE)), toml_values, max_size=5))
def test_whatever_tables_there_are_become_settings_or_problems(tables: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:  # no such tables happen to hold a whole listener
        settle(tables, folder=Path("/nonexistent"), surroundings=Surroundings(uid=0))
    assert caught.value.problems

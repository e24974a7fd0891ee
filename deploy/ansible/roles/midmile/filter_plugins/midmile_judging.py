"""What in an inventory means nothing, or not what it seems to: each problem in words. Pure functions of variables.

`gateway check` judges the file that comes of it. What would never get there, a name that is misspelt, is found here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

Variables = Mapping[str, Any]

_PREFIX: Final = "midmile_"
_ANY: Final = "a variable of roles/midmile/defaults/main.yml"
_ALIKE: Final = 0.8  # they all begin alike
_LEAST_RELEASES: Final = 2  # the one in use, and the one before
_CAPTURING: Final = ("redirect", "tproxy")
_CAPTURED: Final = ("ports", "networks", "interfaces", "own")
_OWN_FILES: Final = ("gateway.toml", "overlay.key", "capture.nft")
_OWN_TABLES: Final = {  # of the file, by the variable that says them
    "listen": "midmile_listen",
    "overlay": "midmile_overlay",
    "peer": "midmile_peers",
    "egress": "midmile_egress",
}


def problems(hostvars: Mapping[str, Variables], me: str, hosts: Sequence[str], known: Collection[str]) -> list[str]:
    """Give what is wrong with the variables of a host; nothing where all is well.

    Args:
        me: the host.
        hosts: the overlay's.
        known: the names of all variables that mean something.
    """
    mine = hostvars[me]
    if me not in hosts:
        return [f"midmile_group: expected a group with the host {me} in it; found {_listed(hosts)}"]
    judges: tuple[Callable[[], Iterable[str]], ...] = (
        lambda: _unknown(mine, known),
        lambda: _names(hostvars, me, hosts),
        lambda: _peers(hostvars, me, hosts),
        lambda: _pools(mine, me, hosts),
        lambda: _lines(mine, hosts),
        lambda: _captured(mine),
        lambda: _settings(mine),
        lambda: _files(mine),
        lambda: _releases(mine),
    )
    return [problem for judge in judges for problem in judge()]


def _unknown(mine: Variables, known: Collection[str]) -> Iterator[str]:
    for name in sorted(mine):
        if name.startswith(_PREFIX) and name not in known and not _is_result(mine[name]):
            (meant, *_) = (*get_close_matches(name, known, n=1, cutoff=_ALIKE), _ANY)
            yield f"{name}: expected {meant}; found a name that means nothing"


def _is_result(value: Any) -> bool:
    """Tell whether a task has registered it, in an earlier play of the same run."""
    return isinstance(value, Mapping) and ("changed" in value or "skipped" in value)


def _names(hostvars: Mapping[str, Variables], me: str, hosts: Sequence[str]) -> Iterator[str]:
    mine = hostvars[me].get("midmile_name", me)
    if others := [host for host in hosts if host != me and hostvars[host].get("midmile_name", host) == mine]:
        yield f"midmile_name: expected a name of its own; found {mine!r}, which {_listed(others)} has, too"


def _peers(hostvars: Mapping[str, Variables], me: str, hosts: Sequence[str]) -> Iterator[str]:
    for peer in hostvars[me].get("midmile_peers") or ():
        if lack := _not_another(peer, me, hosts):
            yield f"midmile_peers: {lack}"
        elif hostvars[peer].get("midmile_overlay_port") == 0:
            yield f"midmile_peers: expected hosts that take others in; found {peer!r}, whose midmile_overlay_port is 0"


def _pools(mine: Variables, me: str, hosts: Sequence[str]) -> Iterator[str]:
    lacks = (_not_another(host, me, hosts) for host in mine.get("midmile_pools") or ())
    yield from (f"midmile_pools: {lack}" for lack in lacks if lack)


def _lines(mine: Variables, hosts: Sequence[str]) -> Iterator[str]:
    for number, line in enumerate(mine.get("midmile_lines") or ()):
        between = list(line["between"])
        if len(set(between)) != 2 or len(between) != 2 or not set(between) <= set(hosts):
            yield f"midmile_lines[{number}].between: expected two of {_listed(hosts)}; found {_listed(between)}"


def _captured(mine: Variables) -> Iterator[str]:
    for number, table in enumerate(mine.get("midmile_listen") or ()):
        key, captured = f"midmile_listen[{number}].captured", table.get("captured")
        is_capturing = table.get("mode") in _CAPTURING
        if is_capturing != (captured is not None):
            where = "expected where mode is redirect or tproxy, and nowhere else"
            yield f"{key}: {where}; found {'none' if captured is None else 'one'} with mode {table.get('mode')!r}"
        elif captured is not None:
            yield from (f"{key}: {lack}" for lack in _lacks_of(captured))


def _lacks_of(captured: Variables) -> Iterator[str]:
    if unknown := [name for name in captured if name not in _CAPTURED]:
        yield f"expected {_listed(_CAPTURED)}; found {_listed(unknown)}"
    if not captured.get("ports"):
        yield "expected ports; found none"


def _settings(mine: Variables) -> Iterator[str]:
    for table, variable in _OWN_TABLES.items():
        if table in (mine.get("midmile_settings") or ()):
            yield f"midmile_settings: expected tables that have no variable of their own; found {table!r}: {variable}"


def _files(mine: Variables) -> Iterator[str]:
    for name in mine.get("midmile_files") or ():
        if "/" in name or name in ("", ".", "..", *_OWN_FILES):
            yield f"midmile_files: expected names that nothing else has in /etc/midmile; found {name!r}"


def _releases(mine: Variables) -> Iterator[str]:
    if int(kept := mine.get("midmile_keep_releases", _LEAST_RELEASES)) < _LEAST_RELEASES:
        yield f"midmile_keep_releases: expected {_LEAST_RELEASES} or more, for a rollback; found {kept}"


def _not_another(host: str, me: str, hosts: Sequence[str]) -> str:
    others = [each for each in hosts if each != me]
    return "" if host in others else f"expected hosts among {_listed(others)}; found {host!r}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(str, names)) or "none"


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Give the filters by name."""
        return {f"midmile_{problems.__name__}": problems}

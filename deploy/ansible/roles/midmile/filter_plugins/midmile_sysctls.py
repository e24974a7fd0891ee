"""Sysctls as the role's variables say them, and as /proc/sys shows them. Pure functions."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

_ROOT: Final = "/proc/sys/"

Wanted = dict[str, dict[str, Any]]


def wanted(own: Mapping[str, Mapping[str, Any]], asked: Mapping[str, Any]) -> Wanted:
    """Give what shall be in force, by name: what the project sets, and over it what the inventory asks for.

    Args:
        own: with `value`, `reason` and perhaps `optional`.
        asked: values, or null for one that is to be left alone.
    """
    theirs = {name: {"value": value, "reason": "The inventory says so."} for name, value in asked.items()}
    entries = {**own, **theirs}
    return {name: {**entry, "value": _plain(entry["value"])} for name, entry in entries.items() if _is_set(entry)}


def in_force(lines: Iterable[str]) -> dict[str, str]:
    """Read what `grep --with-filename '' /proc/sys/...` says, value by name."""
    pairs = (line.partition(":") for line in lines)
    return {path.removeprefix(_ROOT).replace("/", "."): _plain(value) for path, _, value in pairs}


def differing(entries: Wanted, now: Mapping[str, str]) -> list[str]:
    """Name those that are not in force and must be: not the optional ones, which a container may be unable to set."""
    return [name for name, each in entries.items() if not each.get("optional") and now.get(name) != each["value"]]


def _is_set(entry: Mapping[str, Any]) -> bool:
    return entry["value"] is not None


def _plain(value: Any) -> str:
    """Write a value as sysctl.d(5) has it, whose kernel writes tabs between numbers."""
    return " ".join(str(value).split())


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Give the filters by name."""
        return {f"midmile_sysctls_{each.__name__}": each for each in (wanted, in_force, differing)}

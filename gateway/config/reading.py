"""From the tables of a TOML document to a `Document`, telling of every key that is wrong by itself.

Nothing here knows what keys mean to one another (`rules`) or touches a file (`files`).
"""

import json
import re
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.schema import Document
from pools.net.errors import Problem

Tables = dict[str, Any]
Path = tuple[int | str, ...]

_FOUND_LIMIT = 80
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_RULES = {
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "model_type": "must be a table",
    "string_type": "must be a string",
}


def understand(tables: Tables) -> tuple[Document, list[Problem]]:
    """Read `tables` as far as they can be read.

    Args:
        tables: a TOML document; wrong keys are taken out of it as they are found.

    Returns:
        What is left, with defaults in place of what was wrong, and one problem for each key that was.
    """
    problems: list[Problem] = []
    while True:
        try:
            return Document.model_validate(tables), problems
        except ValidationError as error:
            details = error.errors(include_url=False)
            problems += [_problem(detail) for detail in details]
            for detail in details:
                _take_out(tables, detail["loc"])


def key_of(path: Path) -> str:
    """Write a path as operators read it, list entries counted from 0: `listen[1].bind`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_bare(step)}" for step in path).removeprefix(".")


def _bare(key: str) -> str:
    """Quote a key that TOML wants quoted."""
    return key if _BARE_KEY.fullmatch(key) else shown(key)


def shown(value: object) -> str:
    """Write a value as the file has it, shortened; a table or a list might hold secrets, so only that it is one."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _FOUND_LIMIT else text[:_FOUND_LIMIT] + "…"


def _problem(detail: ErrorDetails) -> Problem:
    path = detail["loc"]
    if detail["type"] == "extra_forbidden":
        return Problem(key_of(path), _unknown(path), shown(path[-1]))
    return Problem(key_of(path), _rule(detail), shown(detail["input"]))


def _rule(detail: ErrorDetails) -> str:
    if detail["type"] == "list_type" and len(detail["loc"]) == 1:
        return f"must be tables that begin with [[{detail['loc'][0]}]]"
    return _RULES.get(detail["type"]) or detail["msg"].replace("Input should be", "must be")


def _unknown(path: Path) -> str:
    near = get_close_matches(str(path[-1]), _keys_beside(path), n=1)
    return f"must be a key that exists, perhaps `{near[0]}`" if near else "must be a key that exists"


def _keys_beside(path: Path) -> list[str]:
    """Name the keys of the table that the last step of `path` is in."""
    table: type[BaseModel] = Document
    for step in path[:-1]:
        if isinstance(step, str):
            table = _table_under(table, step)
    return list(table.model_fields)


def _table_under(table: type[BaseModel], key: str) -> type[BaseModel]:
    """Find the model of a table, of an optional table (X | None) or of a list of tables (list[X])."""
    annotation = table.model_fields[key].annotation
    candidates = (annotation, *getattr(annotation, "__args__", ()))
    return next(each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel))


def _take_out(tables: Tables, path: Path) -> None:
    """Remove what is wrong, so that the rest can be read; the places of list entries stay what they were."""
    while len(path) > 2 and isinstance(path[-1], int):  # an entry of a key's list takes the key with it
        path = path[:-1]
    holder: Any = tables
    for step in path[:-1]:
        holder = holder[step]
    if isinstance(holder, list):
        holder[int(path[-1])] = {}
    else:
        holder.pop(path[-1], None)

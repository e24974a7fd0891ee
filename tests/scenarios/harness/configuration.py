"""Configuration files for gateways under test: TOML from plain tables, and tables for the usual listeners."""

import json
from collections.abc import Iterable, Mapping

from tests.bench.processes import free_ports

Value = str | int | float | bool | list[str] | list[list[str]]
Table = Mapping[str, Value]


def at(port: int, host: str = "127.0.0.1") -> str:
    """Write an address and a port as a configuration has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def forward(to: int | str, *, name: str = "forward", host: str = "127.0.0.1", **keys: Value) -> Table:
    """Give a listener on a free port that leads to `to`, an address with a port, or a port of 127.0.0.1."""
    destination = at(to) if isinstance(to, int) else to
    return {"name": name, "bind": at(free_ports(1)[0], host), "mode": "forward", "to": destination, **keys}


def proxy(mode: str = "mixed", *, name: str = "proxy", host: str = "127.0.0.1", **keys: Value) -> Table:
    """Give a listener on a free port where clients say where to: `mode` is mixed, socks5 or connect."""
    return {"name": name, "bind": at(free_ports(1)[0], host), "mode": mode, **keys}


def to_toml(listens: Iterable[Table], tables: Mapping[str, Table]) -> str:
    """Write a configuration file. JSON's strings, numbers, booleans and lists are TOML's, too."""
    heads = [("[[listen]]", listen) for listen in listens] + [(f"[{name}]", table) for name, table in tables.items()]
    return "\n".join(_section(head, table) for head, table in heads)


def _section(head: str, table: Table) -> str:
    return "\n".join([head, *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""])

"""What an inventory says of an overlay, turned into the tables of a gateway's file. Pure functions of variables.

Hosts are known by their names in the inventory here; what gateways call themselves is `midmile_name`.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

Variables = Mapping[str, Any]
Table = dict[str, Any]

SEGMENT_BYTES: Final = 1460
LEAST_WINDOW: Final = 10  # segments: what Linux begins with
MOST_WINDOW: Final = 65535  # segments: what a configuration may say
LEAST_BUFFER_BYTES: Final = 16 * 1024 * 1024
FIRST_FREE_PORT: Final = 1024
UNIT_DESCRIPTORS: Final = 524288  # what the unit allows
RESERVED_DESCRIPTORS: Final = 192  # what a process of the gateway takes besides sessions and legs
POOL_MAX: Final = 512  # legs to a peer, where nothing else is said
SESSIONS: Final = 20000  # of a gateway, likewise
OVERLAY_PORT: Final = 7400
WINDOW_SHARE: Final = 0.1
_EVERYTHING: Final = {"ip": "0.0.0.0/0", "ip6": "::/0"}


def initial_window(line: Variables, share: float) -> int:
    """Give the segments that a leg over a line begins with: a part of what the line holds in one round trip.

    The window leaves at once, at the rate of the sender's network card, so the slowest queue of the path must take
    what its own rate does not carry away meanwhile. That is nearly all of it; a tenth of rate x round trip is less
    than what routers are commonly given to queue.

    Args:
        line: with `rtt_ms` and `rate_mbit`.
        share: of rate x round trip, more than 0, up to 1.
    """
    return min(max(round(share * _held_bytes(line) / SEGMENT_BYTES), LEAST_WINDOW), MOST_WINDOW)


def buffer_bytes(lines: Sequence[Variables]) -> int:
    """Give how far the kernel must be able to grow a buffer: twice what the longest line holds, or 16 MiB.

    Twice, for the kernel counts its own overhead to a buffer, by default as much again (tcp_adv_win_scale).
    """
    return max([LEAST_BUFFER_BYTES, *(math.ceil(2 * _held_bytes(line)) for line in lines)])


def peers(hostvars: Mapping[str, Variables], me: str, hosts: Sequence[str]) -> list[Table]:
    """Give the [[peer]] tables of a host.

    One for each gateway that it goes to. And, where a window is known, one for each that only comes in from there:
    what is sent back over the other one's legs begins with the window that this end says; it keeps no legs itself.

    Args:
        me: the host whose tables.
        hosts: the overlay's.
    """
    others = (host for host in hosts if host != me)
    return [table for other in others for table in _peer(hostvars, me, other, hosts)]


def descriptors(tables: Sequence[Table], settings: Variables) -> int:
    """Give the LimitNOFILE that is enough however many workers there are, and no less than the unit allows.

    With one worker it has all sessions, of two legs each; the broker may hold all legs of all pools.
    """
    legs = sum(table.get("pool_max", POOL_MAX) for table in tables)
    sessions = settings.get("limits", {}).get("sessions", SESSIONS)
    return int(max(2 * sessions + RESERVED_DESCRIPTORS, legs + RESERVED_DESCRIPTORS, UNIT_DESCRIPTORS))


def drop_ins(tables: Sequence[Table], listens: Sequence[Table], egress: Variables) -> list[str]:
    """Name the drop-ins of deploy/systemd/drop-ins that a configuration needs: one right each, and no others."""
    foreign = egress.get("preserve_source") or any(map(_has_foreign_addresses, listens))
    wanted = {
        "early-syn": any(listen.get("early_syn") for listen in listens),
        "initial-window": any(table.get("initial_window") for table in tables),
        "low-ports": any(_port(listen["bind"]) < FIRST_FREE_PORT for listen in listens),
        "transparent": foreign,
    }
    return [name for name, is_wanted in wanted.items() if is_wanted]


def listens(tables: Sequence[Table]) -> list[Table]:
    """Give the [[listen]] tables for the file: without `captured`, which is for the firewall and for early SYN."""
    return [_listen(table) for table in tables]


def captures(tables: Sequence[Table]) -> list[Table]:
    """Give what the firewall leads to listeners, one entry for each listener and IP version."""
    led = [table for table in tables if table.get("mode") in ("redirect", "tproxy")]
    return [capture for table in led for family in _families(table) for capture in _capture(table, family)]


def to_toml(document: Mapping[str, Any]) -> str:
    """Write a document: mappings are tables, lists of mappings arrays of tables; what is empty or null is left out."""
    tables = (table for name, value in document.items() if value for table in _tables(name, value))
    return "\n".join(tables)


def _held_bytes(line: Variables) -> float:
    return float(line["rate_mbit"]) * 1e6 / 8 * float(line["rtt_ms"]) / 1e3


def _peer(hostvars: Mapping[str, Variables], me: str, other: str, hosts: Sequence[str]) -> Iterator[Table]:
    mine, theirs = hostvars[me], hostvars[other]
    port = theirs.get("midmile_overlay_port", OVERLAY_PORT)
    if not port:
        return  # it takes nobody in
    window = _window(mine, me, other)
    asked = {**mine.get("midmile_pool", {}), **window, **mine.get("midmile_pools", {}).get(other, {})}
    table = {"name": name_of(theirs, other), "address": f"{_bracketed(address_of(theirs, other))}:{port}"}
    if other in peers_of(mine, me, hosts):
        yield {**table, **asked}
    elif "initial_window" in asked and me in peers_of(theirs, other, hosts):
        yield {**table, "initial_window": asked["initial_window"], "pool_min": 0}


def _window(mine: Variables, me: str, other: str) -> Table:
    for line in mine.get("midmile_lines", []):
        if {me, other} == set(line["between"]):
            return {"initial_window": initial_window(line, mine.get("midmile_window_share", WINDOW_SHARE))}
    return {}


def peers_of(variables: Variables, host: str, hosts: Sequence[str]) -> list[str]:
    """Give the hosts that a host goes to: those it names, or all others."""
    named = variables.get("midmile_peers")
    return [other for other in hosts if other != host] if named is None else list(named)


def name_of(variables: Variables, host: str) -> str:
    """Give what the gateway of a host calls itself."""
    return str(variables.get("midmile_name", host))


def address_of(variables: Variables, host: str) -> str:
    """Give where other gateways reach a host."""
    return str(variables.get("midmile_address", variables.get("ansible_host", host)))


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _port(bind: str) -> int:
    return int(bind.rpartition(":")[2])


def _has_foreign_addresses(listen: Table) -> bool:
    return bool(listen["mode"] == "tproxy" or listen.get("preserve_source"))


def _listen(table: Table) -> Table:
    plain = {key: value for key, value in table.items() if key != "captured"}
    if table.get("early_syn") and table["mode"] in ("redirect", "tproxy") and "capture" not in table:
        plain["capture"] = [
            f"{_network(network)}:{port}"
            for capture in captures([table])
            for network in capture["networks"]
            for port in capture["ports"]
        ]
    return plain


def _network(network: str) -> str:
    return f"[{network}]" if ":" in network else network


def _families(table: Table) -> Iterator[str]:
    six = table["bind"].startswith("[")
    if not six or table.get("dual_stack"):
        yield "ip"
    if six:
        yield "ip6"


def _capture(table: Table, family: str) -> Iterator[Table]:
    captured = table["captured"]
    networks = captured.get("networks", [_EVERYTHING[family]])
    networks = [each for each in networks if (":" in each) == (family == "ip6")]
    if networks:
        yield {
            "mode": table["mode"],
            "family": family,
            "port": _port(table["bind"]),
            "ports": captured["ports"],
            "networks": networks,
            "interfaces": captured.get("interfaces", []),
            "own": captured.get("own", False),
        }


def _tables(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield f"[{name}]\n{_entries(value)}"
    else:
        yield from (f"[[{name}]]\n{_entries(each)}" for each in value)


def _entries(table: Table | Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items() if value is not None)


def _value(value: Any) -> str:
    """Write a value; what JSON writes of strings, numbers and truth is TOML, too."""
    if isinstance(value, Mapping):
        return "{ " + _joined(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + _joined(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Give the filters by name."""
        names = (peers, listens, captures, descriptors, drop_ins, buffer_bytes, to_toml)
        return {f"midmile_{each.__name__}": each for each in names}

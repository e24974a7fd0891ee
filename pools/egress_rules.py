"""What peers may open from here: `[egress] allow`. Decisions only; who resolves and dials asks first.

A destination is judged twice, for a name says little: what it resolves to is somebody else's to say, and may be
another from one moment to the next. `judge_name` looks at what was asked for, and `allows` at each address before it is
dialled: that address, and not what the name resolves to by then.

- A rule with an address or a network allows the addresses in it, however they were asked for: as addresses, or by a
  name that no rule knows.
- A rule with a name or a glob allows that name at any address but the special ones (`pools.special_addresses`:
  loopback, link-local, metadata services and their like). Else whoever runs the name's zone could lead peers to this
  host's own services and credentials (DNS rebinding, SSRF).
- A special address is allowed only by a rule that means it: one whose network has nothing but special addresses of the
  same kind. `127.0.0.1:8080` does, `0.0.0.0/0:*` does not.
- Private networks (10.0.0.0/8, fc00::/7) are not special: that is where destinations stand. A rule with a name trusts
  the name's zone with all of them that this host can reach.
- An IPv4-mapped IPv6 address is the IPv4 address in it. An address with a zone is never allowed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self

from pools.net.endpoint import is_address, is_host
from pools.special_addresses import Address, Network, special_network

_ENTRY: Final = re.compile(r"(?:\[([^][]*)\]|([^][:]*)):([^:]*)")  # [IPv6 or its network]:PORT or HOST:PORT
_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")  # a last label that makes getaddrinfo(3) read an address
_FORM: Final = "must be HOST:PORT, as in 10.0.0.0/8:443, [2001:db8::/32]:8000-8100, db.example:5432 or *.example:*"


class Verdict(StrEnum):
    """What can be said of a destination before it is resolved.

    Attributes:
        DENIED: no address that it might resolve to would be allowed: refuse it, and ask no resolver.
        POSSIBLE: ask `EgressRules.allows` for each address. If none is, refuse it.
    """

    DENIED = "denied"
    POSSIBLE = "possible"


@dataclass(frozen=True, slots=True)
class EgressRule:
    """One entry of `[egress] allow`.

    Attributes:
        ports: to which it allows connections.
        network: of addresses; None where the rule is for names.
        name: in lower case, without a dot at its end; empty where the rule is for addresses. A glob begins with a dot:
            `.example`, written `*.example`, is for all names that end so, at any depth, but not for `example`.
    """

    ports: range
    network: Network | None = None
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HOST:PORT`.

        HOST is an address or a network (an IPv6 one in brackets), a name, or `*.` and a name; PORT is a port, two
        ports with a dash between, or `*`.

        Raises:
            ValueError: it is none of these; says what was expected.
        """
        entry = _ENTRY.fullmatch(text)
        if not entry:
            raise ValueError(_FORM)
        bracketed, host, ports = entry.groups()
        allowed = _ports(ports)
        if bracketed is not None:
            return cls(allowed, network=_network(bracketed, IPv6Network))
        if "/" in host or is_address(host):
            return cls(allowed, network=_network(host, IPv4Network))
        return cls(allowed, name=_name(host))

    def allows_address(self, address: Address, special: Network | None) -> bool:
        """Tell whether the rule means `address`, which is in the network `special`, if it is a special one."""
        if self.network is None or address not in self.network:
            return False
        return special is None or self.network.subnet_of(special)  # type: ignore[arg-type]  # of one version: both have it

    def allows_name(self, name: str) -> bool:
        """Tell whether the rule is for `name`, written as in this class."""
        if self.name.startswith("."):
            return name.endswith(self.name)
        return bool(name) and name == self.name


@dataclass(frozen=True, slots=True)
class EgressRules:
    """What peers may open from here; nothing, without rules."""

    rules: tuple[EgressRule, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Read the entries of a list.

        Raises:
            ValueError: the first one that is wrong; says what was expected and found.
        """
        return cls(tuple(map(_parsed, texts)))

    def judge_name(self, host: str, port: int) -> Verdict:
        """Judge a destination as it was asked for, before it is resolved.

        Args:
            host: a name, or an address, whose judgement is final.
            port: from 1.
        """
        name = _asked_name(host)
        possible = self.allows(host, host, port) or any(
            name and port in rule.ports and (rule.network is not None or rule.allows_name(name)) for rule in self.rules
        )
        return Verdict.POSSIBLE if possible else Verdict.DENIED

    def allows(self, host: str, address: str, port: int) -> bool:
        """Tell whether a connection to `address` may be opened.

        Args:
            host: the destination as it was asked for, a name or an address.
            address: one that `host` resolves to; `host` itself where that is an address.
            port: from 1.
        """
        dialled, special = _dialled(address)
        if dialled is None:
            return False
        name = _asked_name(host)
        return any(
            rule.allows_address(dialled, special) or (special is None and rule.allows_name(name))
            for rule in self.rules
            if port in rule.ports
        )


def _parsed(text: str) -> EgressRule:
    try:
        return EgressRule.parse(text)
    except ValueError as error:
        raise ValueError(f"{error}; found {text!r}") from error


def _ports(text: str) -> range:
    if text == "*":
        return range(1, 65536)
    if match := _PORTS.fullmatch(text):
        first, last = int(match[1]), int(match[2] or match[1])
        if 1 <= first <= last <= 65535:
            return range(first, last + 1)
    raise ValueError("must end in a port from 1 to 65535, two ports in order as in 8000-8100, or *")


def _network(text: str, kind: type[Network]) -> Network:
    """Read an address or a network of one kind; a mapped one would never be met, for it is judged as IPv4."""
    address, slash, bits = text.partition("/")
    try:
        network = ip_network(text)  # raises for an address with bits behind the prefix, too
    except ValueError:
        network = None
    if not isinstance(network, kind) or "%" in address or bool(slash) != bits.isdigit():
        family = "IPv6" if kind is IPv6Network else "IPv4"
        raise ValueError(f"must hold an {family} address, or a network with no bit set behind its prefix")
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        raise ValueError("must give an IPv4-mapped address as the IPv4 address in it")
    return network


def _name(host: str) -> str:
    name = host.removeprefix("*.")
    if not is_host(name) or is_address(name) or _NUMBER.fullmatch(_folded(name).rpartition(".")[2]):
        raise ValueError("must name a host by address, by network, by a DNS name, or by *. and a DNS name")
    return _folded(host).removeprefix("*")


def _folded(name: str) -> str:
    return name.lower().removesuffix(".")


# Two judgements for each session that a peer opens: with what is kept of the last hosts, 6 µs and not 60.
@lru_cache(maxsize=1024)
def _asked_name(host: str) -> str:
    """Give a destination's name as rules have them; none for an address, and for what no resolver may be asked."""
    return "" if is_address(host) or not is_host(host) else _folded(host)


@lru_cache(maxsize=1024)
def _dialled(text: str) -> tuple[Address | None, Network | None]:
    """Read an address to be dialled, with the special network it is in; None for what is none, or has a zone."""
    try:
        address = ip_address(text)
    except ValueError:
        return None, None
    if isinstance(address, IPv6Address):
        if address.scope_id:
            return None, None
        address = address.ipv4_mapped or address
    return address, special_network(address)

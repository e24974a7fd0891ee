"""Hosts with ports, as people write them and as the kernel takes them."""

import ipaddress
import re
import socket
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,15}\Z")  # an interface's name: IFNAMSIZ of linux/if.h, less its final zero
_HOSTS_REMEMBERED = 1024  # clients and destinations come again and again, and each OPEN names two
_HOST_LIMIT = 253  # RFC 1035 section 2.3.4, without the root's dot


@lru_cache(_HOSTS_REMEMBERED)
def is_address(host: str) -> bool:
    """Tell whether `host` is an IPv4 or IPv6 address (a zone such as %eth0 allowed) and so needs no resolver."""
    _, percent, zone = host.partition("%")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return not percent or _ZONE.match(zone) is not None


@lru_cache(_HOSTS_REMEMBERED)
def is_host(host: str) -> bool:
    """Tell whether `host` is an address or a name a resolver may be asked for (RFC 1123 section 2.1, plus '_')."""
    if is_address(host):
        return True
    name = host.removesuffix(".")
    return 0 < len(name) <= _HOST_LIMIT and all(_LABEL.match(label) for label in name.split("."))


def unmapped(host: str) -> str:
    """Give an IPv4-mapped IPv6 address (::ffff:192.0.2.1) as the IPv4 address it stands for, others as they are."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and a TCP port.

    Attributes:
        host: an address or a name, IPv6 without brackets.
        port: 0 to 65535; 0 only where the kernel is to choose.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `host:port` or `[IPv6]:port`.

        Raises:
            ValueError: the text has no host, no port, a port out of range, or an IPv6 address without brackets.
        """
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if not is_address(host) or ":" not in host:
                raise ValueError("must hold an IPv6 address between its brackets")
        elif ":" in host:
            raise ValueError("must put an IPv6 address in brackets, as in [::1]:8443")
        if not colon or not host:
            raise ValueError("must be HOST:PORT, as in 192.0.2.1:443 or [::1]:443")
        if not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError("must end in a port from 0 to 65535")
        if not is_host(host):
            raise ValueError("must name a host by address or by a DNS name")
        return cls(host, int(port))

    @property
    def family(self) -> socket.AddressFamily:
        """The address family, for a host that is an address."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

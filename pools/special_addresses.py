"""Addresses that mean a machine or a link by themselves, and none that a stranger's name should lead to.

Loopback, link-local, multicast, unspecified, reserved; the metadata services of clouds, which give credentials to
whoever is on the machine; and the same in the IPv6 forms that a translator would take an IPv4 address out of. Private
networks are not among them. Source: RFC 6890, but for the clouds', which are in their own manuals.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_V4: Final = (
    IPv4Network("0.0.0.0/8"),  # unspecified; Linux connects to this host
    IPv4Network("127.0.0.0/8"),
    IPv4Network("169.254.0.0/16"),
    IPv4Network("224.0.0.0/4"),
    IPv4Network("240.0.0.0/4"),  # reserved, and broadcast
    IPv4Network("100.100.100.200/32"),  # metadata: Alibaba Cloud
    IPv4Network("168.63.129.16/32"),  # metadata: Azure
)
_V6: Final = (
    IPv6Network("::/96"),  # unspecified, loopback, and IPv4 in a form that RFC 4291 section 2.5.5.1 gave up
    IPv6Network("fe80::/10"),
    IPv6Network("fec0::/10"),  # site-local, which RFC 3879 gave up
    IPv6Network("ff00::/8"),
    IPv6Network("fd00:ec2::254/128"),  # metadata: AWS
    IPv6Network("fd20:ce::254/128"),  # metadata: Google Cloud
    IPv6Network("fd00:c1::a9fe:a9fe/128"),  # metadata: Oracle Cloud
)


def special_network(address: Address) -> Network | None:
    """Give the network of this page that `address` is in; None for one that may be dialled as any other."""
    return next((network for network in _BY_VERSION[address.version] if address in network), None)


def _translated(network: IPv4Network) -> Iterator[IPv6Network]:
    """Give where a translator reaches `network`: NAT64 (RFC 6052 section 2.1) and 6to4 (RFC 3056 section 2)."""
    first, bits = int(network.network_address), network.prefixlen
    yield IPv6Network((int(IPv6Address("64:ff9b::")) | first, 96 + bits))
    yield IPv6Network((int(IPv6Address("2002::")) | first << 80, 16 + bits))


_BY_VERSION: Final[dict[int, tuple[Network, ...]]] = {
    4: _V4,
    6: (*_V6, *(form for network in _V4 for form in _translated(network))),
}

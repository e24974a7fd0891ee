"""Which packets the kernel lets through to the capture of SYNs, as a program of classic BPF. Pure.

The program holds no state and looks at headers alone. Whatever it does not let through costs this process nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from workers import bpf
from workers.syn_packet import SNAPSHOT_BYTES

ANY_IPV4: Final = IPv4Network("0.0.0.0/0")
ANY_IPV6: Final = IPv6Network("::/0")

_TCP: Final = 6
_VERSION_6: Final = 0x60
_FOR_THIS_HOST: Final = 0  # PACKET_HOST of linux/if_packet.h
_OFFSET_MASK: Final = 0x1FFF  # RFC 791 section 3.1
_SYN_ACK_RST_FIN: Final = 0x17
_SYN: Final = 0x02
_WORD_BITS: Final = 32

# Offsets in the IP headers (RFC 791 section 3.1, RFC 8200 section 3) and in TCP's (RFC 9293 section 3.1).
_IPV4_FRAGMENT, _IPV4_PROTOCOL, _IPV4_DESTINATION = 6, 9, 16
_IPV6_NEXT_HEADER, _IPV6_DESTINATION, _IPV6_TCP = 6, 24, 40
_TCP_DESTINATION, _TCP_FLAGS = 2, 13

_DROP: Final = bpf.give(0)
_PASS: Final = bpf.give(SNAPSHOT_BYTES)

_WHOLE: Final = bpf.give(0xFFFF_FFFF)

NOTHING: Final = _DROP
"""The program that lets nothing through."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where SYNs must be going to be let through.

    Attributes:
        network: one address, a network, or any address of its family (ANY_IPV4, ANY_IPV6).
        port: 1 to 65535; None for any.
        ends_here: of the addresses only this host's own are meant. A filter lets all of them through, for it cannot
            know them; whoever reads must ask. Only with a port.
    """

    network: IPv4Network | IPv6Network
    port: int | None
    ends_here: bool = False


def program(targets: Iterable[Target]) -> bytes:
    """Assemble the filter: bare SYNs over TCP to one of `targets`, meant for this host, and nothing else.

    Bare means with SYN, and without ACK, RST and FIN. IPv4 may have options, and of fragments only the first passes.
    IPv6 must have TCP right behind its header, as everywhere in this gateway (`ShardHash.program`).

    Returns:
        Packed struct sock_filter for SO_ATTACH_FILTER, a few instructions for each target. What passes is cut off
        after SNAPSHOT_BYTES.
    """
    wanted = list(dict.fromkeys(targets))
    ipv4 = _of_ipv4([each for each in wanted if isinstance(each.network, IPv4Network)])
    ipv6 = _of_ipv6([each for each in wanted if isinstance(each.network, IPv6Network)])
    # A few dozen targets are longer than the 255 instructions that a conditional jump can skip.
    to_ipv4 = bpf.skip(ipv6)
    version = bpf.load_byte(0) + bpf.mask(0xF0) + bpf.skip_if_equal(_VERSION_6, to_ipv4)
    return _for_this_host() + version + to_ipv4 + ipv6 + ipv4


def without_syns() -> bytes:
    """Assemble the filter of a TCP listener that takes no new client: all but bare SYNs pass, whole."""
    flags = bpf.load_segment_byte(_TCP_FLAGS) + bpf.mask(_SYN_ACK_RST_FIN)
    return flags + bpf.skip_unless_equal(_SYN, _DROP) + _DROP + _WHOLE


def _for_this_host() -> bytes:
    return bpf.load_packet_type() + _require(_FOR_THIS_HOST)


def _of_ipv4(targets: list[Target]) -> bytes:
    """The options are skipped by X, which keeps the header's length from here on."""
    first_tcp = bpf.load_byte(_IPV4_PROTOCOL) + _require(_TCP)
    first_tcp += bpf.load_half(_IPV4_FRAGMENT) + bpf.mask(_OFFSET_MASK) + _require(0)
    bare_syn = bpf.load_ipv4_header_length() + bpf.load_byte_behind(_TCP_FLAGS) + _require_bare_syn()
    port = bpf.load_half_behind(_TCP_DESTINATION)
    return first_tcp + bare_syn + _any_of(targets, _IPV4_DESTINATION, port)


def _of_ipv6(targets: list[Target]) -> bytes:
    tcp = bpf.load_byte(_IPV6_NEXT_HEADER) + _require(_TCP)
    bare_syn = bpf.load_byte(_IPV6_TCP + _TCP_FLAGS) + _require_bare_syn()
    port = bpf.load_half(_IPV6_TCP + _TCP_DESTINATION)
    return tcp + bare_syn + _any_of(targets, _IPV6_DESTINATION, port)


def _require(value: int) -> bytes:
    return bpf.skip_if_equal(value, _DROP) + _DROP


def _require_bare_syn() -> bytes:
    return bpf.mask(_SYN_ACK_RST_FIN) + _require(_SYN)


def _any_of(targets: list[Target], address_at: int, load_port: bytes) -> bytes:
    return b"".join(_rule(target, address_at, load_port) for target in targets) + _DROP


def _rule(target: Target, address_at: int, load_port: bytes) -> bytes:
    """Pass what is going there, and go on behind the rule with the rest. Built from its end, where the jumps lead."""
    rule = _PASS
    if target.port is not None:
        rule = load_port + bpf.skip_unless_equal(target.port, rule) + rule
    for offset, bits, wanted in reversed(_words(target.network)):
        masked = b"" if bits == 0xFFFF_FFFF else bpf.mask(bits)
        rule = bpf.load_word(address_at + offset) + masked + bpf.skip_unless_equal(wanted, rule) + rule
    return rule


def _words(network: IPv4Network | IPv6Network) -> list[tuple[int, int, int]]:
    """Give offset, mask and value of each 32-bit word that the network's prefix reaches into."""
    masks = _split(network.netmask)
    return [
        (index * 4, bits, value)
        for index, (bits, value) in enumerate(zip(masks, _split(network.network_address), strict=True))
        if bits
    ]


def _split(address: IPv4Address | IPv6Address) -> list[int]:
    packed = address.packed
    return [int.from_bytes(packed[at : at + 4], "big") for at in range(0, len(packed), 4)]

"""What the filter lets through, against the plain words of its rules."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bpf_machine import run
from tests.packets import NO_SYNS, PSH, SYN, changed, ipv4, ipv6, other_packets, tcp
from workers import bpf
from workers.syn_filter import ANY_IPV4, ANY_IPV6, NOTHING, Target, program
from workers.syn_packet import SNAPSHOT_BYTES, parse

EVERYTHING = program([Target(ANY_IPV4, None), Target(ANY_IPV6, None)])
OTHER_HOST = 3  # PACKET_OTHERHOST of linux/if_packet.h

ports = st.integers(1, 65535)
networks = st.one_of(
    st.builds(lambda host, bits: IPv4Network((host, bits), strict=False), st.ip_addresses(v=4), st.integers(0, 32)),
    st.builds(lambda host, bits: IPv6Network((host, bits), strict=False), st.ip_addresses(v=6), st.integers(0, 128)),
)
targets = st.builds(Target, networks, st.one_of(st.none(), ports))


def target(text: str, port: int | None = None) -> Target:
    return Target(ip_network(text), port)


def syn(to: str, port: int) -> bytes:
    make = ipv4 if ip_address(to).version == 4 else ipv6
    return make(tcp(port=port), to=to)


def passes(filters: bytes, packet: bytes) -> bool:
    return run(filters, packet) == SNAPSHOT_BYTES


def is_meant(wanted: Target, to: str, port: int) -> bool:
    return ip_address(to) in wanted.network and wanted.port in (None, port)


@given(wanted=st.lists(targets, max_size=5), data=st.data())
def test_a_syn_passes_when_a_target_means_it(wanted: list[Target], data: st.DataObject) -> None:
    near = [str(each.network.network_address) for each in wanted]
    near += [str(each.network.broadcast_address) for each in wanted]
    to = data.draw(st.one_of(st.ip_addresses().map(str), st.sampled_from(near or ["192.0.2.1"])))
    port = data.draw(st.one_of(ports, st.sampled_from([each.port or 9 for each in wanted] or [9])))
    assert passes(program(wanted), syn(to, port)) == any(is_meant(each, to, port) for each in wanted)


@pytest.mark.parametrize(
    ("wanted", "to", "port", "does"),
    [
        ("198.51.100.1/32", "198.51.100.1", 443, True),
        ("198.51.100.1/32", "198.51.100.2", 443, False),
        ("198.51.100.1/32", "198.51.100.1", 444, False),
        ("198.51.96.0/21", "198.51.103.255", 443, True),
        ("198.51.96.0/21", "198.51.104.0", 443, False),
        ("2001:db8::1/128", "2001:db8::1", 443, True),
        ("2001:db8::1/128", "2001:db8::1:1", 443, False),
        ("2001:db8:8000::/33", "2001:db8:ffff::1", 443, True),
        ("2001:db8:8000::/33", "2001:db8:7fff::1", 443, False),
        ("0.0.0.0/0", "2001:db8::1", 443, False),
        ("::/0", "198.51.100.1", 443, False),
    ],
)
def test_a_target_is_an_address_or_a_network_and_a_port(wanted: str, to: str, port: int, does: bool) -> None:
    assert passes(program([target(wanted, 443)]), syn(to, port)) == does


@pytest.mark.parametrize("flags", NO_SYNS)
def test_only_bare_syns_pass(flags: int) -> None:
    assert not passes(EVERYTHING, ipv4(tcp(flags=flags)))
    assert not passes(EVERYTHING, ipv6(tcp(flags=flags)))


@pytest.mark.parametrize("what", other_packets())
def test_other_packets_do_not_pass(what: str) -> None:
    assert not passes(EVERYTHING, other_packets()[what])


@given(options=st.integers(0, 10).flatmap(lambda words: st.binary(min_size=words * 4, max_size=words * 4)))
def test_ipv4_may_have_options(options: bytes) -> None:
    filters = program([target("198.51.100.1", 443)])
    assert passes(filters, ipv4(tcp(flags=SYN | PSH), options=options))
    assert not passes(filters, ipv4(tcp(port=80), options=options))


def test_the_first_fragment_passes() -> None:
    assert passes(EVERYTHING, changed(ipv4(tcp()), 6, 0x20))


@pytest.mark.parametrize("packet", [ipv4(tcp()), ipv6(tcp())], ids=["IPv4", "IPv6"])
def test_what_is_for_another_host_does_not_pass(packet: bytes) -> None:
    assert run(EVERYTHING, packet) == SNAPSHOT_BYTES
    assert run(EVERYTHING, packet, packet_type=OTHER_HOST) == 0


@pytest.mark.parametrize("packet", [ipv4(tcp()), ipv6(tcp())], ids=["IPv4", "IPv6"])
def test_nothing_passes_without_targets(packet: bytes) -> None:
    assert not passes(program([]), packet)
    assert not passes(NOTHING, packet)


@given(packet=st.binary(max_size=100), first=st.sampled_from([0x45, 0x4F, 0x60]))
def test_what_passes_and_is_whole_is_a_syn(packet: bytes, first: int) -> None:
    packet = bytes([first]) + packet
    if passes(EVERYTHING, packet) and len(packet) >= SNAPSHOT_BYTES:
        assert parse(packet) is not None


def test_many_targets_fit() -> None:
    wanted = [Target(IPv4Network(number), 443) for number in range(200)]
    wanted += [Target(IPv6Network(number), 443) for number in range(200)]
    filters = program(wanted)
    assert bpf.length(filters) <= 4096  # BPF_MAXINSNS
    for each in (wanted[0], wanted[199], wanted[200], wanted[399]):
        assert passes(filters, syn(str(each.network.network_address), 443))
    assert not passes(filters, syn("10.0.0.1", 443))
    assert not passes(filters, syn("2001:db8::1", 443))


def test_a_target_said_twice_costs_nothing_more() -> None:
    assert program([target("::/0", 443)] * 2) == program([target("::/0", 443)])

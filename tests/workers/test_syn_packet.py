"""SYNs of both IP versions, everything that is none, and whatever bytes somebody may send."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.packets import CWR, ECE, NO_SYNS, PSH, SYN, changed, ipv4, ipv6, other_packets, tcp
from workers.syn_packet import SNAPSHOT_BYTES, Syn, parse

ports = st.integers(0, 65535)
ipv4_options = st.integers(0, 10).flatmap(lambda words: st.binary(min_size=words * 4, max_size=words * 4))


@given(source=st.ip_addresses(v=4), to=st.ip_addresses(v=4), source_port=ports, port=ports, options=ipv4_options)
def test_a_syn_over_ipv4_with_any_options(
    source: ipaddress.IPv4Address, to: ipaddress.IPv4Address, source_port: int, port: int, options: bytes
) -> None:
    packet = ipv4(tcp(source_port, port), source=str(source), to=str(to), options=options)
    assert parse(packet) == Syn((str(source), source_port), (str(to), port))


@given(source=st.ip_addresses(v=6), to=st.ip_addresses(v=6), source_port=ports, port=ports)
def test_a_syn_over_ipv6(source: ipaddress.IPv6Address, to: ipaddress.IPv6Address, source_port: int, port: int) -> None:
    syn = parse(ipv6(tcp(source_port, port), source=str(source), to=str(to)))
    assert syn is not None
    assert (syn.client[1], syn.local[1]) == (source_port, port)
    assert [ipaddress.ip_address(host) for host, _ in syn] == [source, to]


@pytest.mark.parametrize("host", ["2001:db8::", "::1", "::", "fe80::1:0:0:1", "::ffff:1.2.3.4", "1:0:0:2::3"])
def test_an_ipv6_address_is_written_as_the_socket_calls_write_it(host: str) -> None:
    assert parse(ipv6(tcp(), source=host)) == Syn((host, 40000), ("2001:db8::1", 443))


@pytest.mark.parametrize("flags", [SYN, SYN | PSH, SYN | ECE | CWR])
def test_a_syn_may_push_data_and_speak_of_congestion(flags: int) -> None:
    assert parse(ipv4(tcp(flags=flags))) is not None
    assert parse(ipv6(tcp(flags=flags))) is not None


@pytest.mark.parametrize("flags", NO_SYNS)
def test_what_else_goes_to_and_fro_is_none(flags: int) -> None:
    assert parse(ipv4(tcp(flags=flags))) is None
    assert parse(ipv6(tcp(flags=flags))) is None


@pytest.mark.parametrize("what", other_packets())
def test_other_packets_are_none(what: str) -> None:
    assert parse(other_packets()[what]) is None


@pytest.mark.parametrize("first", [0x00, 0x44, 0x55, 0x70, 0xF5])
def test_a_header_that_is_none_is_not_believed(first: int) -> None:
    assert parse(changed(ipv4(tcp(), options=bytes(40)), 0, first)) is None


def test_the_first_fragment_is_one() -> None:
    assert parse(changed(ipv4(tcp()), 6, 0x20)) is not None


@pytest.mark.parametrize("packet", [ipv4(tcp(), options=bytes(40)), ipv6(tcp())], ids=["IPv4", "IPv6"])
def test_a_packet_that_ends_early_is_none(packet: bytes) -> None:
    assert len(packet) <= SNAPSHOT_BYTES
    assert parse(packet) is not None
    assert [size for size in range(len(packet)) if parse(packet[:size]) is not None] == []


@given(
    st.one_of(
        st.binary(max_size=120),
        st.tuples(st.sampled_from([0x45, 0x46, 0x60]), st.binary()).map(lambda parts: bytes([parts[0]]) + parts[1]),
    )
)
def test_no_bytes_break_it(packet: bytes) -> None:
    syn = parse(packet)
    if syn is not None:
        assert all(str(ipaddress.ip_address(host)) and 0 <= port <= 65535 for host, port in syn)


@given(at=st.integers(0, 59), value=st.integers(0, 255), of=st.sampled_from([ipv4(tcp()), ipv6(tcp())]))
def test_a_damaged_syn_gives_a_whole_one_or_none(at: int, value: int, of: bytes) -> None:
    syn = parse(changed(of, min(at, len(of) - 1), value))
    assert syn is None or all(0 <= port <= 65535 for _, port in syn)

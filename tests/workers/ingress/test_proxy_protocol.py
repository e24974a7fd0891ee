"""PROXY headers: there and back, cut, spoiled."""

import ipaddress
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.net.endpoint import Endpoint, unmapped
from pools.net.errors import ProtocolError
from tests.workers.ingress.transcripts import cuts, spoiled
from workers.ingress.proxy_protocol import HEADER_LIMIT, V1_LIMIT, V2_LENGTH_LIMIT, ProxyInfo, build_v1, build_v2, parse

CLIENT, SERVICE = Endpoint("192.0.2.1", 56324), Endpoint("198.51.100.2", 443)
CLIENT6, SERVICE6 = Endpoint("2001:db8::1", 56324), Endpoint("2001:db8::2", 443)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BLOCK4 = b"\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"
TLVS = b"\x04\x00\x03abc" + b"\xea\x00\x00"


def v2(block: bytes, *, command: int = 0x21, kind: int = 0x11) -> bytes:
    return SIGNATURE + bytes([command, kind]) + len(block).to_bytes(2) + block


VALID = [
    b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
    b"PROXY TCP6 2001:db8::1 2001:DB8::2 56324 443\r\n",
    b"PROXY UNKNOWN whatever is here\r\n",
    v2(BLOCK4 + TLVS),
    build_v2(CLIENT6, SERVICE6),
    v2(b"", command=0x20, kind=0),
]


def endpoints() -> st.SearchStrategy[Endpoint]:
    hosts = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
    return st.builds(Endpoint, hosts.map(canonical), st.integers(0, 65535))


def canonical(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return unmapped(socket.inet_ntop(family, address.packed))


def drip(data: bytes, cuts: list[int]) -> tuple[ProxyInfo, int] | str | None:
    """Parse `data` as it arrives in pieces; errors become their text, less what they quote of the buffer."""
    for end in sorted({*cuts, len(data)}):
        try:
            if found := parse(data[:end]):
                return found
        except ProtocolError as error:
            return str(error).partition("; found")[0]
    return None


def test_version_1_gives_both_ends_and_its_length() -> None:
    assert parse(VALID[0] + b"GET /") == (ProxyInfo(CLIENT, SERVICE), len(VALID[0]))
    assert parse(VALID[1]) == (ProxyInfo(CLIENT6, SERVICE6), len(VALID[1]))


def test_version_2_gives_both_ends_and_skips_its_tlvs() -> None:
    assert parse(VALID[3] + b"GET /") == (ProxyInfo(CLIENT, SERVICE), 16 + 12 + len(TLVS))
    assert parse(VALID[4]) == (ProxyInfo(CLIENT6, SERVICE6), 16 + 36)


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN " + b"f" * (V1_LIMIT - 16) + b"\r\n",
        v2(b"", command=0x20, kind=0),
        v2(BLOCK4 + b"\x01\xff", command=0x20),
        v2(b"anything", command=0x20, kind=0x77),
        v2(b"", kind=0),
        v2(b"\x01\xff\xff", kind=0),
        v2(BLOCK4, kind=0x12),
        v2(bytes(36), kind=0x22),
        v2(bytes(216), kind=0x31),
        v2(bytes(216), kind=0x32),
    ],
)
def test_without_tcp_addresses_the_real_ones_count(header: bytes) -> None:
    assert parse(header + b"GET /") == (ProxyInfo(), len(header))


def test_mapped_addresses_are_the_ipv4_addresses_they_are() -> None:
    line = b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 56324 443\r\n"
    assert parse(line) == (ProxyInfo(CLIENT, SERVICE), len(line))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"GET / HTTP/1.1\r\n", "found b'GET / HTTP/1'"),
        (b"PROXY\r\n", "expected a PROXY protocol header"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n" + b"x" * V1_LIMIT, "found no end of it"),
        (b"PROXY UNKNOWN " + b"f" * (V1_LIMIT - 15) + b"\r\n", "found no end of it"),
        (b"PROXY UNKNOWNS\r\n", "expected PROXY TCP4"),
        (b"PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n", "expected PROXY TCP4"),
        (b"PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n", "expected PROXY TCP4"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n", "expected PROXY TCP4"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n", "expected PROXY TCP4"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n", "expected PROXY TCP4"),
        (b"PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n", "expected two TCP4 addresses"),
        (b"PROXY TCP4 192.0.2.1 2001:db8::2 1 2\r\n", "expected two TCP4 addresses"),
        (b"PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n", "expected two TCP6 addresses"),
        (b"PROXY TCP6 fe80::1%1 fe80::2 1 2\r\n", "expected PROXY TCP4"),
        (v2(BLOCK4, command=0x11), "found 0x11"),
        (v2(BLOCK4, command=0x22), "found 0x22"),
        (v2(BLOCK4, kind=0x13), "found 0x13"),
        (v2(BLOCK4, kind=0x41), "found 0x41"),
        (v2(BLOCK4[:-1]), "found 0x11 and 11 bytes"),
        (v2(BLOCK4, kind=0x21), "found 0x21 and 12 bytes"),
        (v2(BLOCK4 + b"\x04"), "ends at 15"),
        (v2(BLOCK4 + b"\x04\x00\x04abc"), "ends at 19"),
        (v2(bytes(V2_LENGTH_LIMIT + 1))[:16], "found 16 + 2049"),
    ],
)
def test_bad_headers_are_told_apart(header: bytes, message: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(header)
    assert message in str(caught.value)
    assert caught.value.reply == b""


def test_the_longest_header_is_taken() -> None:
    header = v2(BLOCK4 + b"\x04" + (V2_LENGTH_LIMIT - 15).to_bytes(2) + bytes(V2_LENGTH_LIMIT - 15))
    assert len(header) == HEADER_LIMIT
    assert parse(header) == (ProxyInfo(CLIENT, SERVICE), HEADER_LIMIT)


def test_headers_are_written_as_the_specification_shows() -> None:
    assert build_v1(CLIENT, SERVICE) == VALID[0]
    assert build_v2(CLIENT, SERVICE) == v2(BLOCK4)


def test_of_two_families_version_1_says_unknown_and_version_2_maps() -> None:
    assert build_v1(CLIENT, SERVICE6) == b"PROXY UNKNOWN\r\n"
    mapped = bytes(10) + b"\xff\xff" + BLOCK4[:4] + socket.inet_pton(socket.AF_INET6, SERVICE6.host) + BLOCK4[8:]
    assert build_v2(CLIENT, SERVICE6) == v2(mapped, kind=0x21)


def test_a_zone_is_not_sent() -> None:
    assert build_v1(Endpoint("fe80::1%lo", 1), SERVICE6).startswith(b"PROXY TCP6 fe80::1 2001:db8::2 ")


def test_a_name_is_no_address() -> None:
    with pytest.raises(ValueError, match=r"a\.example"):
        build_v2(CLIENT, Endpoint("a.example", 443))


@given(source=endpoints(), destination=endpoints())
@settings(max_examples=80, deadline=None)
def test_what_is_written_is_read(source: Endpoint, destination: Endpoint) -> None:
    expected = ProxyInfo(source, destination)
    header = build_v2(source, destination)
    assert parse(header) == (expected, len(header))
    line = build_v1(source, destination)
    same_family = source.family == destination.family
    assert parse(line) == (expected if same_family else ProxyInfo(), len(line))


@given(data=st.sampled_from(VALID), cuts=cuts())
@settings(max_examples=100, deadline=None)
def test_any_cut_gives_the_same(data: bytes, cuts: list[int]) -> None:
    assert drip(data + b"early", cuts) == parse(data)


@given(data=spoiled(VALID), cuts=cuts())
@settings(max_examples=150, deadline=None)
def test_spoiled_headers_end_alike_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    assert drip(data, cuts) == drip(data, [])


@given(data=st.binary(max_size=64), start=st.sampled_from([b"", b"PROXY ", SIGNATURE]))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_decided_within_the_bound(data: bytes, start: bytes) -> None:
    assert drip((start + data).ljust(HEADER_LIMIT, b"x"), []) is not None

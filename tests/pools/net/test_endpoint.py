"""Hosts and ports: what is written can be read, and what cannot be read says why."""

import ipaddress
import socket
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.net.endpoint import Endpoint, is_address, is_host, unmapped

inner = string.ascii_letters + string.digits + "-_"
labels = st.builds(
    lambda first, middle, last: first + middle + last,
    st.sampled_from(inner.replace("-", "")),
    st.text(inner, max_size=12),
    st.sampled_from(inner.replace("-", "")),
)
names = st.lists(labels, min_size=1, max_size=5).map(".".join)
hosts = st.one_of(names, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
ports = st.integers(0, 65535)


@given(hosts, ports)
def test_what_is_written_can_be_read(host: str, port: int) -> None:
    endpoint = Endpoint(host, port)
    assert Endpoint.parse(str(endpoint)) == endpoint


def parsed(text: str) -> Endpoint | str:
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        return str(error)


@given(st.text("[]:.%019afgz-_ \n\0é٣", max_size=30))
def test_any_text_is_an_endpoint_or_a_value_error(text: str) -> None:
    match parsed(text):
        case Endpoint() as endpoint:
            assert is_host(endpoint.host)
            assert 0 <= endpoint.port <= 65535
            assert Endpoint.parse(str(endpoint)) == endpoint
        case rule:
            assert rule.startswith("must ")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "must be HOST:PORT"),
        ("name", "must be HOST:PORT"),
        (":80", "must be HOST:PORT"),
        ("[]:80", "must hold an IPv6 address"),
        ("[::1]", "must put an IPv6 address in brackets"),
        ("::1:80", "must put an IPv6 address in brackets"),
        ("[127.0.0.1]:80", "must hold an IPv6 address"),
        ("name:", "must end in a port"),
        ("name:-1", "must end in a port"),
        ("name:65536", "must end in a port"),
        ("name:٣", "must end in a port"),
        ("na me:80", "must name a host"),
        ("-name:80", "must name a host"),
        ("a..b:80", "must name a host"),
        (f"{'a' * 64}:80", "must name a host"),
        (f"{'a.' * 127}a:80", "must name a host"),
    ],
)
def test_what_is_wrong_says_which_rule_it_breaks(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Endpoint.parse(text)


@given(st.ip_addresses())
def test_the_family_is_that_of_the_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    assert Endpoint(str(address), 1).family == family


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%eth0", "fe80::1%br-lan.100_abcd", "fe80::1%2"])
def test_an_address_needs_no_resolver(host: str) -> None:
    assert is_address(host)


@pytest.mark.parametrize("zone", ["", "eth0\n", "eth 0", "eth0\nGET / HTTP/1.1", "a" * 16, "eth0%eth1", "éth0", "\0"])
def test_a_zone_is_an_interfaces_name_and_nothing_else(zone: str) -> None:
    assert not is_address(f"fe80::1%{zone}")
    assert parsed(f"[fe80::1%{zone}]:80") == "must hold an IPv6 address between its brackets"


@pytest.mark.parametrize("host", ["localhost", "1.2.3", "127.0.0.1.", ""])
def test_a_name_is_no_address(host: str) -> None:
    assert not is_address(host)


def test_a_name_may_end_in_the_root() -> None:
    assert is_host("orders.example.")
    assert not is_host(".")


@given(st.ip_addresses(v=4).map(str))
def test_a_mapped_address_is_given_as_what_it_stands_for(address: str) -> None:
    assert unmapped(f"::ffff:{address}") == address
    assert unmapped(address) == address


@pytest.mark.parametrize("host", ["::ffff", "::1", "::ffff:1:2:3", "name"])
def test_what_is_not_mapped_stays(host: str) -> None:
    assert unmapped(host) == host

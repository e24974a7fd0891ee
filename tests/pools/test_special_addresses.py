"""Each kind of special address is known, in each form that leads to it; the Internet's and private ones are not."""

from ipaddress import ip_address

import pytest

from pools.special_addresses import special_network


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("0.0.0.0", "0.0.0.0/8"),
        ("127.255.255.255", "127.0.0.0/8"),
        ("169.254.169.254", "169.254.0.0/16"),
        ("239.1.2.3", "224.0.0.0/4"),
        ("255.255.255.255", "240.0.0.0/4"),
        ("100.100.100.200", "100.100.100.200/32"),
        ("168.63.129.16", "168.63.129.16/32"),
        ("::", "::/96"),
        ("::1", "::/96"),
        ("::7f00:1", "::/96"),
        ("fe80::1", "fe80::/10"),
        ("febf::1", "fe80::/10"),
        ("fec0::1", "fec0::/10"),
        ("ff02::1", "ff00::/8"),
        ("fd00:ec2::254", "fd00:ec2::254/128"),
        ("64:ff9b::127.0.0.1", "64:ff9b::7f00:0/104"),
        ("64:ff9b::169.254.169.254", "64:ff9b::a9fe:0/112"),
        ("2002:7f00:1::5", "2002:7f00::/24"),
        ("2002:a9fe:a9fe::1", "2002:a9fe::/32"),
    ],
)
def test_a_special_address_is_in_its_network(address: str, network: str) -> None:
    assert str(special_network(ip_address(address))) == network


@pytest.mark.parametrize(
    "address",
    [
        "1.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.16.0.1",
        "192.168.0.1",
        "192.0.2.1",
        "223.255.255.255",
        "::1:0:0:1",
        "2001:db8::1",
        "64:ff9b::10.0.0.1",
        "2002:a00:1::1",
        "fd00::1",
    ],
)
def test_others_are_not(address: str) -> None:
    assert special_network(ip_address(address)) is None

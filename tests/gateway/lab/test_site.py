import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from gateway.lab import network_namespace
from gateway.lab.site import DEVICE, Site
from gateway.lab.whole_packets import HEADER_BYTES

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")

ADDRESS = IPv4Interface("10.77.0.1/24")
SYSCTL = "ipv4.tcp_slow_start_after_idle"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site.open("oregon", ADDRESS, sysctls={SYSCTL: "0"})
    yield made
    made.close()


def test_what_leaves_a_site_is_read_from_its_device(site: Site) -> None:
    with network_namespace.entered(site.namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", ("10.77.0.2", 7))
    os.set_blocking(site.device, True)
    while (packet := os.read(site.device, 2_000)[HEADER_BYTES:])[0] >> 4 != 4:
        pass  # the kernel looks for IPv6 routers
    assert (packet[12:16], packet[16:20], packet[28:]) == (ADDRESS.packed, b"\x0a\x4d\x00\x02", b"hello")


def test_what_is_written_to_its_device_comes_in(site: Site) -> None:
    with network_namespace.entered(site.namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind((str(ADDRESS.ip), 7))
        os.write(
            site.device,
            bytes(HEADER_BYTES) + datagram(source="10.77.0.2", destination=str(ADDRESS.ip), port=7, data=b"hello"),
        )
        assert sock.recvfrom(100) == (b"hello", ("10.77.0.2", 9))


def datagram(*, source: str, destination: str, port: int, data: bytes) -> bytes:
    """Make an IPv4 packet with a UDP datagram from port 9, without UDP checksum. RFC 791, RFC 768."""
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(data), 0, 0, 64, socket.IPPROTO_UDP, 0) + ends
    words = sum(struct.unpack("!10H", head))
    checksum = ~((words & 0xFFFF) + (words >> 16)) & 0xFFFF
    return head[:10] + struct.pack("!H", checksum) + head[12:] + struct.pack("!4H", 9, port, 8 + len(data), 0) + data


def test_a_site_has_its_loopback_and_its_settings(site: Site) -> None:
    with network_namespace.entered(site.namespace):
        assert Path("/proc/sys/net", SYSCTL.replace(".", "/")).read_text().strip() == "0"
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=10).close()


def test_devices_of_two_sites_bear_the_same_name_and_none_is_seen_from_here(site: Site) -> None:
    other = Site.open("mumbai", IPv4Interface("10.77.0.2/24"), sysctls={})
    try:
        assert DEVICE not in dict(socket.if_nameindex()).values()
    finally:
        other.close()


def test_a_setting_that_does_not_exist_is_refused_and_no_descriptor_is_left() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError, match="no_such_setting"):
        Site.open("oregon", ADDRESS, sysctls={"ipv4.no_such_setting": "1"})
    assert os.listdir("/proc/self/fd") == before

"""Groups of packet sockets in a network of their own: who gets what, once, and what is refused."""

import errno
import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from gateway.lab import network_namespace
from pools.net.packet_socket import IPVersion, PacketSocketError, attach_filter, discard, open_group, read, take_lost
from tests.lonely_network import inject, ip, lonely_network, needs_root
from tests.packets import ipv4, ipv6, tcp

NOBODY = 65534
WHOLE = 65_535


def program(*instructions: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)


DROP = program((0x06, 0, 0, 0))
PASS = program((0x06, 0, 0, WHOLE))
SHORT = program((0x06, 0, 0, 30))
# A = the last byte of the source address.
BY_IPV4_SOURCE = program((0x30, 0, 0, 0xFFF0_0000 + 15), (0x16, 0, 0, 0))
BY_IPV6_SOURCE = program((0x30, 0, 0, 0xFFF0_0000 + 23), (0x16, 0, 0, 0))
BROKEN = program((0x06, 0, 0, 0), (0x15, 9, 9, 0))


@pytest.fixture
def network() -> Iterator[None]:
    with lonely_network():
        yield


@contextmanager
def group(slots: int = 1, version: IPVersion = IPVersion.V4, choose: bytes = DROP) -> Iterator[list[socket.socket]]:
    with ExitStack() as owned:
        yield [owned.enter_context(sock) for sock in open_group(version, slots=slots, choose=choose, until=DROP)]


def all_of(sock: socket.socket) -> list[bytes]:
    """Give what has come; the loopback device delivers before sendto returns."""
    found = []
    while (packet := read(sock, WHOLE)) is not None:
        found.append(packet)
    return found


@needs_root
@pytest.mark.parametrize(
    ("version", "choose", "make", "source"),
    [(IPVersion.V4, BY_IPV4_SOURCE, ipv4, "192.0.2.{}"), (IPVersion.V6, BY_IPV6_SOURCE, ipv6, "2001:db8::{}")],
    ids=["IPv4", "IPv6"],
)
@pytest.mark.usefixtures("network")
def test_the_program_chooses_by_the_order_of_the_list(
    version: IPVersion, choose: bytes, make: Callable[..., bytes], source: str
) -> None:
    packets = [make(tcp(), source=source.format(number)) for number in range(8)]
    with group(4, version, choose) as members:
        for sock in members:
            attach_filter(sock, PASS)
        inject(*packets)
        assert [all_of(sock) for sock in members] == [packets[slot::4] for slot in range(4)]


@needs_root
@pytest.mark.usefixtures("network")
def test_each_version_has_its_own_group() -> None:
    with group(1, IPVersion.V4) as (four,), group(1, IPVersion.V6) as (six,):
        for sock in (four, six):
            attach_filter(sock, PASS)
        inject(ipv4(tcp()), ipv6(tcp()))
        assert (all_of(four), all_of(six)) == ([ipv4(tcp())], [ipv6(tcp())])


@needs_root
@pytest.mark.usefixtures("network")
def test_a_filter_holds_from_now_on_and_cuts_off() -> None:
    with group() as (sock,):
        inject(ipv4(tcp()))
        assert all_of(sock) == []
        attach_filter(sock, SHORT)
        inject(ipv4(tcp()))
        attach_filter(sock, DROP)
        inject(ipv4(tcp()))
        assert all_of(sock) == [ipv4(tcp())[:30]]


@needs_root
@pytest.mark.usefixtures("network")
def test_groups_of_two_gateways_keep_to_themselves() -> None:
    with group(2) as one, group(2) as other:
        for sock in (*one, *other):
            attach_filter(sock, PASS)
        inject(ipv4(tcp()))
        assert [len(all_of(first)) + len(all_of(second)) for first, second in (one, other)] == [1, 1]


@needs_root
@pytest.mark.usefixtures("network")
def test_what_is_unread_can_be_thrown_away() -> None:
    with group() as (sock,):
        attach_filter(sock, PASS)
        inject(*[ipv4(tcp())] * 3)
        discard(sock)
        assert read(sock, WHOLE) is None


@needs_root
@pytest.mark.usefixtures("network")
def test_packets_without_room_are_counted() -> None:
    with group() as (sock,):
        attach_filter(sock, PASS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the kernel's least, a few packets
        inject(*[ipv4(tcp())] * 100)
        kept = len(all_of(sock))
        assert 0 < kept < 100
        assert (take_lost(sock), take_lost(sock)) == (100 - kept, 0)


@needs_root
@pytest.mark.usefixtures("network")
def test_a_connection_over_a_bridge_is_seen_once() -> None:
    client = network_namespace.create()
    ip("link add near type veth peer name far", "link add bridge type bridge", "link set near master bridge")
    ip(f"link set far netns /proc/{os.getpid()}/fd/{client}", "link set near up", "link set bridge up")
    ip("addr add 10.9.0.1/24 dev bridge")
    with group() as (sock,), socket.create_server(("10.9.0.1", 0)) as listener:
        with network_namespace.entered(client):
            ip("link set far up", "addr add 10.9.0.2/24 dev far")
            attach_filter(sock, PASS)
            dialled = socket.create_connection(listener.getsockname(), timeout=30)
        with dialled:
            syns = [packet for packet in all_of(sock) if packet[20 + 13] == 0x02]
            assert {packet[12:20] for packet in syns} == {bytes([10, 9, 0, 2, 10, 9, 0, 1])}
            assert len(syns) == len(set(syns))  # one that a slow machine sent again differs, by its timestamp
    os.close(client)


@needs_root
@pytest.mark.usefixtures("network")
def test_a_wrong_program_is_refused_and_leaves_nothing_open() -> None:
    before = os.listdir("/proc/self/fd")
    for programs in ({"choose": BROKEN, "until": DROP}, {"choose": DROP, "until": BROKEN}):
        with pytest.raises(PacketSocketError, match="cannot capture packets: EINVAL") as refused:
            open_group(IPVersion.V4, slots=3, **programs)
        assert refused.value.errno == errno.EINVAL
    with group() as (sock,), pytest.raises(PacketSocketError, match="cannot attach a filter of 2 instructions: EINVAL"):
        attach_filter(sock, BROKEN)
    assert os.listdir("/proc/self/fd") == before


def test_without_the_right_it_says_which_one_is_missing() -> None:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            open_group(IPVersion.V4, slots=1, choose=DROP, until=DROP)
        except PacketSocketError as error:
            os.write(write_end, str(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as answer:
        message = answer.read().decode()
    os.waitpid(child, 0)
    assert re.fullmatch(r"cannot capture packets: EPERM \(needs CAP_NET_RAW .*\)", message)

"""Who captures a SYN and who accepts its connection: the same worker, for both IP versions."""

import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Network, ip_network

import pytest

from pools.net.endpoint import Endpoint
from pools.net.keepalive import Keepalive
from pools.net.packet_socket import PacketSocketError, attach_filter, read
from tests.lonely_network import lonely_network, needs_root
from workers.listener import open_group
from workers.settings import Listen, Mode
from workers.shard import ShardHash
from workers.syn_filter import ANY_IPV4, ANY_IPV6, Target
from workers.syn_packet import SNAPSHOT_BYTES, Address, Syn, parse
from workers.syn_sockets import Capture, open_captures

SHARD = ShardHash(0xC0FFEE, 4)
CONNECTIONS = 300
DEADLINE_S = 30
_MAPPED = "::ffff:"


@pytest.fixture
def network() -> Iterator[None]:
    with lonely_network():
        yield


@contextmanager
def captures(*targets: Target) -> Iterator[list[Capture]]:
    with ExitStack() as owned:
        opened = open_captures(targets, shard=SHARD)
        for capture in opened:
            for sock in capture.sockets:
                owned.enter_context(sock)
                attach_filter(sock, capture.program)
        yield opened


@contextmanager
def listeners(bind: str) -> Iterator[list[socket.socket]]:
    listen = Listen("test", Endpoint.parse(bind), Mode.SOCKS5, dual_stack=True)
    with ExitStack() as owned:
        yield [owned.enter_context(sock) for sock in open_group(listen, shard=SHARD, keepalive=Keepalive())]


def seen_by(capture: Capture) -> list[Syn]:
    found = []
    for sock in capture.sockets:
        while (packet := read(sock, SNAPSHOT_BYTES)) is not None:
            syn = parse(packet)
            assert syn is not None
            found.append(syn)
    return found


def accepted_by(listener: socket.socket) -> list[Syn]:
    """Take what waits, each by its 4-tuple; every connection stands before this is called."""
    found = []
    while select.select([listener], [], [], 0)[0]:
        connection, client = listener.accept()
        with connection:
            found.append(Syn(plain(client), plain(connection.getsockname())))
    return found


def plain(address: tuple[str, int]) -> Address:
    return address[0].removeprefix(_MAPPED), address[1]


@needs_root
@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_whoever_accepts_a_connection_saw_its_syn(host: str) -> None:
    with listeners("[::]:0") as group, ExitStack() as dialled:
        port = group[0].getsockname()[1]
        with captures(Target(ANY_IPV4, port), Target(ANY_IPV6, port)) as opened:
            for _ in range(CONNECTIONS):
                dialled.enter_context(socket.create_connection((host, port), timeout=DEADLINE_S))
            seen = [seen_by(capture) for capture in opened]
        accepted = [accepted_by(listener) for listener in group]
    assert sum(map(len, seen)) == CONNECTIONS
    assert [sorted(each) for each in seen] == [sorted(each) for each in accepted]
    assert all(SHARD.slot_of(*map(endpoint, syn)) == slot for slot, syns in enumerate(seen) for syn in syns)
    assert all(seen), "a worker without connections shows nothing"


def endpoint(address: Address) -> Endpoint:
    return Endpoint(*address)


@needs_root
@pytest.mark.usefixtures("network")
def test_only_what_goes_to_a_target_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as wanted, socket.create_server(("127.0.0.1", 0)) as other:
        port = wanted.getsockname()[1]
        with captures(Target(ip_network("127.0.0.1"), port)) as opened:
            for server in (other, wanted, other):
                socket.create_connection(server.getsockname(), timeout=DEADLINE_S).close()
            seen = [syn for capture in opened for syn in seen_by(capture)]
    assert [syn.local for syn in seen] == [("127.0.0.1", port)]


@needs_root
@pytest.mark.usefixtures("network")
@pytest.mark.parametrize(
    ("targets", "sockets"),
    [([Target(ANY_IPV4, 1)], 1), ([Target(ANY_IPV6, 1)], 1), ([Target(ANY_IPV6, 1), Target(ANY_IPV4, 2)], 2)],
)
def test_a_version_that_nobody_wants_has_no_socket(targets: list[Target], sockets: int) -> None:
    with captures(*targets) as opened:
        assert [len(capture.sockets) for capture in opened] == [sockets] * SHARD.slots


@needs_root
@pytest.mark.usefixtures("network")
def test_too_many_targets_are_refused_at_once() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(PacketSocketError, match=r"cannot attach a filter of \d{4,} instructions"):
        open_captures([Target(IPv4Network(number), 443) for number in range(1000)], shard=SHARD)
    assert os.listdir("/proc/self/fd") == before


@needs_root
@pytest.mark.usefixtures("network")
def test_a_failure_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr("workers.syn_sockets.NOTHING", b"\xff" * 8)
    with pytest.raises(PacketSocketError, match="EINVAL"):
        open_captures([Target(ANY_IPV4, 1), Target(ANY_IPV6, 1)], shard=SHARD)
    assert os.listdir("/proc/self/fd") == before

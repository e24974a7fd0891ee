"""Listening groups against the real kernel: who accepts, what is inherited, what is refused."""

import errno
import os
import re
import resource
import select
import signal
import socket
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pools.net import sockopts
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from pools.net.keepalive import Keepalive
from pools.net.transport import Transport, is_mptcp, mptcp_lack, open_stream
from tests.bench.processes import free_ports
from workers import listener
from workers.listener import change_options, open_group
from workers.settings import Listen, Mode
from workers.shard import ShardHash

KEEPALIVE = Keepalive(idle=44, interval=9, probes=4, user_timeout=33)
CONGESTION = "reno"  # the one that every kernel has built in
NOBODY = 65534
IP_TRANSPARENT = 19  # linux/in.h
SEED = 0xC0FFEE
BATCH = 500
DEADLINE_S = 30


def open_test_group(
    bind: str = "127.0.0.1:0", *, slots: int = 4, mode: Mode = Mode.SOCKS5, **more: Any
) -> list[socket.socket]:
    listen = Listen("test", Endpoint.parse(bind), mode, **more)
    return open_group(listen, shard=ShardHash(SEED, slots), keepalive=KEEPALIVE)


@contextmanager
def closing(group: list[socket.socket]) -> Iterator[list[socket.socket]]:
    with ExitStack() as owned:
        yield [owned.enter_context(sock) for sock in group]


def port_of(group: list[socket.socket]) -> int:
    (port,) = {int(sock.getsockname()[1]) for sock in group}
    return port


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def dial(source: str, destination: Endpoint) -> socket.socket:
    sock = socket.socket(Endpoint(source, 0).family)
    sock.setblocking(False)
    sockopts.bind_address_no_port(sock)
    sock.bind((source, 0))
    assert sock.connect_ex((destination.host, destination.port)) in (0, errno.EINPROGRESS)
    return sock


def accept_from(group: list[socket.socket], count: int) -> Iterator[tuple[int, socket.socket]]:
    """Accept `count` connections, each with the slot that it arrived at."""
    slots = {sock.fileno(): slot for slot, sock in enumerate(group)}
    poll = select.poll()
    for sock in group:
        poll.register(sock, select.POLLIN)
    while count > 0:
        ready = poll.poll(DEADLINE_S * 1000)
        assert ready, f"{count} connections never arrived"
        for descriptor, _ in ready:
            accepted, _ = group[slots[descriptor]].accept()
            count -= 1
            yield slots[descriptor], accepted


def predicted(shard: ShardHash, accepted: socket.socket) -> int:
    return shard.slot_of(Endpoint(*accepted.getpeername()[:2]), Endpoint(*accepted.getsockname()[:2]))


def misses_and_counts(
    group: list[socket.socket], shard: ShardHash, routes: Iterable[tuple[str, Endpoint]]
) -> tuple[int, Counter[int]]:
    """Dial every route at once; count the connections that arrived elsewhere than predicted, and those per slot."""
    dialled = [dial(source, destination) for source, destination in routes]
    misses, counts = 0, Counter[int]()
    for slot, accepted in accept_from(group, len(dialled)):
        misses += predicted(shard, accepted) != slot
        counts[slot] += 1
        accepted.close()  # a reset, by inheritance: no TIME_WAIT is left
    for sock in dialled:
        sock.close()
    return misses, counts


def test_ten_thousand_connections_of_both_families_arrive_where_python_says() -> None:
    shard = ShardHash(SEED, 4)
    total = Counter[int]()
    with closing(open_test_group("[::]:0", dual_stack=True)) as group:
        port = port_of(group)
        routes = [("::1", Endpoint("::1", port))]
        routes += [(f"127.0.1.{host}", Endpoint(f"127.0.0.{host}", port)) for host in (1, 2, 3)]
        for _ in range(10_000 // BATCH):
            misses, counts = misses_and_counts(group, shard, routes * (BATCH // len(routes)))
            assert misses == 0
            total += counts
    assert total.total() == 10_000
    assert all(2_200 < total[slot] < 2_800 for slot in range(4))  # 2,500 each, within 7 standard deviations


@pytest.mark.parametrize(("bind", "source"), [("127.0.0.1:0", "127.0.0.9"), ("[::1]:0", "::1")])
@pytest.mark.parametrize("slots", [1, 3, 64])
def test_any_number_of_slots_is_served_in_order(bind: str, source: str, slots: int) -> None:
    with closing(open_test_group(bind, slots=slots)) as group:
        routes = [(source, Endpoint(Endpoint.parse(bind).host, port_of(group)))] * BATCH
        misses, counts = misses_and_counts(group, ShardHash(SEED, slots), routes)
    assert misses == 0
    assert len(counts) > slots * 0.9


@pytest.mark.parametrize(("bind", "host"), [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")])
def test_accepted_sockets_inherit_what_the_listener_was_given(bind: str, host: str) -> None:
    with (
        closing(open_test_group(bind, dual_stack=bind == "[::]:0", congestion=CONGESTION)) as group,
        dial(host, Endpoint(host, port_of(group))),
    ):
        ((_, accepted),) = accept_from(group, 1)
    with accepted:
        tcp = socket.IPPROTO_TCP
        assert accepted.getsockopt(tcp, socket.TCP_NODELAY) == 1
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert accepted.getsockopt(tcp, socket.TCP_KEEPIDLE) == KEEPALIVE.idle
        assert accepted.getsockopt(tcp, socket.TCP_KEEPINTVL) == KEEPALIVE.interval
        assert accepted.getsockopt(tcp, socket.TCP_KEEPCNT) == KEEPALIVE.probes
        assert accepted.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == KEEPALIVE.user_timeout * 1000
        assert accepted.getsockopt(tcp, socket.TCP_CONGESTION, 16).rstrip(b"\0") == CONGESTION.encode()
        assert struct.unpack("ii", accepted.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 0)


def test_the_sockets_are_non_blocking_and_close_on_exec() -> None:
    with closing(open_test_group()) as group:
        assert not any(sock.getblocking() for sock in group)
        assert not any(sock.get_inheritable() for sock in group)


def test_no_congestion_control_asked_for_leaves_the_systems() -> None:
    system = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_bytes().strip()
    with closing(open_test_group()) as group:
        assert group[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == system


def test_what_a_listener_with_a_window_accepts_begins_with_buffers_for_it() -> None:
    window_bytes = 100_000  # any user may have that
    listen = Listen("overlay", Endpoint("127.0.0.1", 0), Mode.OVERLAY, window_bytes=window_bytes)
    with (
        closing(open_group(listen, shard=ShardHash(SEED, 1), keepalive=KEEPALIVE)) as group,
        dial("127.0.0.1", Endpoint("127.0.0.1", port_of(group))),
    ):
        ((_, accepted),) = accept_from(group, 1)
    with accepted:
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            assert accepted.getsockopt(socket.SOL_SOCKET, buffer) >= 2 * window_bytes


def test_the_clients_of_a_killed_worker_see_a_reset() -> None:
    with (
        closing(open_test_group(slots=1)) as group,
        dial("127.0.0.1", Endpoint("127.0.0.1", port_of(group))) as dialled,
    ):
        accepted_read, accepted_write = os.pipe()
        worker = os.fork()
        if worker == 0:
            try:
                ((_, _accepted),) = accept_from(group, 1)
                os.write(accepted_write, b"!")
                signal.pause()
            finally:
                os._exit(1)
        assert os.read(accepted_read, 1) == b"!"
        os.close(accepted_read)
        os.close(accepted_write)
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        dialled.settimeout(DEADLINE_S)
        with pytest.raises(ConnectionResetError):
            dialled.recv(1)


@pytest.mark.parametrize(
    ("first", "second"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("[::1]", "[::1]")]
)
def test_a_second_group_on_the_port_is_refused(first: str, second: str) -> None:
    with closing(open_test_group(f"{first}:0")) as group:
        before = descriptors()
        port = port_of(group)
        where = re.escape(f"listener 'test' on {second}:{port}: ")
        with pytest.raises(StartError, match=rf"^{where}cannot bind: EADDRINUSE \(another"):
            open_test_group(f"{second}:{port}")
        assert descriptors() == before


def test_a_dual_stack_listener_minds_ipv4_listeners() -> None:
    with closing(open_test_group("127.0.0.1:0")) as group:
        bind = f"[::]:{port_of(group)}"
        with pytest.raises(StartError, match="EADDRINUSE"):
            open_test_group(bind, dual_stack=True)
        with closing(open_test_group(bind, dual_stack=False)) as other:
            assert port_of(other) == port_of(group)


def test_a_listener_without_reuseport_is_in_the_way_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(StartError, match="EADDRINUSE"):
            open_test_group(bind)


def test_connections_in_time_wait_do_not_stop_a_restart() -> None:
    (port,) = free_ports(1)
    with closing(open_test_group(f"127.0.0.1:{port}")) as group:
        dialled = dial("127.0.0.1", Endpoint("127.0.0.1", port))
        ((_, accepted),) = accept_from(group, 1)
        sockopts.linger_off(accepted)
        accepted.close()
        dialled.settimeout(DEADLINE_S)
        assert dialled.recv(1) == b""
        dialled.close()
    with closing(open_test_group(f"127.0.0.1:{port}")) as again:
        assert port_of(again) == port


def test_an_address_of_another_host_is_refused() -> None:
    with pytest.raises(StartError, match=r"on 192\.0\.2\.1:4000: cannot bind: EADDRNOTAVAIL \(no interface"):
        open_test_group("192.0.2.1:4000")


def test_a_congestion_control_that_is_not_there_is_refused_and_nothing_stays_open() -> None:
    before = descriptors()
    with pytest.raises(StartError, match="listener 'test' on .*cannot set TCP_CONGESTION to 'no-such'"):
        open_test_group("127.0.0.1:0", congestion="no-such")
    assert descriptors() == before


def test_a_change_that_cannot_be_looked_up_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listen = Listen("test", Endpoint("127.0.0.1", 0), Mode.SOCKS5)
    monkeypatch.setattr(listener, "_SYSTEMS_CONGESTION", tmp_path / "not there, or no descriptor left to read it by")
    with (
        closing(open_test_group(slots=1)) as group,
        pytest.raises(StartError, match="listener 'test' on .*No such file"),
    ):
        change_options(group, listen, KEEPALIVE)


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as lowest_free:
        limit = lowest_free.fileno() + 4
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_descriptors_that_run_out_half_way_leak_nothing(few_descriptors: None) -> None:
    before = descriptors()
    with pytest.raises(StartError, match="cannot open a TCP socket: EMFILE .*LimitNOFILE"):
        open_test_group("127.0.0.1:0", slots=64)
    assert descriptors() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: takes addresses of others")
@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0"])
def test_a_tproxy_listener_takes_connections_to_any_address(bind: str) -> None:
    with closing(open_test_group(bind, mode=Mode.TPROXY)) as group:
        assert {sock.getsockopt(socket.IPPROTO_IP, IP_TRANSPARENT) for sock in group} == {1}
    with closing(open_test_group(bind)) as group:
        assert {sock.getsockopt(socket.IPPROTO_IP, IP_TRANSPARENT) for sock in group} == {0}


def refusal_to_nobody(bind: str, **more: Any) -> str:
    """Give why a group cannot be opened by a user without rights."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            open_test_group(bind, **more)
        except StartError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as answer:
        message = answer.read().decode()
    os.waitpid(child, 0)
    return message


@pytest.mark.parametrize("more", [{"mode": Mode.TPROXY}, {"preserve_source": True}])
def test_a_listener_for_addresses_of_others_says_which_right_it_needs(more: dict[str, Any]) -> None:
    message = refusal_to_nobody("127.0.0.1:0", **more)
    assert message.startswith("listener 'test' on 127.0.0.1:0: cannot set IP_TRANSPARENT")
    assert "it needs CAP_NET_RAW or CAP_NET_ADMIN" in message


def test_a_port_that_needs_a_right_says_which() -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii")) == 0:
        pytest.skip("net.ipv4.ip_unprivileged_port_start is 0: every port is free for all here")
    message = refusal_to_nobody("127.0.0.1:1")
    assert message.startswith("listener 'test' on 127.0.0.1:1: cannot bind: EACCES")
    assert "CAP_NET_BIND_SERVICE" in message


@pytest.mark.skipif(bool(mptcp_lack()), reason=f"this kernel has no MPTCP: {mptcp_lack()}")
def test_a_group_for_mptcp_takes_both_and_each_of_its_sockets_gets_some() -> None:
    listen = Listen("test", Endpoint("127.0.0.1", 0), Mode.OVERLAY, transport=Transport.MPTCP)
    with closing(open_group(listen, shard=ShardHash(SEED, 2), keepalive=KEEPALIVE)) as group, ExitStack() as held:
        for transport in (Transport.MPTCP, Transport.TCP):
            for _ in range(32):
                client = held.enter_context(open_stream(socket.socket, socket.AF_INET, transport))
                client.setblocking(True)
                client.connect(group[0].getsockname())
        accepted = {sock: held_by(sock, held) for sock in group}
        assert min(map(len, accepted.values())) > 0
        every = [sock for sockets in accepted.values() for sock in sockets]
        assert Counter(is_mptcp(sock) for sock in every) == {True: 32, False: 32}
        for sock in every:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE.idle
            assert struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 0)


def held_by(listener: socket.socket, held: ExitStack) -> list[socket.socket]:
    """Accept all that wait."""
    found = []
    while select.select([listener], [], [], 0)[0]:
        found.append(held.enter_context(listener.accept()[0]))
    return found

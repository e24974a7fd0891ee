import errno
import os
import select
import socket
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import pytest

from gateway.config import configuration
from gateway.sockets.holdings import Holdings
from gateway.sockets.inherited import GroupKey, Inherited, bound_address, key_of
from pools.net import sockopts
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from pools.net.keepalive import Keepalive
from pools.net.listening import NothingToAccept, accept
from pools.net.packet_socket import PacketSocketError
from pools.net.transport import Transport, mptcp_lack
from tests.lonely_network import lonely_network, needs_root
from workers import bpf
from workers.settings import WorkerSettings

ANY_PORT = Endpoint("127.0.0.1", 0)
SO_DETACH_FILTER = 27  # asm-generic/socket.h


def settings_for(*binds: Endpoint) -> WorkerSettings:
    settings = configuration.default()
    listens = tuple(replace(settings.listens[0], name=f"at {bind}", bind=bind) for bind in binds)
    return replace(settings, listens=listens).for_workers(3, 7)


def early(*, dual_stack: bool = False) -> WorkerSettings:
    settings = settings_for(ANY_PORT)
    bind = Endpoint("::", 0) if dual_stack else ANY_PORT
    return replace(settings, listens=(replace(settings.listens[0], bind=bind, dual_stack=dual_stack, early_syn=True),))


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_each_worker_gets_one_socket_of_each_listener_in_order() -> None:
    holdings = Holdings.open(settings_for(ANY_PORT, ANY_PORT), admin=ANY_PORT)
    first, second = (bound_address(group[0]) for group in holdings.groups)
    for slot in range(3):
        assert [bound_address(sock) for sock in holdings.of_worker(slot)] == [first, second]
    assert holdings.admin is not None
    assert bound_address(holdings.admin) not in (first, second)
    holdings.close()


def test_child_closes_what_is_not_its_own() -> None:
    holdings = Holdings.open(settings_for(ANY_PORT), admin=ANY_PORT)
    before, own = open_descriptors(), holdings.of_worker(1)
    holdings.close_all_but(own)
    assert open_descriptors() == before - 3  # two workers' and the admin's
    assert own[0].fileno() >= 0
    holdings.close()


@pytest.mark.parametrize("admin", [False, True])
def test_address_that_is_taken_leaves_nothing_open(*, admin: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = Endpoint("127.0.0.1", taken.getsockname()[1])
        before = open_descriptors()
        with pytest.raises(StartError, match="EADDRINUSE"):
            Holdings.open(settings_for(ANY_PORT, *([] if admin else [bind])), admin=bind if admin else None)
        assert open_descriptors() == before


@needs_root
def test_each_worker_captures_for_the_listeners_that_begin_early() -> None:
    with lonely_network():
        holdings = Holdings.open(early(dual_stack=True), admin=None)
        captures = [holdings.capture_of_worker(slot) for slot in range(3)]
        assert [len(capture.sockets) for capture in captures if capture is not None] == [2, 2, 2]
        assert len({capture.program for capture in captures if capture is not None}) == 1
        assert holdings.capture_lack == ""
        holdings.close_groups()
        assert all(sock.fileno() < 0 for capture in captures if capture is not None for sock in capture.sockets)


@needs_root
def test_a_child_closes_the_captures_of_others() -> None:
    with lonely_network():
        holdings = Holdings.open(early(), admin=None)
        own = holdings.capture_of_worker(1)
        assert own is not None
        before = open_descriptors()
        holdings.close_all_but((*holdings.of_worker(1), *own.sockets))
        assert open_descriptors() == before - 4  # of two others, a listener and a capture each
        holdings.close()


def test_nobody_captures_where_no_listener_begins_early() -> None:
    holdings = Holdings.open(settings_for(ANY_PORT), admin=None)
    assert (holdings.capture_of_worker(0), holdings.capture_lack) == (None, "")
    holdings.close()


def test_where_capturing_is_refused_all_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PacketSocketError("capture packets", errno.EPERM)

    monkeypatch.setattr("gateway.sockets.holdings_change.open_captures", refuse)
    holdings = Holdings.open(early(), admin=ANY_PORT)
    assert holdings.capture_of_worker(0) is None
    assert "CAP_NET_RAW" in holdings.capture_lack
    assert len(holdings.of_worker(0)) == 1
    holdings.close()


def keys_and_sockets(holdings: Holdings) -> tuple[list[GroupKey], list[list[int]]]:
    return [key_of(group[0]) for group in holdings.groups], [[s.fileno() for s in group] for group in holdings.groups]


def named(*names: str, workers: int = 2, **changed: Any) -> WorkerSettings:
    settings = configuration.default()
    listens = tuple(replace(settings.listens[0], name=name, bind=ANY_PORT, **changed) for name in names)
    return replace(settings, listens=listens).for_workers(workers, 7)


def accepted(sock: socket.socket) -> list[sockopts.Socket]:
    """Take all that waits."""
    found = []
    with suppress(NothingToAccept):
        while True:
            found.append(accept(sock)[0])
    return found


def spread(holdings: Holdings, clients: int = 40) -> list[int]:
    """Connect so often to the first listener, and tell how many came to each worker."""
    group = holdings.groups[0]
    address = group[0].getsockname()[:2]
    with ExitStack() as owned:
        for _ in range(clients):
            owned.enter_context(socket.create_connection(address, timeout=30))
        found = [accepted(sock) for sock in group]
        for sock in [each for one in found for each in one]:
            sock.close()
    return [len(one) for one in found]


def change(holdings: Holdings, settings: WorkerSettings, *, admin: Endpoint | None = None) -> None:
    holdings.take(holdings.prepare(settings, admin=admin))
    holdings.settle()
    holdings.finish()


def test_what_stays_keeps_its_sockets_and_what_goes_is_ended() -> None:
    holdings = Holdings.open(named("a", "b"), admin=ANY_PORT)
    (first, _), (descriptors, _) = keys_and_sockets(holdings)
    admin, gone = holdings.admin, holdings.groups[1][0].getsockname()
    change(holdings, named("c", "a"), admin=ANY_PORT)
    (_, second), (_, kept) = keys_and_sockets(holdings)
    assert (second, kept, holdings.admin) == (first, descriptors, admin)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(gone)
    holdings.close()


def test_a_change_that_cannot_be_leaves_all_as_it_was() -> None:
    holdings = Holdings.open(named("a"), admin=None)
    before, open_before = keys_and_sockets(holdings), open_descriptors()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = named("a", "b", workers=3)
        bind = Endpoint("127.0.0.1", taken.getsockname()[1])
        settings = replace(settings, listens=(settings.listens[0], replace(settings.listens[1], bind=bind)))
        with pytest.raises(StartError, match="EADDRINUSE"):
            holdings.prepare(settings, admin=ANY_PORT)
    with pytest.raises(StartError, match="TCP_CONGESTION"):
        holdings.prepare(named("b", "a", congestion="nobody_knows"), admin=None)
    assert (keys_and_sockets(holdings), open_descriptors()) == (before, open_before)
    assert sum(spread(holdings)) == 40
    holdings.close()


def test_an_address_that_overlaps_one_of_ours_is_refused_with_the_way_out() -> None:
    holdings = Holdings.open(named("a"), admin=None)
    everywhere = Endpoint("0.0.0.0", holdings.groups[0][0].getsockname()[1])
    settings = named("a")
    settings = replace(settings, listens=(replace(settings.listens[0], name="b", bind=everywhere),))
    with pytest.raises(StartError, match="EADDRINUSE.*take out with one reload what this gateway has there"):
        holdings.prepare(settings, admin=None)
    holdings.close()


def test_workers_come_and_go_and_each_connection_reaches_the_one_it_is_dealt_to() -> None:
    holdings = Holdings.open(named("a", workers=1), admin=None)
    assert spread(holdings) == [40]
    for workers in (3, 2, 4, 1, 2):
        change(holdings, named("a", workers=workers))
        found = spread(holdings)
        assert (len(found), sum(found)) == (workers, 40)
        assert all(found), found  # one that is dealt none would be a place in the group that the program does not mean
    holdings.close()


@pytest.mark.skipif(bool(mptcp_lack()), reason="needs MPTCP: sysctl net.mptcp.enabled=1")
def test_listeners_of_mptcp_come_grow_shrink_and_go_too() -> None:
    holdings = Holdings.open(named("a", workers=1, transport=Transport.MPTCP), admin=None)
    for workers in (3, 1, 2):
        change(holdings, named("a", workers=workers, transport=Transport.MPTCP))
        found = spread(holdings)
        assert (len(found), sum(found)) == (workers, 40)
    gone = holdings.groups[0][0].getsockname()
    change(holdings, named("b"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(gone)
    holdings.close()


def test_nobody_is_dealt_to_a_newcomer_before_all_is_settled() -> None:
    holdings = Holdings.open(named("a", workers=1), admin=None)
    holdings.take(holdings.prepare(named("a", workers=2), admin=None))
    assert spread(holdings) == [40, 0]
    holdings.settle()
    assert min(spread(holdings)) > 0
    holdings.close()


def test_a_copy_that_somebody_still_has_takes_no_place_in_the_group() -> None:
    holdings = Holdings.open(named("a", workers=2), admin=None)
    with holdings.groups[0][1].dup():
        change(holdings, named("a", workers=1))
        change(holdings, named("a", workers=2))
        assert min(spread(holdings)) > 0
    holdings.close()


def test_options_are_those_of_the_new_configuration_and_can_be_given_back() -> None:
    holdings = Holdings.open(named("a"), admin=None)
    usual = holdings.groups[0][0].getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    settings = replace(named("a", congestion="reno"), keepalive=Keepalive(idle=11, interval=12, probes=13))
    change(holdings, settings)
    with socket.create_connection(holdings.groups[0][0].getsockname()[:2]):
        (taken,) = [sock for each in holdings.groups[0] for sock in accepted(each)]
    assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).startswith(b"reno\0")
    assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 11
    change(holdings, named("a"))
    assert holdings.groups[0][0].getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16) == usual
    taken.close()
    holdings.close()


@pytest.mark.parametrize("is_removed", [True, False])
def test_a_handshake_under_way_ends_at_the_socket_where_it_began(*, is_removed: bool) -> None:
    """Of a listener that goes, and of one whose connections are dealt anew: the client's last ACK comes afterwards."""
    holdings = Holdings.open(named("a", workers=1), admin=None)
    (sock,) = holdings.groups[0]
    with socket.socket() as client:
        client.setblocking(False)
        sockopts.attach_filter(client, bpf.give(0))  # deaf to the answer, which comes again after a second
        assert client.connect_ex(sock.getsockname()) == errno.EINPROGRESS
        holdings.take(holdings.prepare(named("b" if is_removed else "a", workers=8), admin=None))
        holdings.settle()
        client.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        assert select.select([sock], [], [], 30)[0]
        assert holdings.awaited == (1 if is_removed else 0)
        (taken,) = accepted(sock)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    taken.close()
    holdings.finish()
    holdings.close()


def test_a_newcomer_to_a_listener_that_goes_is_refused_only_once_it_is_gone() -> None:
    holdings = Holdings.open(named("a", workers=1), admin=None)
    (sock,) = holdings.groups[0]
    with socket.socket() as client:
        holdings.take(holdings.prepare(named("b", workers=1), admin=None))
        client.setblocking(False)
        assert client.connect_ex(sock.getsockname()) == errno.EINPROGRESS
        assert not accepted(sock)
        holdings.finish()
        assert select.select([], [client], [], 30)[1]
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
    holdings.close()


def test_a_gateway_that_drains_takes_those_that_wait_and_no_others() -> None:
    holdings = Holdings.open(named("a", workers=1), admin=ANY_PORT)
    (sock,) = holdings.groups[0]
    assert holdings.admin is not None
    with socket.create_connection(sock.getsockname()), socket.socket() as late:
        holdings.deafen()
        late.setblocking(False)
        assert late.connect_ex(sock.getsockname()) == errno.EINPROGRESS
        (taken,) = accepted(sock)
        taken.close()
        socket.create_connection(holdings.admin.getsockname()).close()
        holdings.close_groups()
        assert select.select([], [late], [], 30)[1]
    holdings.close()


def test_a_child_in_the_midst_of_a_change_closes_what_goes_and_what_comes() -> None:
    holdings = Holdings.open(named("a", "b", workers=2), admin=ANY_PORT)
    before = open_descriptors()
    holdings.take(holdings.prepare(named("b", "c", workers=1), admin=None))
    holdings.close_all_but(holdings.of_worker(0))
    assert open_descriptors() == before - 5 + 2
    holdings.close()


@needs_root
def test_captures_are_a_fresh_set_beside_the_one_in_use() -> None:
    with lonely_network():
        holdings = Holdings.open(early(), admin=None)
        old = [sock for capture in holdings.captures for sock in capture.sockets]
        holdings.take(holdings.prepare(replace(early(), workers=2), admin=None))
        assert len(holdings.captures) == 2
        assert all(sock.fileno() >= 0 for sock in old)
        holdings.finish()
        assert all(sock.fileno() < 0 for sock in old)
        holdings.close()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_predecessors_sockets_go_on_and_those_that_nobody_wants_serve_others(workers: int) -> None:
    old = Holdings.open(named("a", "b"), admin=ANY_PORT)
    copies = {key_of(group[0]): [sock.dup() for sock in group] for group in old.groups}
    assert old.admin is not None
    inherited = Inherited(copies, admin={bound_address(old.admin): old.admin.dup()}, shard_seed=7)
    new = Holdings.open(named("a", workers=workers), admin=ANY_PORT, inherited=inherited)
    assert keys_and_sockets(new)[0] == keys_and_sockets(old)[0][:1]
    assert new.admin is not None
    assert bound_address(new.admin) == bound_address(old.admin)
    new.settle()
    new.finish()
    found = spread(new)
    assert (len(found), sum(found), min(found) > 0) == (workers, 40, True)
    socket.create_connection(old.groups[1][0].getsockname()).close()
    new.close()
    old.close()
    assert not inherited.groups

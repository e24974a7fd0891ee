import errno
import os
import socket
from dataclasses import replace

import pytest

from gateway import config
from gateway.holdings import Holdings, bound_address
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from pools.net.packet_socket import PacketSocketError
from tests.lonely_network import lonely_network, needs_root
from workers.settings import WorkerSettings

ANY_PORT = Endpoint("127.0.0.1", 0)


def settings_for(*binds: Endpoint) -> WorkerSettings:
    settings = config.default()
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

    monkeypatch.setattr("gateway.holdings.open_captures", refuse)
    holdings = Holdings.open(early(), admin=ANY_PORT)
    assert holdings.capture_of_worker(0) is None
    assert "CAP_NET_RAW" in holdings.capture_lack
    assert len(holdings.of_worker(0)) == 1
    holdings.close()

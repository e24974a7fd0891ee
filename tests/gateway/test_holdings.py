import os
import socket
from dataclasses import replace

import pytest

from gateway import config
from gateway.holdings import Holdings, bound_address
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from workers.settings import WorkerSettings

ANY_PORT = Endpoint("127.0.0.1", 0)


def settings_for(*binds: Endpoint) -> WorkerSettings:
    settings = config.default()
    listens = tuple(replace(settings.listens[0], name=f"at {bind}", bind=bind) for bind in binds)
    return replace(settings, listens=listens).for_workers(3, 7)


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

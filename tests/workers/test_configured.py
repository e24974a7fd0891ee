"""A CONFIGURE becomes a post, or nothing."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from pools.net.endpoint import Endpoint
from pools.net.errors import ProtocolError
from pools.net.fd_passing import close_all, socket_pair
from pools.net.orders import Order, OrderMessage
from pools.net.sealed import seal
from tests.workers.forked_worker import forward
from tests.workers.world import empty_row
from workers.configured import configured
from workers.post import Post
from workers.settings import WorkerSettings
from workers.source_limit import SourceTable
from workers.syn_filter import Target, program

NEW = WorkerSettings((forward(Endpoint("192.0.2.1", 443), early_syn=True, number=3),), 2, 1)


@pytest.fixture
def post() -> Iterator[Post]:
    ours, theirs = socket_pair()
    table = SourceTable.create(room=1, seed=1)
    yield Post(0, None, WorkerSettings((), 1, 1), (), empty_row(), table, 7, ours)
    for each in (ours, theirs, table):
        each.close()


def copy_of(sock: socket.socket) -> int:
    return os.dup(sock.fileno())


def test_settings_and_sockets_are_the_messages_and_the_rest_stays(post: Post) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as capture:
        message = OrderMessage(Order.CONFIGURE, listeners=1, captures=1)
        made = configured(post, message, [seal(NEW), copy_of(listener), copy_of(capture)])
        (socket_of_ours,) = made.listeners
        assert made.capture is not None
        (packets,) = made.capture.sockets
        try:
            assert made.settings == NEW
            assert (made.slot, made.row, made.sources, made.origin) == (post.slot, post.row, post.sources, 7)
            assert socket_of_ours.getsockname() == listener.getsockname()
            assert socket_of_ours.getblocking() is packets.getblocking() is False
            target = Target(IPv4Network("127.0.0.1"), listener.getsockname()[1])
            assert (made.capture.program, made.capture.own_ports) == (program([target]), frozenset())
        finally:
            socket_of_ours.close()
            packets.close()


def test_without_packet_sockets_nothing_is_captured(post: Post) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = configured(post, OrderMessage(Order.CONFIGURE, listeners=1), [seal(NEW), copy_of(listener)])
        assert made.capture is None
        made.listeners[0].close()


@pytest.mark.parametrize(
    ("listeners", "captures", "carried"), [(1, 0, 0), (1, 0, 2), (0, 1, 0), (1, 1, 1), (2, 0, 2), (0, 0, 0)]
)
def test_descriptors_that_are_not_as_many_as_they_should_be_are_refused(
    post: Post, listeners: int, captures: int, carried: int
) -> None:
    message = OrderMessage(Order.CONFIGURE, listeners=listeners, captures=captures)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        descriptors = [seal(NEW), *(copy_of(listener) for _ in range(carried))]
        with pytest.raises(ProtocolError, match="with CONFIGURE; found"):
            configured(post, message, descriptors)
        for descriptor in descriptors:
            try:
                close_all([descriptor])
            except OSError:  # it was closed once it had been read
                continue


def test_users_who_did_not_change_are_not_kept_twice(post: Post) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        message = OrderMessage(Order.CONFIGURE, listeners=1)
        for users in ({"ann": "one"}, {"ann": "one"}, {"ann": "two"}):
            before = post.settings
            told = replace(NEW, listens=(replace(NEW.listens[0], users=users),))
            post = configured(post, message, [seal(told), copy_of(listener)])
            post.listeners[0].close()
            assert post.settings == told
            is_same = bool(before.listens) and post.settings.listens[0].users is before.listens[0].users
            assert is_same == (bool(before.listens) and before.listens[0].users == users)
            assert (post.settings.egress is before.egress) == (before.egress == told.egress)

"""Dialling over loopback: every outcome, and nothing left open."""

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import gevent
import pytest

from pools.net.dial import dial
from pools.net.resolver import Address
from pools.net.stream import Stream, StreamFailed
from tests.floor import Floor, receive, rest_of, turn_until


def address_of(listener: socket.socket) -> Address:
    return Address(listener.family, listener.getsockname())


def free_address() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return address_of(listener)


@contextmanager
def silent_address() -> Iterator[Address]:
    """An address that answers no SYN: its listener's queue is full."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield address_of(listener)


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def test_a_connected_leg_has_its_options() -> None:
    with Floor() as floor, socket.create_server(("127.0.0.1", 0)) as listener:
        stream = dial(address_of(listener), readiness=floor.readiness, congestion="reno")
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"reno"
        stream.send_all(b"hello")
        assert receive(accepted, 5) == b"hello"
        stream.close()
        assert rest_of(accepted) == (b"", "reset")  # SO_LINGER{1,0}, until somebody ends the session in order
        accepted.close()


def test_ipv6() -> None:
    with Floor() as floor, socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        dial(address_of(listener), readiness=floor.readiness, congestion="").close()


@pytest.mark.parametrize(
    ("address", "number"),
    [
        (None, errno.ECONNREFUSED),
        (Address(socket.AF_INET, ("255.255.255.255", 9)), errno.ENETUNREACH),
    ],
    ids=["refused", "unreachable"],
)
def test_a_failure_says_the_kernels_reason_and_leaves_nothing_open(address: Address | None, number: int) -> None:
    with Floor() as floor:
        before = descriptors()
        with pytest.raises(StreamFailed) as caught:
            dial(address or free_address(), readiness=floor.readiness, congestion="")
        assert caught.value.errno in (number, errno.EACCES)  # broadcast is "permission denied" to some kernels
        assert descriptors() == before


def test_without_descriptors_it_fails_as_everything_else() -> None:
    with Floor() as floor:
        address = free_address()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(StreamFailed) as caught:
                dial(address, readiness=floor.readiness, congestion="")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert caught.value.errno == errno.EMFILE


def test_an_unknown_congestion_control_leaves_nothing_open() -> None:
    with Floor() as floor:
        before = descriptors()
        with pytest.raises(StreamFailed):
            dial(free_address(), readiness=floor.readiness, congestion="carrier-pigeon")
        assert descriptors() == before


def test_an_exception_thrown_in_leaves_nothing_open() -> None:
    with Floor() as floor, silent_address() as address:
        before = descriptors()
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
            dial(address, readiness=floor.readiness, congestion="")
        assert descriptors() == before


def test_a_dial_is_not_taken_for_connected_by_a_dead_legs_event() -> None:
    """In one batch a leg closes, the dial gets its descriptor, and the dead leg's own event comes."""
    with Floor() as floor, silent_address() as address:
        first, to_first = floor.leg()
        second, to_second = floor.leg()
        dialled: list[Stream | gevent.Timeout] = []
        used: list[int] = []

        def dial_away() -> None:
            try:
                with gevent.Timeout(0.1):
                    dialled.append(dial(address, readiness=floor.readiness, congestion=""))
            except gevent.Timeout as fired:
                dialled.append(fired)

        def replace() -> None:
            lowest = os.dup(0)  # everything below the leg's number is in use, so the dial gets that number
            held = [lowest]
            while held[-1] < second.fd:
                held.append(os.dup(0))
            used.append(second.fd)
            second.close()
            floor.greenlets.run(dial_away)
            for descriptor in held:
                os.close(descriptor)

        first.on_readable = replace
        to_first.send(b"x")
        to_second.shutdown(socket.SHUT_WR)
        turn_until(lambda: dialled)
        assert used
        assert isinstance(dialled[0], gevent.Timeout)
        first.close()

"""Binding and listening against the real kernel, and its refusals in our words."""

import errno
import os
import socket
import struct
from collections.abc import Iterator

import pytest

from pools.net import listening, sockopts
from pools.net.endpoint import Endpoint
from tests.bench.processes import free_ports

ANY = Endpoint("127.0.0.1", 0)
TO_THE_FIRST = struct.pack("=HBBI", 0x06, 0, 0, 0)  # ret #0


def sharing_socket(*, program: bytes = b"") -> socket.socket:
    sock = listening.stream_socket(socket.AF_INET)
    sockopts.reuse_address(sock)
    sockopts.reuse_port(sock)
    if program:
        sockopts.attach_reuseport_program(sock, program)
    return sock


@pytest.fixture
def taken() -> Iterator[Endpoint]:
    """Where somebody listens who would share."""
    with sharing_socket() as sock:
        address = listening.bind(sock, ANY)
        listening.listen(sock, backlog=1)
        yield address


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_bind_gives_the_port_that_the_kernel_chose(host: str) -> None:
    with listening.stream_socket(Endpoint(host, 0).family) as sock:
        address = listening.bind(sock, Endpoint(host, 0))
        assert address.host == host
        assert address.port == sock.getsockname()[1] > 0


def test_a_socket_is_non_blocking_and_close_on_exec() -> None:
    with listening.stream_socket(socket.AF_INET) as sock:
        assert not sock.getblocking()
        assert not sock.get_inheritable()


def test_a_listener_that_would_share_is_found(taken: Endpoint) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(listening.ListenError, match="cannot bind: EADDRINUSE") as caught:
        listening.refuse_if_taken(taken, dual_stack=False)
    assert caught.value.errno == errno.EADDRINUSE
    assert os.listdir("/proc/self/fd") == before


def test_dual_stack_decides_whether_ipv4_listeners_matter(taken: Endpoint) -> None:
    everywhere = Endpoint("::", taken.port)
    listening.refuse_if_taken(everywhere, dual_stack=False)
    with pytest.raises(listening.ListenError, match="EADDRINUSE"):
        listening.refuse_if_taken(everywhere, dual_stack=True)


def test_a_free_port_and_port_0_pass() -> None:
    (port,) = free_ports(1)
    free = Endpoint("127.0.0.1", port)
    listening.refuse_if_taken(free, dual_stack=False)
    listening.refuse_if_taken(ANY, dual_stack=False)


def test_a_socket_without_a_program_would_join(taken: Endpoint) -> None:
    with sharing_socket() as sock:
        assert listening.bind(sock, taken) == taken
        listening.listen(sock, backlog=1)


def test_a_socket_that_brings_its_program_cannot_join_in_bind(taken: Endpoint) -> None:
    with sharing_socket(program=TO_THE_FIRST) as sock, pytest.raises(listening.ListenError, match="EADDRINUSE"):
        listening.bind(sock, taken)


def test_of_two_that_start_at_once_only_the_first_to_listen_goes_on() -> None:
    with sharing_socket(program=TO_THE_FIRST) as first, sharing_socket(program=TO_THE_FIRST) as second:
        address = listening.bind(first, ANY)
        listening.bind(second, address)
        listening.listen(first, backlog=1)
        with pytest.raises(listening.ListenError, match="cannot listen: EADDRINUSE"):
            listening.listen(second, backlog=1)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "CAP_NET_BIND_SERVICE"), (errno.EMFILE, "LimitNOFILE"), (errno.ENOBUFS, "No buffer space")],
)
def test_a_refusal_says_what_to_do_or_what_the_kernel_says(number: int, words: str) -> None:
    message = str(listening.ListenError("bind", number))
    assert message.startswith(f"cannot bind: {errno.errorcode[number]} (")
    assert words in message


def test_who_waits_in_a_queue_is_seen_and_left_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not listening.has_waiting(listener)
        with socket.create_connection(listener.getsockname()):
            assert listening.has_waiting(listener)
            assert listening.has_waiting(listener)
            listener.accept()[0].close()
            assert not listening.has_waiting(listener)


def test_nobody_waits_where_another_process_has_shut_the_listener_down() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        listener.dup() as elsewhere,
        socket.create_connection(listener.getsockname()),
    ):
        elsewhere.shutdown(socket.SHUT_RD)
        assert not listening.has_waiting(listener)

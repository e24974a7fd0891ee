"""Each option is set on a real socket and read back from the kernel."""

import errno
import os
import select
import socket
import struct
from collections.abc import Iterator

import pytest

from pools.net import sockopts
from tests.floor import refusing_address, turn_until

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: takes addresses of others")
ACCEPT_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)  # ret #0
JUMP_NOWHERE = struct.pack("=HBBI", 0x05, 0, 0, 99)  # ja beyond the end


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as opened:
        yield opened


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dialled = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with dialled, accepted:
            yield dialled, accepted


def lingers(sock: socket.socket) -> tuple[int, int]:
    on, seconds = struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
    return on, seconds


def test_switches_are_on_afterwards(sock: socket.socket) -> None:
    sockopts.reuse_port(sock)
    sockopts.reuse_address(sock)
    sockopts.no_delay(sock)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_keepalive_sets_all_four(sock: socket.socket) -> None:
    sockopts.keepalive(sock, idle_s=45, interval_s=10, probes=3)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    numbers = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    assert [sock.getsockopt(socket.IPPROTO_TCP, number) for number in numbers] == [45, 10, 3]


def test_keepalive_refuses_a_number_out_of_range(sock: socket.socket) -> None:
    with pytest.raises(sockopts.OptionError, match=r"keepalive.*\(0, 10, 3\).*EINVAL"):
        sockopts.keepalive(sock, idle_s=0, interval_s=10, probes=3)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


@pytest.mark.parametrize(("timeout_s", "milliseconds"), [(60, 60_000), (0.25, 250), (0, 0)])
def test_user_timeout_is_given_in_seconds(sock: socket.socket, timeout_s: float, milliseconds: int) -> None:
    sockopts.user_timeout(sock, timeout_s)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == milliseconds


def test_user_timeout_refuses_a_negative_one(sock: socket.socket) -> None:
    with pytest.raises(sockopts.OptionError, match="TCP_USER_TIMEOUT to -1: EINVAL"):
        sockopts.user_timeout(sock, -1)


def test_linger_reset_and_off(sock: socket.socket) -> None:
    sockopts.linger_reset(sock)
    assert lingers(sock) == (1, 0)
    sockopts.linger_off(sock)
    assert lingers(sock) == (0, 0)


def test_linger_reset_shows_as_a_reset_and_linger_off_as_an_end(pair: tuple[socket.socket, socket.socket]) -> None:
    dialled, accepted = pair
    sockopts.linger_reset(accepted)
    accepted.close()
    with pytest.raises(ConnectionResetError):
        dialled.recv(1)


def test_linger_off_takes_the_reset_back(pair: tuple[socket.socket, socket.socket]) -> None:
    dialled, accepted = pair
    sockopts.linger_reset(accepted)
    sockopts.linger_off(accepted)
    accepted.close()
    assert dialled.recv(1) == b""


def test_dual_stack_takes_both_families_or_one() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        for on in (True, False):
            sockopts.dual_stack(sock, on)
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == (not on)


def test_dual_stack_needs_an_unbound_socket() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        with pytest.raises(sockopts.OptionError, match="IPV6_V6ONLY to False: EINVAL"):
            sockopts.dual_stack(sock, True)


def test_congestion_is_chosen_by_name(sock: socket.socket) -> None:
    sockopts.congestion(sock, "reno")  # the one that every kernel has built in
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"reno"


def test_congestion_names_what_the_kernel_lacks(sock: socket.socket) -> None:
    with pytest.raises(sockopts.OptionError, match="TCP_CONGESTION to 'no-such': E") as caught:
        sockopts.congestion(sock, "no-such")
    assert caught.value.errno in (errno.ENOENT, errno.EPERM)


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_bind_address_no_port_leaves_the_port_to_connect(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as sock:
        sockopts.bind_address_no_port(sock)
        sock.bind((host, 0))
        assert sock.getsockname()[:2] == (host, 0)


def test_a_reuseport_program_is_taken_before_bind(sock: socket.socket) -> None:
    sockopts.reuse_port(sock)
    sockopts.attach_reuseport_program(sock, ACCEPT_ALL)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    with socket.create_connection(sock.getsockname()) as dialled:
        accepted, source = sock.accept()
        accepted.close()
        assert source == dialled.getsockname()


def test_a_reuseport_program_that_jumps_out_of_itself_is_refused(sock: socket.socket) -> None:
    sockopts.reuse_port(sock)
    with pytest.raises(sockopts.OptionError, match="SO_ATTACH_REUSEPORT_CBPF to '1 instructions': EINVAL"):
        sockopts.attach_reuseport_program(sock, JUMP_NOWHERE)


def test_pending_error_is_taken_once(sock: socket.socket) -> None:
    sock.setblocking(False)
    with refusing_address() as address:
        number = sock.connect_ex(address)
        assert number in (errno.EINPROGRESS, errno.ECONNREFUSED)
        assert select.select([], [sock], [], 30)[1]
    if number == errno.EINPROGRESS:
        assert sockopts.pending_error(sock) == errno.ECONNREFUSED
    assert sockopts.pending_error(sock) == 0


def test_queue_lengths_count_what_a_slow_reader_leaves(pair: tuple[socket.socket, socket.socket]) -> None:
    dialled, accepted = pair
    assert sockopts.unacked_bytes(dialled.fileno()) == sockopts.unsent_bytes(dialled.fileno()) == 0
    dialled.setblocking(False)
    written = 0
    while True:
        try:
            written += dialled.send(bytes(1 << 16))
        except BlockingIOError:
            break
    turn_until(
        lambda: 0 < sockopts.unsent_bytes(dialled.fileno()) <= sockopts.unacked_bytes(dialled.fileno()) <= written
    )
    assert accepted.recv(1) == b"\0"


@needs_root
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")])
def test_a_transparent_socket_may_have_anybodys_address(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as sock:
        with pytest.raises(OSError, match="Cannot assign requested address"):
            sock.bind((host, 0))
        sockopts.transparent(sock)
        sock.bind((host, 0))
        assert sock.getsockname()[0] == host


def test_a_lacking_right_to_be_transparent_is_named() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            sockopts.transparent(socket.socket())
        except sockopts.OptionError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as answer:
        message = answer.read().decode()
    os.waitpid(child, 0)
    reason = "EPERM (Operation not permitted; it needs CAP_NET_RAW or CAP_NET_ADMIN)"
    assert message == f"cannot set IP_TRANSPARENT to True: {reason}"


def test_what_was_not_redirected_went_to_its_own_address_as_far_as_is_known(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    _, accepted = pair
    assert sockopts.original_destination(accepted, socket.AF_INET) in (None, accepted.getsockname())
    assert sockopts.original_destination(accepted, socket.AF_INET6) is None

"""TCP_INFO is read from real connections, and from structs as short as old kernels give them."""

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from pools.net.clock import monotonic_s
from pools.net.tcp_info import TcpInfo, rtt_and_retransmits, tcp_info

# Offset and struct letter of each field, as linux/tcp.h lays them out.
LAYOUT = {
    "unacked_segments": (24, "I"),
    "lost_segments": (32, "I"),
    "rtt_us": (68, "I"),
    "rtt_variation_us": (72, "I"),
    "snd_cwnd_segments": (80, "I"),
    "retransmits_total": (100, "I"),
    "bytes_acked": (120, "Q"),
    "bytes_received": (128, "Q"),
    "min_rtt_us": (148, "I"),
    "delivery_bytes_per_s": (160, "Q"),
    "snd_wnd_bytes": (228, "I"),
    "rcv_wnd_bytes": (232, "I"),
}
LINUX_4_9 = 192  # bytes, up to tcpi_sndbuf_limited
LINUX_3_10 = 104  # bytes, up to tcpi_total_retrans


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dialled = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with dialled, accepted:
            yield dialled, accepted


def full_struct() -> bytes:
    data = bytearray(b"\xee" * 256)
    for value, (offset, letter) in enumerate(LAYOUT.values(), start=1):
        struct.pack_into("=" + letter, data, offset, value)
    return bytes(data)


@pytest.mark.parametrize("length", [256, 236, 232, LINUX_4_9, LINUX_3_10])
def test_each_field_comes_from_its_offset_or_is_0_where_the_struct_ends(length: int) -> None:
    info = TcpInfo.parse(full_struct()[:length])
    for value, (name, (offset, _)) in enumerate(LAYOUT.items(), start=1):
        assert getattr(info, name) == (value if offset < length else 0), name


def test_a_connection_shows_what_went_through_it(pair: tuple[socket.socket, socket.socket]) -> None:
    dialled, accepted = pair
    dialled.sendall(b"x" * 1000)
    accepted.sendall(accepted.recv(1000, socket.MSG_WAITALL)[:300])
    dialled.recv(300, socket.MSG_WAITALL)
    info = tcp_info(dialled)
    assert info.bytes_acked in (1000, 1001)  # the SYN counts on some kernels
    assert info.bytes_received == 300
    assert info.rtt_us > 0
    assert info.snd_cwnd_segments > 0
    assert info.snd_wnd_bytes > 0


def test_unread_data_fills_the_advertised_window(pair: tuple[socket.socket, socket.socket]) -> None:
    dialled, _ = pair
    before = tcp_info(dialled).snd_wnd_bytes
    dialled.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            dialled.send(bytes(1 << 16))
    deadline_s = monotonic_s() + 30
    while tcp_info(dialled).bytes_acked <= before // 2:  # the kernel may deliver a moment later, on a busy machine
        assert monotonic_s() < deadline_s


def test_the_fast_path_agrees_with_the_whole(pair: tuple[socket.socket, socket.socket]) -> None:
    dialled, _ = pair
    info = tcp_info(dialled)
    assert rtt_and_retransmits(dialled) == (info.rtt_us, info.retransmits_total)


def test_a_socket_that_never_connected_has_no_round_trip() -> None:
    with socket.socket() as sock:
        assert rtt_and_retransmits(sock) == (0, 0)
        assert tcp_info(sock).bytes_acked == 0


def test_a_connection_that_was_reset_can_still_be_read(pair: tuple[socket.socket, socket.socket]) -> None:
    dialled, accepted = pair
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.close()
    with pytest.raises(ConnectionResetError):
        dialled.recv(1)
    assert rtt_and_retransmits(dialled)[0] >= 0


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_connection_of_which_the_kernel_tells_nothing_has_zeros(number: int) -> None:
    class Silent:
        def getsockopt(self, *_: int) -> bytes:
            raise OSError(number, "")

    silent: Any = Silent()
    assert tcp_info(silent) == TcpInfo.parse(b"")
    assert rtt_and_retransmits(silent) == (0, 0)


def test_any_other_refusal_is_an_error() -> None:
    class Closed:
        def getsockopt(self, *_: int) -> bytes:
            raise OSError(errno.EBADF, "Bad file descriptor")

    closed: Any = Closed()
    with pytest.raises(OSError, match="Bad file descriptor"):
        tcp_info(closed)

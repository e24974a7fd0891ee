"""What the kernel makes of it: read back from the sockets, and from what a connection's other end advertises."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import errand
from pools.net import socket_buffers
from pools.net.tcp_info import tcp_info

WINDOW_BYTES = 300_000
SO_BUF_LOCK = 72
GROWS, SEND_STAYS = 0, 1


def sizes(sock: socket.socket) -> tuple[int, int]:
    return (
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
    )


def locked(sock: socket.socket) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, SO_BUF_LOCK)


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        yield sock


def allowed(name: str) -> int:
    """Give how large a window this process may have a buffer for."""
    return WINDOW_BYTES if os.geteuid() == 0 else min(WINDOW_BYTES, int(Path("/proc/sys/net/core", name).read_text()))


def test_both_buffers_have_room_and_still_grow(sock: socket.socket) -> None:
    socket_buffers.enlarge(sock, WINDOW_BYTES)
    assert sizes(sock) == (2 * allowed("rmem_max"), 2 * allowed("wmem_max"))
    assert locked(sock) == GROWS


def test_buffers_that_are_large_enough_stay_as_they_are(sock: socket.socket) -> None:
    before = sizes(sock)
    socket_buffers.enlarge(sock, 1000)
    assert sizes(sock) == before
    assert locked(sock) == GROWS


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a buffer beyond wmem_max")
def test_a_send_buffer_beyond_what_it_grows_to_is_kept_from_shrinking(sock: socket.socket) -> None:
    largest = int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[-1])
    socket_buffers.enlarge(sock, largest)
    assert sizes(sock)[1] == 2 * largest
    assert locked(sock) == SEND_STAYS


def test_a_connection_begins_with_the_window_and_its_acceptor_inherits_it(sock: socket.socket) -> None:
    with socket.socket() as listener:
        for each in (sock, listener):
            socket_buffers.enlarge(each, WINDOW_BYTES)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sock.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            assert sizes(accepted)[0] == 2 * allowed("rmem_max")
            assert tcp_info(accepted).snd_wnd_bytes > 0.8 * allowed("rmem_max")  # whole segments, of 64 KiB here


def test_without_the_right_sizes_end_where_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    system = dict(zip(("core/rmem_max", "core/wmem_max"), sizes_of_a_fresh_socket(), strict=True))
    bounds = system | {"ipv4/tcp_wmem": 4 << 20}
    monkeypatch.setattr(socket_buffers, "_sysctl", lambda name: [bounds[name]])

    def as_nobody() -> tuple[int, int]:
        os.setresuid(65534, 65534, 65534) if os.geteuid() == 0 else None
        with socket.socket() as sock:
            socket_buffers.enlarge(sock, 8 << 20)
            return sizes(sock)

    assert errand.run(as_nobody, limit_s=20.0) == [2 * size for size in system.values()]


def test_without_the_right_nothing_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(sizes_of_a_fresh_socket())
    monkeypatch.setattr(socket_buffers, "_sysctl", lambda _: [1000])

    def as_nobody() -> tuple[int, int]:
        os.setresuid(65534, 65534, 65534) if os.geteuid() == 0 else None
        with socket.socket() as sock:
            socket_buffers.enlarge(sock, 8 << 20)
            return sizes(sock)

    assert errand.run(as_nobody, limit_s=20.0) == before


def test_a_kernel_that_would_stop_their_growth_is_left_alone(
    sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sizes(sock)
    monkeypatch.setattr(socket_buffers, "_SO_BUF_LOCK", 9999)  # ENOPROTOOPT, as 72 before Linux 5.15
    socket_buffers.enlarge(sock, WINDOW_BYTES)
    assert sizes(sock) == before


def sizes_of_a_fresh_socket() -> tuple[int, int]:
    with socket.socket() as sock:
        return sizes(sock)

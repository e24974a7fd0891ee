"""Sockets of MPTCP where this kernel has it, and of TCP where it has not."""

import errno
import os
import socket
import struct
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from gateway.lab import network_namespace
from pools.net import sockopts
from pools.net.sockopts import Socket
from pools.net.tcp_info import rtt_and_retransmits, tcp_info
from pools.net.transport import Transport, is_mptcp, mptcp_lack, open_stream, unheard_s

needs_mptcp = pytest.mark.skipif(bool(mptcp_lack()), reason=f"this kernel has no MPTCP: {mptcp_lack()}")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")


def refusing(number: int) -> Callable[[int, int, int], Socket]:
    """Make sockets of TCP, and refuse all others as a kernel does."""

    def make(family: int, kind: int, protocol: int) -> Socket:
        if protocol != socket.IPPROTO_TCP:
            raise OSError(number, os.strerror(number))
        return Socket(family, kind, protocol)

    return make


@pytest.mark.parametrize("number", [errno.ENOPROTOOPT, errno.EPROTONOSUPPORT, errno.EINVAL])
def test_a_kernel_without_it_gives_tcp(number: int) -> None:
    sock = open_stream(refusing(number), socket.AF_INET, Transport.MPTCP)
    assert not is_mptcp(sock)
    sock.close()


def test_descriptors_that_run_out_are_no_reason_for_tcp() -> None:
    with pytest.raises(OSError, match="Too many open files"):
        open_stream(refusing(errno.EMFILE), socket.AF_INET, Transport.MPTCP)


@pytest.mark.parametrize("transport", [Transport.TCP, pytest.param(Transport.MPTCP, marks=needs_mptcp)])
def test_what_is_opened_does_not_block_and_ends_with_the_process(transport: Transport) -> None:
    with open_stream(socket.socket, socket.AF_INET6, transport) as sock:
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        assert is_mptcp(sock) is (transport is Transport.MPTCP)


@needs_mptcp
def test_what_legs_need_can_be_had_of_it_but_for_the_user_timeout() -> None:
    with (
        open_stream(socket.socket, socket.AF_INET, Transport.MPTCP) as listener,
        open_stream(socket.socket, socket.AF_INET, Transport.MPTCP) as near,
    ):
        for sock in (listener, near):
            sockopts.no_delay(sock)
            sockopts.linger_reset(sock)
            sockopts.keepalive(sock, idle_s=15, interval_s=5, probes=3)
            with pytest.raises(sockopts.OptionError, match="TCP_USER_TIMEOUT"):
                sockopts.user_timeout(sock, 20.0)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near.setblocking(True)
        listener.setblocking(True)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
        assert is_mptcp(far)
        near.sendall(b"abc")
        assert far.recv(3) == b"abc"
        assert tcp_info(far).snd_cwnd_segments > 0
        assert rtt_and_retransmits(near)[1] == 0
        assert sockopts.unacked_bytes(far.fileno()) == 0
        assert 0.0 <= unheard_s(near) < 60.0
        near.close()  # what SO_LINGER{1,0} makes of that
        with pytest.raises(ConnectionResetError):
            far.recv(1)
        far.close()


@needs_mptcp
def test_a_listener_takes_plain_connections_and_passes_its_options_on() -> None:
    with open_stream(socket.socket, socket.AF_INET, Transport.MPTCP) as listener:
        sockopts.linger_reset(listener)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(True)
        with socket.create_connection(listener.getsockname()) as near:
            far, _ = listener.accept()
            with far:
                assert not is_mptcp(far)
                linger = far.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
                assert struct.unpack("ii", linger) == (1, 0)
                sockopts.user_timeout(far, 20.0)
                near.sendall(b"x")
                assert far.recv(1) == b"x"


@needs_root
@needs_mptcp
def test_where_it_is_switched_off_that_is_said() -> None:
    namespace = network_namespace.create()
    try:
        with network_namespace.entered(namespace):
            assert mptcp_lack() == ""
            subprocess.run(["sysctl", "-qw", "net.mptcp.enabled=0"], check=True)
            assert mptcp_lack() == "ENOPROTOOPT: it is switched off; sysctl -w net.mptcp.enabled=1"
            with open_stream(socket.socket, socket.AF_INET, Transport.MPTCP) as sock:
                assert not is_mptcp(sock)
    finally:
        os.close(namespace)


def told_by(answer: bytes | OSError) -> Socket:
    """Give what stands for a socket of which the kernel says this."""

    class Asked:
        def getsockopt(self, *_: int) -> bytes:
            if isinstance(answer, OSError):
                raise answer
            return answer

    asked: Any = Asked()
    sock: Socket = asked
    return sock


@pytest.mark.parametrize(
    ("answer", "found_s"),
    [
        (bytes(92) + struct.pack("=I", 20_500), 20.5),
        (bytes(80), 0.0),  # an older kernel
        (OSError(errno.EOPNOTSUPP, "no MPTCP connection"), 0.0),
    ],
)
def test_how_long_the_other_end_is_silent_is_known_where_the_kernel_tells(
    answer: bytes | OSError, found_s: float
) -> None:
    assert unheard_s(told_by(answer)) == found_s

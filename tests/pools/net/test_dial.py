"""Dialling over loopback: every outcome, and nothing left open."""

import errno
import os
import resource
import socket

import gevent
import pytest

from pools.net.dial import begin, dial
from pools.net.resolver import Address
from pools.net.stream import Stream, StreamFailed
from pools.net.transport import Transport, is_mptcp, mptcp_lack, open_stream
from tests.floor import Floor, receive, refusing_address, rest_of, silent_address, turn_until


def address_of(listener: socket.socket) -> Address:
    return Address(listener.family, listener.getsockname())


def at(sockaddr: tuple[str, int]) -> Address:
    return Address(socket.AF_INET, sockaddr)


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def test_a_connected_leg_has_its_options() -> None:
    with Floor() as floor, socket.create_server(("127.0.0.1", 0)) as listener:
        stream = dial(address_of(listener), readiness=floor.readiness, congestion="reno", kind=Stream)
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"reno"
        stream.send_all(b"hello")
        assert receive(accepted, 5) == b"hello"
        stream.close()
        assert rest_of(accepted) == (b"", "reset")  # SO_LINGER{1,0}, until somebody ends the session in order
        accepted.close()


@pytest.mark.skipif(bool(mptcp_lack()), reason=f"this kernel has no MPTCP: {mptcp_lack()}")
def test_mptcp_on_request_also_to_who_has_only_tcp() -> None:
    with (
        Floor() as floor,
        open_stream(socket.socket, socket.AF_INET, Transport.MPTCP) as new,
        socket.create_server(("127.0.0.1", 0)) as old,
    ):
        new.bind(("127.0.0.1", 0))
        new.listen()
        for listener in (new, old):
            stream = dial(
                address_of(listener),
                readiness=floor.readiness,
                congestion="reno",
                kind=Stream,
                window_bytes=292_000,  # which its buffers cannot have, and that is no error
                transport=Transport.MPTCP,
            )
            assert is_mptcp(stream.socket)
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            assert is_mptcp(accepted) is (listener is new)
            stream.send_all(b"hello")
            assert receive(accepted, 5) == b"hello"
            stream.close()
            assert rest_of(accepted) == (b"", "reset")
            accepted.close()


def test_ipv6() -> None:
    with Floor() as floor, socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        dial(address_of(listener), readiness=floor.readiness, congestion="", kind=Stream).close()


@pytest.mark.parametrize(
    ("elsewhere", "number"),
    [(None, errno.ECONNREFUSED), (("255.255.255.255", 9), errno.ENETUNREACH)],
    ids=["refused", "unreachable"],
)
def test_a_failure_says_the_kernels_reason_and_leaves_nothing_open(
    elsewhere: tuple[str, int] | None, number: int
) -> None:
    with Floor() as floor, refusing_address() as refusing:
        before = descriptors()
        with pytest.raises(StreamFailed) as caught:
            dial(at(elsewhere or refusing), readiness=floor.readiness, congestion="", kind=Stream)
        assert caught.value.errno in (number, errno.EACCES)  # broadcast is "permission denied" to some kernels
        assert descriptors() == before


def test_without_descriptors_it_fails_as_everything_else() -> None:
    with Floor() as floor, refusing_address() as address:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(StreamFailed) as caught:
                dial(at(address), readiness=floor.readiness, congestion="", kind=Stream)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert caught.value.errno == errno.EMFILE


def test_an_unknown_congestion_control_leaves_nothing_open() -> None:
    with Floor() as floor, refusing_address() as address:
        before = descriptors()
        with pytest.raises(StreamFailed):
            dial(at(address), readiness=floor.readiness, congestion="carrier-pigeon", kind=Stream)
        assert descriptors() == before


def test_an_exception_thrown_in_leaves_nothing_open() -> None:
    with Floor() as floor, silent_address() as address:
        before = descriptors()
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
            dial(at(address), readiness=floor.readiness, congestion="", kind=Stream)
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
                    dialled.append(dial(at(address), readiness=floor.readiness, congestion="", kind=Stream))
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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: takes addresses of others")
@pytest.mark.parametrize(
    ("bind", "source"), [("127.0.0.1", "127.0.0.9"), ("127.0.0.1", "198.18.0.9"), ("::1", "2001:db8::9")]
)
def test_a_leg_may_come_from_anybodys_address(bind: str, source: str) -> None:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with Floor() as floor, socket.create_server((bind, 0), family=family) as listener:
        stream = begin(address_of(listener), readiness=floor.readiness, congestion="", kind=Stream, source=source)
        assert stream.socket.getsockname()[0] == source
        assert stream.socket.getsockname()[1] > 0
        stream.close()


def test_a_source_that_cannot_be_bound_fails_and_leaves_nothing_open() -> None:
    with Floor() as floor, refusing_address() as address:
        before = descriptors()
        with pytest.raises(StreamFailed):
            begin(at(address), readiness=floor.readiness, congestion="", kind=Stream, source="::1")
        assert descriptors() == before

"""Packets between sites that are pairs of sockets here: a message is a packet, and no test needs root."""

import os
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Interface

import pytest

from gateway.lab.carrier import Carrier
from gateway.lab.delay_line import DelayLine, LineTerms
from gateway.lab.site import Site
from pools.net.clock import monotonic_s

LIMIT_S = 10.0
ADDRESSES = {name: IPv4Interface(f"10.77.0.{number}/24") for number, name in enumerate(("a", "b", "c"), 1)}


def packet(start: str, end: str, data: bytes = b"") -> bytes:
    """Make what a carrier looks at: an IPv4 header's addresses, behind the kernel's own header."""
    return bytes(22) + ADDRESSES[start].packed + ADDRESSES[end].packed + data


@contextmanager
def carried(lines: Mapping[tuple[str, str], LineTerms]) -> Iterator[tuple[Carrier, dict[str, socket.socket]]]:
    """Run a carrier in a thread; give it, and for each site the end that its programs would have."""
    with ExitStack() as held:
        pairs = {name: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for name in ADDRESSES}
        for sock in (sock for pair in pairs.values() for sock in pair):
            held.enter_context(sock)
            sock.settimeout(LIMIT_S)
        for device, _ in pairs.values():
            device.setblocking(False)
        sites = [Site(name, ADDRESSES[name], -1, device.fileno()) for name, (device, _) in pairs.items()]
        carrier = Carrier(sites, {way: DelayLine(terms) for way, terms in lines.items()})
        control, stop = os.pipe()
        held.callback(os.close, control)
        thread = threading.Thread(target=carrier.run, args=(control, lambda: False))
        thread.start()
        try:
            yield carrier, {name: end for name, (_, end) in pairs.items()}
        finally:
            os.close(stop)
            thread.join(LIMIT_S)
            assert not thread.is_alive()


def test_a_packet_comes_out_at_the_site_it_is_addressed_to() -> None:
    with carried({("a", "b"): LineTerms(), ("a", "c"): LineTerms()}) as (_, ends):
        ends["a"].send(packet("a", "c", b"to c"))
        ends["a"].send(packet("a", "b", b"to b"))
        assert ends["b"].recv(100) == packet("a", "b", b"to b")
        assert ends["c"].recv(100) == packet("a", "c", b"to c")


def test_it_comes_after_the_delay_and_not_before() -> None:
    with carried({("a", "b"): LineTerms(delay_s=0.05)}) as (carrier, ends):
        start_s = monotonic_s()
        ends["a"].send(packet("a", "b"))
        ends["b"].recv(100)
        assert monotonic_s() - start_s >= 0.05
    assert carrier.punctuality.left == 1
    assert carrier.punctuality.worst_s >= 0


def test_each_way_is_a_line_of_its_own() -> None:
    with carried({("a", "b"): LineTerms(delay_s=3600), ("b", "a"): LineTerms()}) as (carrier, ends):
        ends["a"].send(packet("a", "b"))
        ends["b"].send(packet("b", "a"))
        assert ends["a"].recv(100) == packet("b", "a")
    assert carrier.lines["a", "b"].counts.left == 0


@pytest.mark.parametrize("stray", [packet("a", "c"), b"", b"\x60 too short", bytes(50)])
def test_what_no_line_leads_to_is_dropped(stray: bytes) -> None:
    with carried({("a", "b"): LineTerms()}) as (carrier, ends):
        if stray:
            ends["a"].send(stray)
        ends["a"].send(packet("a", "b", b"after it"))
        assert ends["b"].recv(100) == packet("a", "b", b"after it")
    assert carrier.lines["a", "b"].counts.entered == 1


def test_a_site_that_takes_nothing_loses_its_packets_and_holds_up_nobody() -> None:
    with carried({("a", "b"): LineTerms(), ("a", "c"): LineTerms()}) as (carrier, ends):
        ends["b"].close()
        ends["a"].send(packet("a", "b"))
        ends["a"].send(packet("a", "c", b"for c"))
        assert ends["c"].recv(100) == packet("a", "c", b"for c")
    assert carrier.punctuality.left == 2


def test_many_packets_keep_their_order() -> None:
    with carried({("a", "b"): LineTerms(delay_s=0.01)}) as (_, ends):
        for number in range(200):
            ends["a"].send(packet("a", "b", number.to_bytes(2, "big")))
        assert [int.from_bytes(ends["b"].recv(100)[30:], "big") for _ in range(200)] == list(range(200))


def test_a_packet_that_is_still_to_be_cut_takes_as_long_as_its_segments() -> None:
    """10 segments of 1,500 bytes at 2.4 Mbit/s."""
    header = struct.pack("=BBHHHH", 1, 1, 52, 1_448, 20, 16)
    whole = header + packet("a", "b", bytes(10 * 1_448 + 52 - 20))[10:]
    with carried({("a", "b"): LineTerms(rate_bits_s=2.4e6)}) as (_, ends):
        start_s = monotonic_s()
        ends["a"].send(whole)
        assert ends["b"].recv(20_000) == whole
        assert monotonic_s() - start_s >= 10 * 1_500 * 8 / 2.4e6

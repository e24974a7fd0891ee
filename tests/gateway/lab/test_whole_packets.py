"""What the kernel hands over: whole where it may, each by itself where packets are to be lost."""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.lab.delay_line import LineTerms
from gateway.lab.network_namespace import entered
from gateway.lab.wan import Wan
from gateway.lab.whole_packets import HEADER_BYTES, WHOLE_SEGMENTS, take_whole, wire_bytes

LIMIT_S = 20.0
SEGMENT = 1_448
ANSWER = bytes(1_000) * 1_000
TERMS = LineTerms(delay_s=0.002)


def packet(payload: int, *, segment: int) -> bytes:
    return struct.pack("=BBHHHH", 0, 0, 0, segment, 0, 0) + bytes(52 + payload)


@given(st.integers(1, WHOLE_SEGMENTS), st.integers(0, SEGMENT - 1))
def test_a_line_sends_each_segment_with_headers(segments: int, missing: int) -> None:
    whole = packet(segments * SEGMENT - missing, segment=SEGMENT)
    cut = [packet(SEGMENT, segment=0)] * (segments - 1) + [packet(SEGMENT - missing, segment=0)]
    assert wire_bytes(whole) == sum(map(wire_bytes, cut))


def test_a_packet_that_is_one_is_as_long_as_it_is() -> None:
    assert wire_bytes(bytes(HEADER_BYTES + 40)) == 40
    assert wire_bytes(b"") <= 0  # nothing a device gives; it leads nowhere


def test_what_is_no_such_device_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(OSError, match="Inappropriate ioctl"):
        take_whole(ours.fileno())


@pytest.fixture
def wan() -> Iterator[Wan]:
    with Wan("ab", {("a", "b"): TERMS}) as made:
        yield made


def carried(wan: Wan) -> int:
    """Send a megabyte from a to b, and give how many packets it was."""
    before = wan.traffic().lines["a", "b"].entered
    with entered(wan.namespace("b")):
        server = socket.create_server((wan.address("b"), 0))
    with server, entered(wan.namespace("a")):
        ours = socket.create_connection(server.getsockname(), timeout=LIMIT_S)
        theirs, _ = server.accept()
    theirs.settimeout(LIMIT_S)
    with ours, theirs, theirs.makefile("rb") as stream:
        sender = threading.Thread(target=ours.sendall, args=(ANSWER,))
        sender.start()
        assert stream.read(len(ANSWER)) == ANSWER
        sender.join(LIMIT_S)
    return wan.traffic().lines["a", "b"].entered - before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")
def test_the_kernel_gives_packets_whole_until_some_are_to_be_lost(wan: Wan) -> None:
    segments = len(ANSWER) // SEGMENT
    assert segments // WHOLE_SEGMENTS <= carried(wan) < segments // 2
    wan.change("a", "b", replace(TERMS, loss=0.001))
    assert carried(wan) >= segments

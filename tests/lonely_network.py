"""A network namespace that nobody else sends into: its loopback device, real connections, and packets made by hand."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from gateway.lab import network_namespace

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces, captures packets")

ETHERTYPES: Final = {4: 0x0800, 6: 0x86DD}
_OURS: Final = bytes(6)  # the loopback device's own address
_OTHERS: Final = bytes.fromhex("020000000001")


@contextmanager
def lonely_network() -> Iterator[int]:
    """Be in a fresh namespace whose loopback device is up; gives its descriptor."""
    namespace = network_namespace.create()
    try:
        with network_namespace.entered(namespace):
            ip("link set lo up")
            yield namespace
    finally:
        os.close(namespace)


def ip(*commands: str) -> None:
    """Let ip(8) do all of this in the namespace we are in."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True, capture_output=True)


def inject(*packets: bytes, to_others: bool = False) -> None:
    """Have the loopback device bring packets in, each a whole one from its IP header on.

    Args:
        to_others: the frame around it is for another host, as a device in promiscuous mode sees them.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sock:
        for packet in packets:
            address = ("lo", ETHERTYPES[packet[0] >> 4], 0, 0, _OTHERS if to_others else _OURS)
            sock.sendto(packet, address)

"""Packets that a TUN device has from the kernel before they are cut into segments, and gives to it so.

A packet then is up to WHOLE_SEGMENTS packets of a line at a time, which is what a fast line needs here: reading and
writing each by itself would cost more processor time than there is. Before each packet stands the kernel's
virtio_net_hdr. It says what is still to be cut and to be summed, and whoever carries the packet passes it on as it is.

Source: linux/virtio_net.h, linux/if_tun.h; Documentation/networking/segmentation-offloads.rst.
"""

import fcntl
import sys
from typing import Final

HEADER_BYTES: Final = 10
WHOLE_SEGMENTS: Final = 11  # 16 KB: 0.7 ms of a line of 200 Mbit/s
IFF_VNET_HDR: Final = 0x4000

_TUNSETOFFLOAD: Final = 0x400454D0
_TUN_F_CSUM: Final = 0x01
_TUN_F_TSO4: Final = 0x02
_SEGMENT_SIZE: Final = slice(4, 6)  # gso_size; 0 in a packet that is one
_TCP_HEADERS: Final = 52  # IPv4, and TCP with timestamps, before each segment


def take_whole(device: int) -> None:
    """Let a device have packets whole, from now on.

    Raises:
        OSError: it was not opened with IFF_VNET_HDR.
    """
    fcntl.ioctl(device, _TUNSETOFFLOAD, _TUN_F_CSUM | _TUN_F_TSO4)


def take_cut(device: int) -> None:
    """Let a device have each packet by itself, from now on: where some are to be lost, and others not.

    Raises:
        OSError: it was not opened with IFF_VNET_HDR.
    """
    fcntl.ioctl(device, _TUNSETOFFLOAD, _TUN_F_CSUM)


def wire_bytes(packet: bytes) -> int:
    """Give how many bytes a line sends for a packet: once it is cut, each segment has headers of its own."""
    size = len(packet) - HEADER_BYTES
    segment = int.from_bytes(packet[_SEGMENT_SIZE], sys.byteorder)
    if not segment:
        return size
    segments = -(-(size - _TCP_HEADERS) // segment)
    return size + (segments - 1) * _TCP_HEADERS

"""A site of an emulated WAN: a network namespace of its own with one address, joined to the others by a TUN device.

The device hands every packet that leaves the site to this process, and brings in whatever this process writes; see
gateway.lab.whole_packets for what a packet is. It is gone once its descriptor is closed, as it is when the process ends
in any way.
"""

import fcntl
import os
import struct
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Final

from gateway.lab import network_namespace, whole_packets

DEVICE: Final = "wan"
MTU: Final = 1_500

# The ring between kernel and this process holds as many packets; the default of 500 is less than the window of one
# fast connection. Source: drivers/net/tun.c, tun_queue_resize.
_RING_PACKETS: Final = 20_000
_TUNSETIFF: Final = 0x400454CA  # linux/if_tun.h
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000  # no protocol before each packet
_IFREQ: Final = struct.Struct("16sH22x")


@dataclass(frozen=True, slots=True)
class Site:
    """A site that stands. Its two descriptors belong to whoever opened it.

    Attributes:
        address: its own, and how long the prefix is that it shares with all other sites.
        namespace: descriptor of the network namespace.
        device: descriptor of the TUN device, non-blocking: one packet a read, one a write, with its header.
    """

    name: str
    address: IPv4Interface
    namespace: int
    device: int

    @classmethod
    def open(cls, name: str, address: IPv4Interface, *, sysctls: Mapping[str, str]) -> "Site":
        """Make a site, with its devices up and routes to all others.

        Args:
            sysctls: settings below net, as in {"ipv4.tcp_slow_start_after_idle": "0"}.

        Raises:
            OSError: a right is missing (CAP_SYS_ADMIN, CAP_NET_ADMIN), or /dev/net/tun, or a setting does not exist.
        """
        with ExitStack() as undo:
            namespace = network_namespace.create()
            undo.callback(os.close, namespace)
            with network_namespace.entered(namespace):
                device = _open_tun()
                undo.callback(os.close, device)
                _bring_up(address)
                for key, value in sysctls.items():
                    Path("/proc/sys/net", key.replace(".", "/")).write_text(value)
            undo.pop_all()
        return cls(name, address, namespace, device)

    def cut_packets(self) -> None:
        """Have each packet that leaves by itself, from now on."""
        whole_packets.take_cut(self.device)

    def close(self) -> None:
        """Take away the device, and the namespace too unless programs still run in it."""
        os.close(self.device)
        os.close(self.namespace)


def _open_tun() -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        flags = _IFF_TUN | _IFF_NO_PI | whole_packets.IFF_VNET_HDR
        fcntl.ioctl(device, _TUNSETIFF, _IFREQ.pack(DEVICE.encode(), flags))
        whole_packets.take_whole(device)
    except OSError:
        os.close(device)
        raise
    return device


def _bring_up(address: IPv4Interface) -> None:
    commands = (
        "link set lo up",
        f"address add {address} dev {DEVICE}",
        f"link set {DEVICE} mtu {MTU} txqueuelen {_RING_PACKETS} gso_max_segs {whole_packets.WHOLE_SEGMENTS} up",
    )
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip(8) could not set up {DEVICE}: {done.stderr.strip()}")

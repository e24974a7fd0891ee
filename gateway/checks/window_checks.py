"""The rules about initial_window that a host is held against, as those of `host_checks`: functions of facts."""

from collections.abc import Iterator
from typing import Final

from gateway.checks.findings import Finding, finding
from gateway.checks.host import Capability, Host
from pools.peer import SEGMENT_BYTES

_BOTH: Final = (5, 15)  # the first Linux that lets a buffer that a program sets still grow
_BOUNDS: Final = ("net.core.rmem_max", "net.core.wmem_max")


def initial_window(host: Host, name: str, segments: int) -> Finding:
    """Judge whether legs to the peer `name` can begin with `segments`; whether they do, `gateway links` tells."""
    window_bytes = segments * SEGMENT_BYTES
    held = "held" if host.may(Capability.NET_ADMIN) else "not held"
    lacks = [*_right(host, window_bytes), *_age(host, window_bytes)]
    found = f"{segments} segments, {window_bytes} bytes; CAP_NET_ADMIN {held}"
    return finding(f"initial_window of {name}", found, wrong=bool(lacks), advice="; ".join(lacks))


def _right(host: Host, window_bytes: int) -> Iterator[str]:
    if not host.may(Capability.NET_ADMIN):
        yield "AmbientCapabilities=CAP_NET_ADMIN in the systemd unit: the congestion window begins as ever without it"
        for name in _BOUNDS:
            if any(limit < window_bytes for limit in host.numbers(name)):
                yield f"sysctl -w {name}={window_bytes}: it bounds the buffers of those without the right"


def _age(host: Host, window_bytes: int) -> Iterator[str]:
    """Old kernels have their buffers left alone, see `pools.net.socket_buffers`."""
    least, usual, most = host.numbers("net.ipv4.tcp_rmem") or (0, 2 * window_bytes, 0)
    if host.kernel < _BOTH and usual < 2 * window_bytes:
        sizes = f"{least} {2 * window_bytes} {max(most, 2 * window_bytes)}"
        yield f"sysctl -w net.ipv4.tcp_rmem='{sizes}': before Linux 5.15 buffers are left alone"

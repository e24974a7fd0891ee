"""What the initial_window of each peer has come to, in words: in force, or what holds it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gateway.link_status import LinkStatus
from pools.peer import SEGMENT_BYTES

_NEARLY: Final = 0.9  # of a window is the window: the kernel rounds to segments and to what its scaling can say


def lines(peers: Sequence[Mapping[str, Any]], links: Sequence[LinkStatus]) -> list[str]:
    """Tell of each peer that has an initial_window how a leg to it really begins.

    Args:
        peers: as the supervisor tells of them.
        links: in the same order.
    """
    wanted = [(peer, link) for peer, link in zip(peers, links, strict=True) if peer.get("initial_window")]
    return [f"{peer['name']}: {judged(peer['initial_window'], peer['route_lack'], link)}" for peer, link in wanted]


def judged(window: int, route_lack: str, link: LinkStatus) -> str:
    """Tell whether legs begin with `window` segments, and if not, what holds them.

    Args:
        route_lack: why the route to the peer does not have the window; empty where it does.
    """
    if not link.first_window_segments:
        return f"initial_window = {window}: not known yet, for there is no leg" + _because(route_lack)
    if lacks := list(_lacks(window, route_lack, link)):
        return f"initial_window = {window} is not in force: " + "; ".join(lacks)
    return f"initial_window = {window} is in force: {link.first_window_segments} segments"


def _lacks(window: int, route_lack: str, link: LinkStatus) -> Iterator[str]:
    enough_bytes = _NEARLY * window * SEGMENT_BYTES
    if link.first_window_segments < window:
        reason = route_lack or "tcp_slow_start_after_idle is 1, or the path loses packets"
        yield f"the congestion window begins with {link.first_window_segments} segments" + _because(reason)
    if link.first_send_bytes < enough_bytes:
        yield f"the send buffer has room for {link.first_send_bytes} bytes (net.core.wmem_max, without CAP_NET_ADMIN)"
    if 0 < link.first_receive_bytes < enough_bytes:
        here = "net.core.rmem_max, without CAP_NET_ADMIN"
        yield f"we advertise {link.first_receive_bytes} bytes ({here}; or net.ipv4.tcp_rmem)"
    if link.first_advertised_bytes < enough_bytes:
        yield f"the peer advertises {link.first_advertised_bytes} bytes (initial_window for us there, or tcp_rmem)"


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""

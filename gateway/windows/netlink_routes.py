"""Host routes of this network namespace, over netlink (rtnetlink(7)). Which ones there shall be is decided elsewhere.

Loads pyroute2 for its message classes, and that loads much: import this in a short-lived child. Its own IPRoute brings
an event loop along and has no way to say "prepend".
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from pyroute2.netlink.rtnl.rtmsg import rtmsg

from gateway.windows.route_watch import OUR_PROTOCOL

_PATIENCE_S: Final = 2.0
_ANSWER_BYTES: Final = 1 << 18
_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr of linux/netlink.h: len, type, flags, seq, pid
_NUMBER: Final = struct.Struct("=i")
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_NEW, _DELETE, _GET = 24, 25, 26  # RTM_NEWROUTE and so on, linux/rtnetlink.h
_REQUEST, _ACK, _DUMP, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x300, 0x200, 0x400  # NLM_F_*
_UNICAST: Final = 1  # RTN_UNICAST
_ON_LINK, _EVERYWHERE = 253, 0  # RT_SCOPE_LINK, RT_SCOPE_UNIVERSE
_IPV6_FIRST: Final = 1  # the lowest metric that a route of IPv6 can have: 0 means 1024
_KEPT: Final = frozenset({"RTA_TABLE", "RTA_OIF", "RTA_GATEWAY", "RTA_VIA", "RTA_PREFSRC"})
_NAMES_A_ROUTE: Final = _KEPT | {"RTA_DST", "RTA_PRIORITY"}


class NoWay(Exception):
    """There is no route that could be cloned; the message says why."""


@dataclass(frozen=True, slots=True)
class HostRoute:
    """A route of ours to one address.

    Attributes:
        address: where it leads.
        message: as the kernel tells of it.
    """

    address: str
    message: rtmsg

    @property
    def segments(self) -> int:
        """The first window of connections that go out by it; 0 where it says nothing of that."""
        metrics = self.message.get_attr("RTA_METRICS")
        return 0 if metrics is None else int(metrics.get_attr("RTAX_INITCWND") or 0)


class RouteTable:
    """A netlink socket to the kernel's routes. A context manager.

    Raises:
        OSError: from each method, with the kernel's number: EPERM without CAP_NET_ADMIN.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.settimeout(_PATIENCE_S)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._socket.close()

    def widen(self, address: str, segments: int) -> None:
        """Put a route of ours to `address` before any other: the way that packets take now, with this initcwnd.

        A host route that is there already stays as it is, behind ours: so there is nothing to put back.

        Raises:
            NoWay: the address is this host's own, or takes a tunnel that cannot be cloned.
        """
        family, bits = _shape(address)
        [now] = self._ask(_GET, 0, family=family, dst_len=bits, attrs=[("RTA_DST", address)])
        flags = _CREATE if family == socket.AF_INET else _CREATE | _EXCLUSIVE  # without: IPv6 spreads over both routes
        self._ask(_NEW, flags | _ACK, **_clone(now, address, segments))

    def ours(self) -> list[HostRoute]:
        """Give the routes that bear our mark."""
        found = [
            message
            for family in (socket.AF_INET, socket.AF_INET6)
            for message in self._ask(_GET, _DUMP, family=family, attrs=[])
            if message["proto"] == OUR_PROTOCOL
        ]
        return [HostRoute(str(message.get_attr("RTA_DST")), message) for message in found]

    def remove(self, route: HostRoute) -> None:
        """Take away a route of ours, and no other: the kernel compares the mark, too."""
        message = route.message
        attributes = [pair[:2] for pair in message["attrs"] if pair[0] in _NAMES_A_ROUTE]
        same = {name: message[name] for name in ("family", "dst_len", "table", "proto", "scope", "type")}
        self._ask(_DELETE, _ACK, **same, attrs=attributes)

    def _ask(self, kind: int, flags: int, **fields: Any) -> list[rtmsg]:
        self._number += 1
        message = rtmsg()
        message.update(fields)
        message["header"] |= {"type": kind, "flags": _REQUEST | flags, "sequence_number": self._number, "pid": 0}
        message.encode()
        self._socket.send(message.data)
        return list(self._answers(is_whole=not flags))

    def _answers(self, *, is_whole: bool) -> Iterator[rtmsg]:
        """Give what the kernel answers: one message, or all up to the end of a dump or an acknowledgement."""
        while True:
            told = self._socket.recv(_ANSWER_BYTES)
            while told:
                length, kind, _, number, _ = _HEADER.unpack_from(told)
                part, told = told[:length], told[(length + 3) & ~3 :]
                if number != self._number:
                    continue
                if kind in (_ERROR, _DONE):
                    _check(part)
                    return
                yield _decoded(part)
                if is_whole:
                    return


def _shape(address: str) -> tuple[socket.AddressFamily, int]:
    return (socket.AF_INET6, 128) if ":" in address else (socket.AF_INET, 32)


def _clone(now: rtmsg, address: str, segments: int) -> dict[str, Any]:
    family, bits = _shape(address)
    attributes = [pair[:2] for pair in now["attrs"] if pair[0] in _KEPT]
    if now["type"] != _UNICAST:
        raise NoWay(f"{address} is an address of this host")
    if now.get_attr("RTA_ENCAP") is not None:
        raise NoWay(f"the route to {address} encapsulates, and is not cloned")
    attributes += [("RTA_DST", address), ("RTA_METRICS", {"attrs": [*_metrics(now), ("RTAX_INITCWND", segments)]})]
    if family == socket.AF_INET6:
        attributes.append(("RTA_PRIORITY", _IPV6_FIRST))
    has_gateway = any(name in ("RTA_GATEWAY", "RTA_VIA") for name, _ in attributes)
    scope = _EVERYWHERE if has_gateway or family == socket.AF_INET6 else _ON_LINK
    return {
        "family": family,
        "dst_len": bits,
        "table": now["table"],
        "proto": OUR_PROTOCOL,
        "scope": scope,
        "type": _UNICAST,
        "attrs": attributes,
    }


def _metrics(now: rtmsg) -> list[tuple[str, Any]]:
    """Give the metrics that the route has by configuration: what path MTU discovery has learned expires."""
    cache, metrics = now.get_attr("RTA_CACHEINFO"), now.get_attr("RTA_METRICS")
    if metrics is None or (cache is not None and cache["rta_expires"]):
        return []
    return [pair[:2] for pair in metrics["attrs"] if pair[0] not in ("RTAX_INITCWND", "UNKNOWN")]


def _check(part: bytes) -> None:
    number = -_NUMBER.unpack_from(part, _HEADER.size)[0]
    if number > 0:
        raise OSError(number, f"{errno.errorcode.get(number, number)} ({os.strerror(number)})")


def _decoded(part: bytes) -> rtmsg:
    message = rtmsg(part)
    message.decode()
    return message

"""Tells when somebody else has changed the routes of this network namespace, so that copies of them can be renewed."""

import math
import selectors
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

OUR_PROTOCOL: Final = 177
"""Who made a route, in `ip route` as `proto 177`: nobody else in iproute2's rt_protos has this number."""

SETTLE_S: Final = 1.0
"""From a change to the renewal: changes seldom come alone."""
PAUSE_S: Final = 30.0
"""Between two renewals, where routes change all the time."""

_GROUPS: Final = 0x40 | 0x400  # RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE of linux/rtnetlink.h
_HEADER: Final = struct.Struct("=IH10x5xB")  # len and type of struct nlmsghdr, protocol of the struct rtmsg behind it
_CHANGES: Final = (24, 25)  # RTM_NEWROUTE, RTM_DELROUTE
_RECEIVE_BYTES: Final = 65_536


class RouteWatch:
    """A netlink socket in the supervisor's loop (rtnetlink(7)). It takes no rights.

    Args:
        on_change: called by `turn`.
        selector: where it waits; borrowed.
    """

    def __init__(self, on_change: Callable[[], object], selector: selectors.BaseSelector) -> None:
        self._on_change = on_change
        self._selector = selector
        self._changed = False
        self._due_s, self._free_s = math.inf, 0.0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((0, _GROUPS))
        selector.register(self._socket, selectors.EVENT_READ, self._hear)

    def turn(self, now_s: float) -> None:
        """Call `on_change` where it is due."""
        if self._changed:
            self._changed = False
            self._due_s = min(self._due_s, max(now_s + SETTLE_S, self._free_s))
        if now_s >= self._due_s:
            self._due_s, self._free_s = math.inf, now_s + PAUSE_S
            self._on_change()

    def close(self) -> None:
        """Stop watching; in a child only its copy."""
        self._socket.close()

    def _hear(self) -> None:
        try:
            while told := self._socket.recv(_RECEIVE_BYTES):
                self._changed |= any(protocol != OUR_PROTOCOL for protocol in _changed(told))
        except BlockingIOError:
            return
        except OSError:  # ENOBUFS: there was more than the kernel keeps for us
            self._changed = True


def _changed(told: bytes) -> Iterator[int]:
    """Give who made each of the routes that were changed, by number."""
    while len(told) >= _HEADER.size:
        length, kind, protocol = _HEADER.unpack_from(told)
        if kind in _CHANGES:
            yield protocol
        told = told[max((length + 3) & ~3, _HEADER.size) :]

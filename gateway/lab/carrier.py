"""Carries packets between sites: reads them from one TUN device, lets a delay line keep them, writes them to another.

One thread with a loop of its own. select(2) and not epoll_wait(2), which counts in milliseconds: that alone would be
an error of one, the whole of what a line may be late.
"""

import os
import select
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from gateway.lab.delay_line import DelayLine
from gateway.lab.site import MTU, Site
from gateway.lab.whole_packets import HEADER_BYTES, WHOLE_SEGMENTS, wire_bytes
from pools.net.clock import monotonic_s

LATE_S: Final = 0.001
_LARGEST: Final = HEADER_BYTES + WHOLE_SEGMENTS * MTU
_DESTINATION: Final = slice(HEADER_BYTES + 16, HEADER_BYTES + 20)  # in the header of IPv4, RFC 791
_READS: Final = 16  # packets in a row from one site, before those that fall due elsewhere are late

Lines = Mapping[tuple[str, str], DelayLine]


@dataclass(slots=True)
class Punctuality:
    """How well the lines' times were kept; a loaded machine keeps them badly, and figures taken then mean little."""

    left: int = 0
    late: int = 0
    worst_s: float = 0.0


@dataclass(slots=True)
class _Way:
    """A line, and the device at its far end."""

    line: DelayLine
    device: int


@dataclass(slots=True)
class Carrier:
    """Sites, the lines between them by (from, to), and packets under way. Where no line leads, packets are dropped."""

    sites: list[Site]
    lines: Lines
    punctuality: Punctuality = field(default_factory=Punctuality)
    _ways: list[_Way] = field(init=False)
    _routes: dict[int, dict[bytes, DelayLine]] = field(init=False)

    def __post_init__(self) -> None:
        by_name = {site.name: site for site in self.sites}
        self._ways = [_Way(line, by_name[end].device) for (_, end), line in self.lines.items()]
        self._routes = {site.device: {} for site in self.sites}
        for (start, end), line in self.lines.items():
            self._routes[by_name[start].device][by_name[end].address.packed] = line

    def run(self, control: int, command: Callable[[], bool]) -> None:
        """Carry packets until `command`, called whenever the descriptor `control` can be read, gives False.

        Devices are looked at before it, so that a packet sent before a command meets the line as it was.
        """
        watched = [*self._routes, control]
        while True:
            ready, _, _ = select.select(watched, [], [], self._pause_s())
            for fd in ready:
                if fd != control:
                    self._take_in(fd)
                elif not command():
                    return
            self._send_out()

    def _pause_s(self) -> float | None:
        due_s = [way.line.next_s for way in self._ways if way.line.next_s is not None]
        return max(0.0, min(due_s) - monotonic_s()) if due_s else None

    def _take_in(self, device: int) -> None:
        routes = self._routes[device]
        with suppress(BlockingIOError):
            for _ in range(_READS):
                packet = os.read(device, _LARGEST)
                if line := routes.get(packet[_DESTINATION]):
                    line.enter(packet, now_s=monotonic_s(), size_bytes=wire_bytes(packet))

    def _send_out(self) -> None:
        now_s, seen = monotonic_s(), self.punctuality
        for way in self._ways:
            while leaving := way.line.leave(now_s=now_s):
                due_s, packet = leaving
                with suppress(OSError):  # the site took its device down, or a packet is none: lost, as on a real line
                    os.write(way.device, packet)
                late_s = now_s - due_s
                seen.left += 1
                seen.late += late_s > LATE_S
                seen.worst_s = max(seen.worst_s, late_s)

"""Sees the SYNs of this worker's shard before the kernel has finished their handshakes.

What is begun for them is decided elsewhere; here packets become `Syn`s, as few of them at a time as the loop can bear.
"""

import select
from collections.abc import Callable
from functools import partial
from typing import Final

import gevent

from pools.net import packet_socket
from pools.net.clock import monotonic_s
from pools.net.local_address import LocalAddresses
from pools.net.readiness import Readiness
from pools.net.scoreboard import Cell, Row
from workers.syn_filter import NOTHING
from workers.syn_packet import SNAPSHOT_BYTES, Syn, parse
from workers.syn_sockets import Capture

_AT_ONCE: Final = 64  # packets before sessions have their turn, as many as connections are accepted
_ALL: Final = 65_536  # more than a socket's buffer ever holds, so that even a flood cannot keep a reader for ever
_COUNT_S: Final = 1.0


class SynCapture:
    """The packet sockets of one worker, whose copies of them it owns from here on.

    Args:
        capture: the sockets, and the filter to let packets in by.
        on_syn: told of each SYN, in the hub or in whoever calls `drain`. It must neither block nor raise, and may
            pause the capture.
        row: where packets are counted.
    """

    def __init__(self, capture: Capture, *, readiness: Readiness, on_syn: Callable[[Syn], None], row: Row) -> None:
        self._sockets = {sock.fileno(): sock for sock in capture.sockets}
        self._program = capture.program
        self._own_ports = capture.own_ports
        self._addresses = LocalAddresses()
        # Asked before each read: 0.4 µs where nothing is there, and a read that says so by an exception takes 2.7.
        self._waiting = select.epoll()
        self._readiness = readiness
        self._on_syn = on_syn
        self._row = row
        self._is_paused = True
        self._stop: Callable[[], None] = _not_started
        self._counting = gevent.get_hub().loop.timer(_COUNT_S, _COUNT_S)

    def start(self) -> None:
        """Begin, without what a predecessor left unread: the clients it is about may have been accepted long since."""
        self.pause()
        for fd in self._sockets:
            self._waiting.register(fd, select.EPOLLIN)
        self._stop = self._readiness.watch(self._waiting.fileno(), partial(self._take, _AT_ONCE))
        self._counting.start(self._count_lost)
        self.resume()

    def drain(self) -> None:
        """Read all that has come by now, so that whoever is accepted next has been seen if that was possible."""
        self._take(_ALL)

    def pause(self) -> None:
        """See nothing until `resume`: the kernel drops it all, so that a flood costs this process nothing."""
        self._is_paused = True
        for sock in self._sockets.values():
            packet_socket.attach_filter(sock, NOTHING)
            packet_socket.discard(sock)

    def resume(self) -> None:
        """See what comes from now on."""
        for sock in self._sockets.values():
            packet_socket.attach_filter(sock, self._program)
        self._is_paused = False

    def close(self) -> None:
        """See nothing more, and give up the sockets. The supervisor's copies stay open, and silent."""
        self.pause()
        self._count_lost()
        self._counting.stop()
        self._counting.close()
        self._stop()
        self._waiting.close()
        while self._sockets:
            self._sockets.popitem()[1].close()

    def _take(self, limit: int) -> None:
        for _ in range(limit):
            ready = [] if self._is_paused else self._waiting.poll(0)
            for fd, _mask in ready:
                self._take_one(fd)
            if not ready:
                return

    def _take_one(self, fd: int) -> None:
        packet = packet_socket.read(self._sockets[fd], SNAPSHOT_BYTES)
        if packet is None:
            return
        self._row.add(Cell.SYNS_SEEN)
        syn = parse(packet)
        if syn is not None and self._is_wanted(syn):
            self._on_syn(syn)

    def _is_wanted(self, syn: Syn) -> bool:
        """Tell whether it is not one that this host only forwards, on its way to a port that we happen to have, too."""
        host, port = syn.local
        return port not in self._own_ports or self._addresses.has(host, now_s=monotonic_s())

    def _count_lost(self) -> None:
        lost = sum(map(packet_socket.take_lost, self._sockets.values()))
        if lost:
            self._row.add(Cell.SYNS_LOST, lost)


def _not_started() -> None:
    """What there is to stop before the start."""

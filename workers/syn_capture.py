"""Sees the SYNs of this worker's shard before the kernel has finished their handshakes.

What is begun for them is decided elsewhere; here packets become `Syn`s, as few of them at a time as the loop can bear.
"""

import socket
from collections.abc import Callable
from functools import partial
from typing import Final

import gevent

from pools.net import packet_socket
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
        self._sockets = capture.sockets
        self._program = capture.program
        self._readiness = readiness
        self._on_syn = on_syn
        self._row = row
        self._is_paused = True
        self._stops: list[Callable[[], None]] = []
        self._counting = gevent.get_hub().loop.timer(_COUNT_S, _COUNT_S)

    def start(self) -> None:
        """Begin, without what a predecessor left unread: the clients it is about may have been accepted long since."""
        self.pause()
        for sock in self._sockets:
            self._stops.append(self._readiness.watch(sock.fileno(), partial(self._take, sock, _AT_ONCE)))
        self._counting.start(self._count_lost)
        self.resume()

    def drain(self) -> None:
        """Read all that has come by now, so that whoever is accepted next has been seen if that was possible."""
        for sock in self._sockets:
            self._take(sock, _ALL)

    def pause(self) -> None:
        """See nothing until `resume`: the kernel drops it all, so that a flood costs this process nothing."""
        self._is_paused = True
        for sock in self._sockets:
            packet_socket.attach_filter(sock, NOTHING)
            packet_socket.discard(sock)

    def resume(self) -> None:
        """See what comes from now on."""
        for sock in self._sockets:
            packet_socket.attach_filter(sock, self._program)
        self._is_paused = False

    def close(self) -> None:
        """See nothing more, and give up the sockets. The supervisor's copies stay open, and silent."""
        self.pause()
        self._count_lost()
        self._counting.stop()
        self._counting.close()
        while self._stops:
            self._stops.pop()()
        for sock in self._sockets:
            sock.close()
        self._sockets = ()

    def _take(self, sock: socket.socket, limit: int) -> None:
        taken = 0
        while taken < limit and not self._is_paused:
            packet = packet_socket.read(sock, SNAPSHOT_BYTES)
            if packet is None:
                break
            taken += 1
            syn = parse(packet)
            if syn is not None:
                self._on_syn(syn)
        if taken:
            self._row.add(Cell.SYNS_SEEN, taken)

    def _count_lost(self) -> None:
        lost = sum(map(packet_socket.take_lost, self._sockets))
        if lost:
            self._row.add(Cell.SYNS_LOST, lost)

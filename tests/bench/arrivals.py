"""New sessions at a constant rate, each with one request. `python -m tests.bench.arrivals HOST PORT`.

Reads one JSON command a line and answers each with one JSON line, until end of file:

    {"rate": R, "seconds": S}          open R sessions a second for S seconds; answer when the last has ended

The load is open, as that of tests.bench.crowd: session k is due at start + k / R whatever became of those before it,
and its first byte counts from when it was due. The origin ends each session after its answer.
"""

import errno
import gc
import json
import os
import select
import socket
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.bench.crowd import percentile

_REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
_SILENCE_S = 10.0
_CHUNK = 65536


class Arrival:
    """A session on its way: asked or not yet, answered or not yet."""

    __slots__ = ("asked", "due_s", "first_s", "sock")

    def __init__(self, address: tuple[str, int], due_s: float) -> None:
        self.due_s = due_s
        self.first_s: float | None = None
        self.asked = False
        self.sock = socket.socket()
        self.sock.setblocking(False)
        if (number := self.sock.connect_ex(address)) not in (0, errno.EINPROGRESS):
            self.sock.close()
            raise OSError(number, os.strerror(number))

    def go_on(self, now_s: float) -> bool:
        """Do what can be done now; tell whether the session has ended."""
        if not self.asked:
            self.sock.send(_REQUEST)  # raises what became of connect()
            self.asked = True
            return False
        data = self.sock.recv(_CHUNK)
        if data and self.first_s is None:
            self.first_s = now_s
        return not data


class Arrivals:
    """All sessions of one command."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._open: dict[int, Arrival] = {}
        self._epoll = select.epoll()
        self._first_ms: list[float] = []
        self._late_ms: list[float] = []

    def run(self, rate: float, seconds: float) -> dict[str, float]:
        """Open sessions at `rate` for `seconds`, wait until the last has ended, and describe them."""
        total = int(rate * seconds)
        start_s = heard_s = time.monotonic()
        while len(self._first_ms) < total:
            now_s = time.monotonic()
            while (begun := len(self._late_ms)) < total and (due_s := start_s + begun / rate) <= now_s:
                self._begin(due_s)
            if self._receive(wait_s=max(0.0, due_s - now_s) if begun < total else 1.0):
                heard_s = now_s
            if now_s - heard_s > _SILENCE_S:
                raise TimeoutError(f"{len(self._first_ms)} of {total} sessions ended, then none for {_SILENCE_S:g} s")
        return {
            "sessions": total,
            "p50_ms": percentile(self._first_ms, 50),
            "p99_ms": percentile(self._first_ms, 99),
            "late_p99_ms": percentile(self._late_ms, 99),
        }

    def close(self) -> None:
        """End what a failed run has left open."""
        self._epoll.close()
        for arrival in self._open.values():
            arrival.sock.close()

    def _begin(self, due_s: float) -> None:
        arrival = Arrival(self._address, due_s)
        self._late_ms.append((time.monotonic() - due_s) * 1e3)
        self._open[arrival.sock.fileno()] = arrival
        self._epoll.register(arrival.sock, select.EPOLLOUT)

    def _receive(self, *, wait_s: float) -> bool:
        select.select([self._epoll], [], [], wait_s)  # epoll_wait(2) counts in milliseconds
        events = self._epoll.poll(0)
        for fd, _ in events:
            arrival = self._open[fd]
            if arrival.go_on(time.monotonic()):
                self._end(arrival)
            else:
                self._epoll.modify(fd, select.EPOLLIN)
        return bool(events)

    def _end(self, arrival: Arrival) -> None:
        if arrival.first_s is None:
            raise ConnectionError("a session ended without an answer")
        self._first_ms.append((arrival.first_s - arrival.due_s) * 1e3)
        del self._open[arrival.sock.fileno()]
        arrival.sock.close()


def main(host: str, port: int) -> None:
    """Obey the commands of standard input until it ends."""
    Path("/proc/self/timerslack_ns").write_text("1")  # the usual 50 us would make every session late by as much
    gc.disable()
    for line in sys.stdin:
        with closing(Arrivals((host, port))) as arrivals:
            print(json.dumps(arrivals.run(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

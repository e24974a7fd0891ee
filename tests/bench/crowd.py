"""Many sessions in one process, and messages over them at a constant rate. `python -m tests.bench.crowd PORT`.

Reads one JSON command a line, answers each with one JSON line, and closes all sessions at end of file:

    {"open": N}                        hold N sessions in all; each has carried one message when the answer comes
    {"rate": R, "seconds": S}          send R messages a second for S seconds over all sessions in turn

The load is open: message k is due at start + k / R whether or not earlier ones were answered, as with independent
users. Its latency counts from when it was *due*, not from when it was sent. A generator that waits for answers before
it sends more, or counts from the sending, leaves out just those moments in which the relay stood still ("coordinated
omission", Gil Tene; wrk2 does as this does). The price: the generator's own lateness counts too. So it is reported, and
the direct row shows the floor.
"""

import gc
import json
import select
import sys
import time
from array import array
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from tests.bench.session import REQUEST, Session, open_session

_SOURCE = "127.0.0.2"  # so that held sessions leave wrk all ports of 127.0.0.1
_SILENCE_S = 10.0
_CHUNK = 65536


class Held:
    """A session of the crowd, and when the messages it has not yet answered were due, the oldest first."""

    __slots__ = ("due_s", "session", "unread")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.due_s: deque[float] = deque()
        self.unread = 0

    def answered(self) -> int:
        """Read what has come and tell how many answers are whole now; a part of one is kept in mind."""
        size = len(self.session.sock.recv(_CHUNK))
        if not size:
            raise ConnectionError("a session was ended while it was held")
        whole, self.unread = divmod(self.unread + size, self.session.answer_size)
        return whole


class Crowd:
    """All sessions of this process."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._held: list[Held] = []
        self._by_fd: dict[int, Held] = {}
        self._epoll = select.epoll()

    def open(self, count: int) -> dict[str, float]:
        """Hold `count` sessions in all, opened one after another."""
        while len(self._held) < count:
            held = Held(open_session(self._port, source=_SOURCE))
            held.session.sock.setblocking(False)
            self._held.append(held)
            self._by_fd[held.session.sock.fileno()] = held
            self._epoll.register(held.session.sock, select.EPOLLIN)
        return {"open": len(self._held)}

    def drive(self, rate: float, seconds: float) -> dict[str, float]:
        """Send at `rate` messages a second for `seconds`, wait for the last answer, and describe the latencies."""
        total = int(rate * seconds)
        late_us, latency_us = array("d"), array("d")
        start_s = heard_s = time.monotonic()
        while len(latency_us) < total:
            now_s = time.monotonic()
            while (sent := len(late_us)) < total and (due_s := start_s + sent / rate) <= now_s:
                self._send(self._held[sent % len(self._held)], due_s)
                now_s = time.monotonic()
                late_us.append((now_s - due_s) * 1e6)
            before = len(latency_us)
            self._receive(latency_us, wait_s=max(0.0, due_s - now_s) if sent < total else 1.0)
            heard_s = now_s if len(latency_us) > before else heard_s
            if now_s - heard_s > _SILENCE_S:
                raise TimeoutError(f"{len(latency_us)} of {total} answers came, then none for {_SILENCE_S:g} s")
        return describe(late_us, latency_us, elapsed_s=time.monotonic() - start_s)

    def _send(self, held: Held, due_s: float) -> None:
        held.due_s.append(due_s)
        if held.session.sock.send(REQUEST) != len(REQUEST):
            raise BlockingIOError("a session takes no more requests; the rate is beyond what the relay can do")

    def _receive(self, latency_us: "array[float]", *, wait_s: float) -> None:
        # epoll_wait(2) counts in milliseconds, select(2) in microseconds: twenty messages may fall due in one of those.
        select.select([self._epoll], [], [], wait_s)
        for fd, _ in self._epoll.poll(0):
            held = self._by_fd[fd]
            whole, now_s = held.answered(), time.monotonic()
            for _ in range(whole):
                latency_us.append((now_s - held.due_s.popleft()) * 1e6)


def describe(late_us: Sequence[float], latency_us: Sequence[float], *, elapsed_s: float) -> dict[str, float]:
    """Sum up one drive; latencies and lateness in microseconds."""
    return {
        "messages": len(latency_us),
        "elapsed_s": elapsed_s,
        "p50_us": percentile(latency_us, 50),
        "p99_us": percentile(latency_us, 99),
        "max_us": max(latency_us),
        "late_p50_us": percentile(late_us, 50),
        "late_p99_us": percentile(late_us, 99),
    }


def percentile(values: Sequence[float], percent: int) -> float:
    """Give the smallest value that at least `percent` of all do not exceed (nearest rank: always one that occurred)."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def main(port: int) -> None:
    """Obey the commands of standard input until it ends."""
    Path("/proc/self/timerslack_ns").write_text("1")  # the usual 50 us would make every message late by as much
    crowd = Crowd(port)
    for line in sys.stdin:
        gc.freeze()  # sessions live as long as the process: no collection should walk them in the middle of a drive
        command = json.loads(line)
        answer = crowd.open(command["open"]) if "open" in command else crowd.drive(**command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Short sessions at a steady rate and long ones beside them, to a destination that echoes: what a change costs them.

One thread, one epoll, whatever the gateway does: nobody waits for anybody. Each session says something of its own and
must hear just that. A short one then ends its side and must hear the other side's end; a long one goes on now and then.
"""

import errno
import itertools
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.scenarios.harness.programs import LIMIT_S

SERVED: Final = "served"
_TICK_S: Final = 0.01
_BEAT_S: Final = 2.0
_PATIENCE_S: Final = 2.0
"""Sessions of how many seconds may be under way at once; beyond that none is begun, and that is counted."""

_PAYLOAD: Final = struct.Struct("!Q56x")
_NUMBERS: Final = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Way:
    """A listener, and what a client says there before its own words, with the length of each answer."""

    name: str
    port: int
    greeting: tuple[tuple[bytes, int], ...] = ()
    host: str = "127.0.0.1"


def by_socks5(name: str, port: int, *, to: int) -> Way:
    """Give the way to a port of 127.0.0.1 through a listener that speaks SOCKS5."""
    request = b"\5\1\0\1" + socket.inet_aton("127.0.0.1") + struct.pack("!H", to)
    return Way(name, port, ((b"\5\1\0", 2), (request, 10)))


class _Session:
    """One client's connection and how far it is."""

    def __init__(self, way: Way, *, is_long: bool) -> None:
        self.way = way
        self.is_long = is_long
        self.began_s = self.said_s = time.monotonic()
        self.outcome = ""
        self.is_connected = False
        self._steps = list(way.greeting)
        self._missing = 0
        self._expected = self._heard = b""
        self._is_ending = False
        self.sock = socket.socket()
        self.sock.setblocking(False)
        begun = self.sock.connect_ex((way.host, way.port))
        assert begun in (0, errno.EINPROGRESS), errno.errorcode[begun]

    @property
    def is_quiet(self) -> bool:
        """Whether everything it said was answered."""
        return self._expected != b"" and not self._missing

    def go_on(self) -> None:
        """Do what the socket is ready for."""
        stage = "while it went on" if self.is_connected else "at its connect"
        try:
            if self.is_connected:
                self._hear()
            elif number := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.outcome = f"{errno.errorcode[number]} {stage}"
            else:
                self.is_connected = True
                self.say()
        except OSError as error:
            self.outcome = f"{errno.errorcode[error.errno or 0]} {stage}"

    def say(self) -> None:
        """Say the next thing: the greeting's, or words of its own."""
        self.said_s = time.monotonic()
        if self._steps:
            words, self._missing = self._steps.pop(0)
            self._expected = b""
        else:
            words = self._expected = _PAYLOAD.pack(next(_NUMBERS))
            self._missing = len(words)
        self._heard = b""
        assert self.sock.send(words) == len(words)

    def _hear(self) -> None:
        data = self.sock.recv(self._missing or 1)
        self._heard += data
        self._missing -= len(data)
        if not data:
            self.outcome = SERVED if self._is_ending else "ended early"
        elif self._missing < 0:
            self.outcome = "said too much"
        elif not self._missing:
            self._answered()

    def _answered(self) -> None:
        if self._expected and self._heard != self._expected:
            self.outcome = "wrong echo"
        elif not self._expected:
            self.say()
        elif not self.is_long:
            self._is_ending = True
            self.sock.shutdown(socket.SHUT_WR)


class Steady:
    """The load. Whoever makes one ends it; see `steady`.

    Args:
        rate: short sessions a second, over all ways in turn.
        long: sessions that last.

    Attributes:
        outcomes: how many there were, by the way they came and what became of them.
        slowest_s: from its connect to its end, of the short ones.
        held_back: short ones that were not begun, for want of a faster machine.
    """

    def __init__(self, ways: Sequence[Way], *, rate: int, long: int) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.slowest_s = 0.0
        self.held_back = 0
        self._ways = itertools.cycle(ways)
        self._rate = rate
        self._epoll = select.epoll()
        self._sessions: dict[int, _Session] = {}
        self._long: list[_Session] = []
        self._wanted = long
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Begin, and return once all long sessions have been answered."""
        self._thread.start()
        deadline_s = time.monotonic() + LIMIT_S
        while len(self._long) < self._wanted or not all(each.is_quiet for each in self._long):
            assert time.monotonic() < deadline_s, f"long sessions were not answered: {self}"
            self._thread.join(_TICK_S)

    def end(self) -> None:
        """Begin no more, hold the long sessions to one more answer, and return once all have ended."""
        self._is_over.set()
        self._thread.join(4 * LIMIT_S)
        assert not self._thread.is_alive()
        self._epoll.close()

    def __str__(self) -> str:
        return f"{dict(self.outcomes)}, long {len(self._long)}, not begun {self.held_back}"

    @property
    def failures(self) -> dict[tuple[str, str], int]:
        """What was not served, by the way it came and what became of it."""
        return {key: count for key, count in self.outcomes.items() if key[1] != SERVED}

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._is_over.is_set():
            now_s = time.monotonic()
            if len(self._long) < self._wanted:
                self._long.append(self._open(is_long=True))
            while due_s <= now_s:
                due_s += 1 / self._rate
                if len(self._sessions) - len(self._long) < _PATIENCE_S * self._rate:
                    self._open(is_long=False)
                else:  # this machine is too slow for the rate
                    self.held_back += 1
            self._keep_long_ones_busy(now_s)
            self._turn()
        self._see_out()

    def _see_out(self) -> None:
        self._turn_until(lambda: all(each.is_long for each in self._sessions.values()))
        self._turn_until(lambda: all(each.is_quiet for each in self._sessions.values()))
        for session in list(self._sessions.values()):
            session.is_long = False
            session.say()
        self._turn_until(lambda: not self._sessions)
        for session in list(self._sessions.values()):
            session.outcome = "lost"
            self._close(session)

    def _turn_until(self, fact: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + LIMIT_S
        while not fact() and time.monotonic() < deadline_s:
            self._turn()

    def _open(self, *, is_long: bool) -> _Session:
        session = _Session(next(self._ways), is_long=is_long)
        self._sessions[session.sock.fileno()] = session
        self._epoll.register(session.sock, select.EPOLLOUT)
        return session

    def _keep_long_ones_busy(self, now_s: float) -> None:
        for session in self._long:
            if session.is_quiet and now_s - session.said_s > _BEAT_S and not session.outcome:
                session.say()

    def _turn(self) -> None:
        for fd, _ in self._epoll.poll(_TICK_S):
            session = self._sessions[fd]
            session.go_on()
            if session.outcome:
                self._close(session)
            else:
                self._epoll.modify(fd, select.EPOLLIN)

    def _close(self, session: _Session) -> None:
        del self._sessions[session.sock.fileno()]
        self._epoll.unregister(session.sock)  # closing does not, while a process that is just being started has a copy
        session.sock.close()
        self.outcomes[session.way.name, session.outcome] += 1
        self.slowest_s = max(self.slowest_s, 0.0 if session in self._long else time.monotonic() - session.began_s)


@contextmanager
def steady(ways: Sequence[Way], *, rate: int, long: int) -> Iterator[Steady]:
    """Have such a load for as long as the block lasts; what became of it is complete afterwards."""
    load = Steady(ways, rate=rate, long=long)
    load.begin()
    try:
        yield load
    finally:
        load.end()

"""The sessions of one worker inside the test's own process, with a destination that the test speaks for."""

import os
import socket
from collections.abc import Callable
from typing import Any, Final

import gevent

from pools.net.endpoint import Endpoint
from pools.net.line_sink import LineSink
from pools.net.resolver import Resolver
from pools.net.scoreboard import LISTEN_WORDS, ROW_WORDS, Row
from tests.floor import Floor, send_all, turn, turn_until
from workers.access_log import AccessLog
from workers.egress import Egress
from workers.session import Session
from workers.sessions import Sessions
from workers.settings import Listen, LogFormat, Mode, Outbound, Timeouts, WorkerSettings
from workers.tally import ListenTally, Tally

ANY: Final = Endpoint("127.0.0.1", 0)


def empty_row(listeners: int = 1) -> Row:
    """Give a row of no scoreboard file."""
    return Row(memoryview(bytearray(8 * (ROW_WORDS + LISTEN_WORDS * listeners))).cast("Q"))


class World:
    """Sessions on a floor, an origin that listens, and an access log that can be read. Close it before the floor."""

    def __init__(
        self, floor: Floor, *, mode: Mode = Mode.FORWARD, lookup: Callable[..., Any] | None = None, **timeouts: float
    ) -> None:
        self.floor = floor
        self.origin = socket.create_server(("127.0.0.1", 0))
        self.origin.setblocking(False)
        self.target = Endpoint(*self.origin.getsockname())
        to = self.target if mode is Mode.FORWARD else None
        settings = self.settings(Listen("orders", ANY, mode, to), Timeouts(**timeouts))
        self.row = empty_row(len(settings.listens))
        self._log_end, self._log_start = os.pipe()
        self._lines = LineSink(self._log_start)
        resolver = Resolver(again_after_s=60.0, on_failure=lambda: None, lookup=lookup)
        egress = Egress(readiness=floor.readiness, resolver=resolver, settings=Outbound(), on_retry=lambda: None)
        self.tally = Tally(self.row)
        self.sessions = Sessions(
            settings,
            slot=0,
            room=floor.room,
            resets=floor.resets,
            egress=egress,
            tally=self.tally,
            sources=None,
            log=AccessLog(self._lines, LogFormat.TEXT),
            **self.more,
        )
        self._ticks = gevent.get_hub().loop.timer(0.02, 0.02)

    more: dict[str, Any] = {}  # noqa: RUF012  # what else Sessions gets; a subclass has its own

    def settings(self, listen: Listen, timeouts: Timeouts) -> WorkerSettings:
        """Give what the worker is told."""
        return WorkerSettings((listen,), 1, 1, timeouts=timeouts)

    def begin(self, words: bytes = b"") -> socket.socket:
        """Let a client come, which has said `words` already."""
        inbound, client = self.floor.leg()
        send_all(client, words)
        address = client.getsockname()
        self.floor.in_hub(lambda: self.sessions.begin(inbound, client=address, listen_index=0))
        return client

    def connected(self) -> tuple[socket.socket, socket.socket, Session]:
        """Let a client come through to the origin."""
        client = self.begin()
        accepted = self.accept()
        (session,) = [one for one in self.sessions if one.client == client.getsockname()]
        turn_until(lambda: session.relay is not None)
        turn()
        return client, accepted, session

    def accept(self) -> socket.socket:
        """Wait for the next leg at the origin."""
        waiting: list[socket.socket] = []

        def comes() -> bool:
            try:
                waiting.append(self.origin.accept()[0])
            except BlockingIOError:
                return False
            return True

        turn_until(comes)
        waiting[0].setblocking(False)
        self.floor.keep(waiting[0])
        return waiting[0]

    def tally_of(self, listen_index: int) -> ListenTally:
        """Give what the sessions of a listener are counted in."""
        return self.tally.of(self.sessions.listens)[listen_index]

    def watch(self) -> None:
        """Look after the sessions from now on, as a worker does."""
        self._ticks.start(self.sessions.watch.look)

    def logged(self) -> list[list[str]]:
        """Give the access log's lines so far, in columns."""
        self._lines.flush()
        os.set_blocking(self._log_end, False)
        try:
            return [line.split() for line in os.read(self._log_end, 65_536).decode().splitlines()]
        except BlockingIOError:
            return []

    def close(self) -> None:
        """End what lives."""
        self.floor.in_hub(self.sessions.kill_all)
        self._ticks.stop()
        self._ticks.close()
        self.origin.close()
        self._lines.close()
        os.close(self._log_end)
        os.close(self._log_start)

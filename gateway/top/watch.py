"""Takes samples of a running gateway, over its stops, restarts, reloads and upgrades: the only part that reads."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gateway import control_client
from gateway.commands.running import open_scoreboard
from gateway.control_client import NoAnswer, NotRunning
from gateway.listener_status import read_listener
from gateway.processes import Processes
from gateway.runtime_dir import scoreboard_file
from gateway.status import GatewayStatus, read
from gateway.top.sample import Link, Listener, Sample
from pools.net.clock import monotonic_ns
from pools.net.scoreboard import Scoreboard

_ASK_AGAIN_S: Final = 5.0
_PATIENCE_S: Final = 0.5  # for a supervisor that hangs, while somebody waits for the next picture


class Watch:
    """Looks at the gateway that runs in a directory, whichever that is at the moment. Owns the scoreboard it has open.

    Args:
        runtime_dir: it need not be there yet.
    """

    def __init__(self, runtime_dir: Path) -> None:
        self._runtime_dir = runtime_dir
        self._scoreboard: Scoreboard | None = None
        self._file: os.stat_result | None = None
        self._processes = Processes()
        self._told: Mapping[str, Any] = {}
        self._asked: tuple[int, int] | None = None
        self._asked_s = 0.0
        self._is_told = False

    def look(self) -> Sample:
        """Take a sample.

        Raises:
            NotRunning: there is no gateway, or its scoreboard is of another version.
        """
        scoreboard = self._current()
        now_ns = monotonic_ns()
        status = read(scoreboard, self._processes, now_ns=now_ns)
        self._ask(scoreboard, status, now_s=now_ns / 1e9)
        return Sample(
            taken_s=now_ns / 1e9,
            life=scoreboard.started_ns,
            status=status,
            listeners=tuple(_listeners(scoreboard, self._told)),
            links=tuple(_links(status, self._told)),
            told=self._told,
            is_told=self._is_told,
        )

    def close(self) -> None:
        """Let go of the scoreboard."""
        if self._scoreboard is not None:
            self._scoreboard.close()
            self._scoreboard = None

    def _current(self) -> Scoreboard:
        """Give the scoreboard that is there now: each supervisor makes its own and puts it in the last one's place."""
        try:
            there = scoreboard_file(self._runtime_dir).stat()
        except OSError as error:
            self.close()
            raise NotRunning(f"no gateway runs in {self._runtime_dir}") from error
        if self._scoreboard is None or self._file is None or not os.path.samestat(there, self._file):
            self.close()
            self._scoreboard = open_scoreboard(self._runtime_dir)
            self._file = there
        return self._scoreboard

    def _ask(self, scoreboard: Scoreboard, status: GatewayStatus, *, now_s: float) -> None:
        """Ask the supervisor for names: one that is new, or has another configuration, and each now and then."""
        current = (scoreboard.started_ns, status.config_generation)
        if current == self._asked and now_s < self._asked_s + _ASK_AGAIN_S:
            return
        if self._asked is None or current[0] != self._asked[0]:
            self._told = {}
        self._asked, self._asked_s = current, now_s
        try:
            self._told = control_client.ask(self._runtime_dir, {"request": "status"}, limit_s=_PATIENCE_S)
            self._is_told = True
        except (NotRunning, NoAnswer):
            self._is_told = False


def _listeners(scoreboard: Scoreboard, told: Mapping[str, Any]) -> Iterator[Listener]:
    for place, listener in enumerate(told.get("listeners", ())):
        number = listener.get("number", place)
        if number < scoreboard.listeners:
            status = read_listener(scoreboard, number)
            yield Listener(listener["name"], listener["mode"], listener["address"], status)


def _links(status: GatewayStatus, told: Mapping[str, Any]) -> Iterator[Link]:
    peers = {peer.get("number", place): peer for place, peer in enumerate(told.get("peers", ()))}
    for link in status.links:
        peer = peers.get(link.number, {})
        name = peer.get("name", f"peer {link.number}")
        yield Link(name, peer.get("address", ""), peer.get("pool_min"), peer.get("pool_max"), link)

"""A real broker in a process of its own, given its post as the supervisor gives it.

The process is a fresh interpreter. The test's own process has a loop, which a fork would share: what the child closed
on its way out of it would take events away from the test.
"""

import logging
import os
import pickle
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pools.broker_post import BrokerPost, BrokerSettings
from pools.net.fd_passing import receive_message, send_message, socket_pair
from pools.net.link_board import LinkCell
from pools.net.orders import Order, OrderMessage, Report, ReportMessage
from pools.net.scoreboard import Cell, Layout, Scoreboard
from pools.net.sealed import seal
from pools.peer import Peer
from tests.pools.far_gateway import LIMIT_S

WORKERS: Final = 2
PEERS: Final = 2  # on the board
_ROOT: Final = Path(__file__).parents[2]
_MAIN: Final = "from tests.pools.broker_process import live; live()"


@dataclass(frozen=True, slots=True)
class Errand:
    """What the process is sent, to make a post of."""

    folder: Path
    settings: BrokerSettings
    origin: int
    channel: int

    @property
    def board(self) -> Path:
        return self.folder / f"scoreboard-{self.origin}"


class BrokerProcess:
    """A broker, one life of it after another, each with a board of its own. Use `a_broker`."""

    def __init__(self, folder: Path, peers: Sequence[Peer], key_file: Path) -> None:
        self._folder = folder
        self.settings = BrokerSettings("oregon", tuple(peers), WORKERS, str(key_file), 5.0, 60.0)
        self._log = folder / "broker.log"
        self._origin = 1000
        self.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Begin a life."""
        self._origin += 1
        self.channel, theirs = socket_pair()
        errand = Errand(self._folder, self.settings, self._origin, theirs.fileno())
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _MAIN],
                stdin=subprocess.PIPE,
                stderr=log,
                pass_fds=[theirs.fileno()],
                cwd=_ROOT,
            )
        theirs.close()
        assert self._process.stdin
        with self._process.stdin as stdin:
            stdin.write(pickle.dumps(errand))
        assert self.report() is Report.READY
        self.board = Scoreboard.open(errand.board)

    def shows(self, cell: LinkCell, *, of: int = 0) -> int:
        """Give a number of a peer's, the first one's unless another is named by its number."""
        return self.board.links.link(of)[cell]

    def shows_of_itself(self, cell: Cell) -> int:
        return self.board.broker[cell]

    def said(self) -> str:
        """Give what it has logged so far, in all its lives."""
        return self._log.read_text()

    def line(self, slot: int) -> socket.socket:
        """Give a worker's end of a fresh channel, whose other end the broker gets."""
        ours, theirs = socket_pair()
        self.order(OrderMessage(Order.CHANNEL, slot=slot), (theirs.fileno(),))
        theirs.close()
        return ours

    def order(self, message: OrderMessage, descriptors: tuple[int, ...] = ()) -> None:
        send_message(self.channel, message.encode(), descriptors)

    def configure(self, **more: Any) -> None:
        """Have it, and those after it, live by other settings."""
        self.settings = replace(self.settings, **more)
        sealed = seal(self.settings)
        self.order(OrderMessage(Order.CONFIGURE), (sealed,))
        os.close(sealed)

    def report(self) -> Report:
        """Wait for the next report."""
        assert select.select([self.channel], [], [], LIMIT_S)[0], f"expected a report; found {self.said()}"
        payload, _ = receive_message(self.channel)
        assert payload, f"expected a report; found the broker's end: {self.said()}"
        return ReportMessage.decode(payload).report

    def end(self) -> int:
        """Wait for its exit code."""
        return self._process.wait(LIMIT_S)

    def kill(self) -> None:
        """End it whatever it does."""
        self._process.kill()
        self._process.wait(LIMIT_S)
        self.channel.close()
        self.board.close()


@contextmanager
def a_broker(folder: Path, *peers: Peer, key_file: Path) -> Iterator[BrokerProcess]:
    """Start a broker, and end it whatever the test does."""
    broker = BrokerProcess(folder, peers, key_file)
    try:
        yield broker
    finally:
        broker.kill()


def live() -> None:
    """Spend this process as a broker."""
    from pools.broker import run

    errand: Errand = pickle.loads(sys.stdin.buffer.read())
    logging.basicConfig(level=logging.INFO)
    layout = Layout(WORKERS, 0, PEERS)
    board = Scoreboard.create(errand.board, layout, supervisor_pid=os.getppid(), started_ns=1)
    channel = socket.socket(fileno=errand.channel)
    channel.setblocking(False)
    sys.exit(run(BrokerPost(errand.settings, errand.origin, board.links, board.broker, channel)))

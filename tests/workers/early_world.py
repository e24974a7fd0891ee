"""The sessions of one worker that begin at a SYN, inside the test's own process: the test tells of SYNs."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pools.net import sockopts
from pools.net.endpoint import Endpoint
from pools.net.scoreboard import Cell
from tests.floor import Floor
from tests.workers.crossroads import Crossroads
from workers import early_syn
from workers.settings import Limits, Listen, ProxyHeader, Timeouts, WorkerSettings
from workers.syn_packet import Syn


class Told:
    """A capture that remembers what it was told, and tells of a SYN at the next `drain`."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.unread: list[Syn] = []
        self.early: early_syn.EarlySyn | None = None

    def start(self) -> None:
        self.calls.append("start")

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def close(self) -> None:
        self.calls.append("close")

    def drain(self) -> None:
        assert self.early is not None
        while self.unread:
            self.early.seen(self.unread.pop(0))


class EarlyWorld(Crossroads):
    """A world with a listener of its own, whose clients are announced. Close it before the floor.

    Attributes:
        early: what is tested.
        capture: where it hears of SYNs.
    """

    def __init__(
        self,
        floor: Floor,
        *,
        limits: Limits = Limits(early_syn_rate=0),  # noqa: B008  # frozen
        send_proxy: ProxyHeader = ProxyHeader.OFF,
        preserve_source: bool = False,
        **more: Any,
    ) -> None:
        self._limits = limits
        self._of_listener: dict[str, Any] = {
            "early_syn": True,
            "send_proxy": send_proxy,
            "preserve_source": preserve_source,
        }
        super().__init__(floor, **more)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._overlay = socket.create_server(("127.0.0.1", 0))
        sockopts.linger_reset(self._listener)
        self.capture = Told()
        self._make()

    def _make(self) -> None:
        listeners = [self._listener, self._overlay]
        self.early = early_syn.make(self.sessions, self._told, listeners=listeners, row=self.row)
        self.capture.early = self.sessions.early = self.early
        self.early.capture = self.capture

    def settings(self, listen: Listen, timeouts: Timeouts) -> WorkerSettings:
        told = super().settings(replace(listen, **self._of_listener), timeouts)
        self._told = replace(told, limits=self._limits)
        return self._told

    def lead_to(self, destination: Endpoint) -> None:
        """Have the listener lead to another destination than the origin; before the first SYN."""
        first, *others = self._told.listens
        self._told = replace(self._told, listens=(replace(first, to=destination), *others))
        self.sessions.listens = self._told.listens
        self._make()

    def newcomer(self) -> socket.socket:
        """Give a client that has an address, and has not sent its SYN."""
        client = socket.socket()
        client.bind(("127.0.0.1", 0))
        self.floor.keep(client)
        return client

    def syn_of(self, client: socket.socket) -> Syn:
        """Give the SYN that `client` will send."""
        return Syn(client.getsockname(), self._listener.getsockname())

    def announce(self, client: socket.socket) -> None:
        """Have the SYN of `client` seen."""
        self.floor.in_hub(lambda: self.early.seen(self.syn_of(client)))

    def announced(self) -> socket.socket:
        """Give a client whose SYN was seen."""
        client = self.newcomer()
        self.announce(client)
        return client

    def let_in(self, client: socket.socket) -> None:
        """Have `client` connect, and be accepted."""
        client.connect(self._listener.getsockname())
        client.setblocking(False)
        accepted, address = self._listener.accept()
        accepted.setblocking(False)
        inbound = self.floor.readiness.open(accepted)
        self.floor.in_hub(lambda: self.sessions.begin(inbound, client=address, listen_index=0))

    def look(self) -> None:
        """Let a tick pass."""
        self.floor.in_hub(self.early.look)

    @property
    def early_counts(self) -> dict[str, int]:
        """What was counted, without what was not."""
        cells = [cell for cell in Cell if cell.name.startswith("EARLY_") and cell is not Cell.EARLY_PENDING]
        return {cell.name[6:].lower(): self.row[cell] for cell in cells if self.row[cell]}

    def close(self) -> None:
        self.floor.in_hub(self.early.close)
        assert len(self.early) == 0
        super().close()
        self._listener.close()
        self._overlay.close()


@contextmanager
def early_world(**more: Any) -> Iterator[EarlyWorld]:
    """Give a world on a floor of its own."""
    with Floor() as floor:
        world = EarlyWorld(floor, **more)
        yield world
        world.close()

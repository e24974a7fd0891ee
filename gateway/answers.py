"""What the supervisor does about each request of an operator. How requests arrive is `control`'s business."""

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.control import Later, Reply
from gateway.drain import LONGEST_S, STOP_LIMIT_S
from gateway.peer_process import peer_process
from gateway.reasons import Thresholds
from gateway.reload import Reload
from gateway.supervisor import Supervisor
from pools.net.clock import monotonic_s
from pools.net.orders import Order, OrderMessage

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ListenerFact:
    """One listener as it was opened.

    Attributes:
        address: with the port that the kernel chose.
        to: empty unless it forwards.
        number: its place in rows of the scoreboard.
    """

    name: str
    mode: str
    address: str
    to: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class PeerFact:
    """One peer as it is configured; the limits are those of its pool of legs.

    Attributes:
        number: whose row on the scoreboard is its own.
        initial_window: segments; 0 where nothing is configured.
    """

    name: str
    address: str
    pool_min: int
    pool_max: int
    initial_window: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class EarlySynFact:
    """Whether sessions begin at their client's SYN; `lack` says why not where a listener wants it, else it is empty."""

    on: bool
    lack: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change but with the configuration.

    Attributes:
        name: the gateway's.
        config: path of its file; empty for none.
        peers: in the configuration's order, as on the scoreboard.
        admin: address of the admin listener; empty for none.
        started_s: monotonic clock.
        health: from where on it is degraded.
        version: of the code that runs, whatever is installed by now.
    """

    name: str
    config: str
    listeners: tuple[ListenerFact, ...]
    peers: tuple[PeerFact, ...]
    admin: str
    early_syn: EarlySynFact
    started_s: float
    health: Thresholds = field(default_factory=Thresholds)
    version: str = ""


class Answers:
    """Answers requests from what the supervisor holds. Never waits.

    Args:
        route_lacks: why routes to peers do not have their initial_window, as of now; see
            `gateway.route_windows.RouteWindows`.

    Attributes:
        facts: of the configuration that holds; whoever changes that replaces them.
    """

    def __init__(self, facts: Facts, supervisor: Supervisor, *, reload: Reload, route_lacks: Mapping[str, str]) -> None:
        self.facts = facts
        self._reload = reload
        self._route_lacks = route_lacks
        self._supervisor = supervisor

    def answer(self, request: object, connection: socket.socket) -> Reply | Later | None:
        """Do what `request` asks; None where `connection` was passed to a worker, which will write to it."""
        match request:
            case {"request": "ping"}:
                return {"ok": True, "pid": os.getpid()}
            case {"request": "status"}:
                return {"ok": True} | self._status()
            case {"request": "sessions", "worker": int(slot)}:
                return self._sessions(slot, connection)
            case {"request": "stop" | "drain" | "reload" as order}:
                _log.info("told to %s by %s", order, peer_process(connection))
        return self._obey(request)

    def _obey(self, request: object) -> Reply | Later:
        """Do what changes the gateway."""
        match request:
            case {"request": "reload"}:
                return self._reload.ask_for_operator()
            case {"request": "stop", "now": bool(now)}:
                return self._end(0.0 if now else min(STOP_LIMIT_S, self._supervisor.drain_s))
            case {"request": "drain", "limit_s": float(limit_s)} if 0 <= limit_s <= LONGEST_S:
                return self._end(limit_s or self._supervisor.drain_s)
        return _no("expected ping, status, reload, stop with now, drain with limit_s, or sessions with worker")

    def _end(self, limit_s: float) -> Reply:
        if limit_s:
            self._supervisor.drain(limit_s)
        else:
            self._supervisor.stop()
        drain_s = self._supervisor.drain_left_s(monotonic_s())  # less where a drain was under way
        limits = {"drain_s": drain_s, "limit_s": self._supervisor.end_limit_s(drain_s)}
        return {"ok": True, "sessions": self._supervisor.sessions} | limits

    def _status(self) -> dict[str, Any]:
        facts = asdict(self.facts)
        for peer in facts["peers"]:
            peer["route_lack"] = self._route_lacks.get(peer["name"], "")
        workers = [
            {"slot": place.role.number, "core": place.role.core, "pid": place.child.pid if place.child else 0}
            for place in self._supervisor.crew.session_slots()
        ]
        uptime_s = monotonic_s() - facts.pop("started_s")
        phase = self._supervisor.phase.value
        found = {"pid": os.getpid(), "uptime_s": uptime_s, "phase": phase, "last_reload": self._reload.last}
        return facts | found | {"workers": workers}

    def _sessions(self, slot: int, connection: socket.socket) -> dict[str, Any] | None:
        workers = {place.role.number: place for place in self._supervisor.crew.session_slots()}
        if slot not in workers:
            return _no(f"worker must be one of {', '.join(map(str, workers))}; found {slot}")
        if workers[slot].tell(OrderMessage(Order.SESSIONS), (connection.fileno(),)):
            return None
        return _no(f"worker {slot} is not there or does not read its orders")


def _no(why: str) -> dict[str, Any]:
    return {"ok": False, "error": why}

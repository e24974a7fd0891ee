"""What the supervisor does about each request of an operator. How requests arrive is `control`'s business."""

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gateway.control import Later, Reply
from gateway.drain import LONGEST_S, STOP_LIMIT_S
from gateway.introduction import Facts
from gateway.peer_process import peer_process
from gateway.reloading.reload import Reload
from gateway.supervisor import Supervisor
from gateway.upgrading.generations import Generations
from pools.net.clock import monotonic_s
from pools.net.orders import Order, OrderMessage

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Changes:
    """Who changes a gateway that runs."""

    reload: Reload
    generations: Generations


class Answers:
    """Answers requests from what the supervisor holds. Never waits.

    Args:
        route_lacks: why routes to peers do not have their initial_window, as of now; see
            `gateway.windows.route_windows.RouteWindows`.

    Attributes:
        facts: of the configuration that holds; whoever changes that replaces them.
    """

    def __init__(
        self, facts: Facts, supervisor: Supervisor, *, changes: Changes, route_lacks: Mapping[str, str]
    ) -> None:
        self.facts = facts
        self._changes = changes
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
            case {"request": "stop" | "drain" | "reload" | "upgrade" as order}:
                _log.info("told to %s by %s", order, peer_process(connection))
        return self._obey(request)

    def _obey(self, request: object) -> Reply | Later:
        """Do what changes the gateway."""
        match request:
            case {"request": "reload"}:
                return self._changes.reload.ask_for_operator()
            case {"request": "upgrade"}:
                return self._changes.generations.upgrade()
            case {"request": "stop", "now": bool(now)}:
                return self._end(0.0 if now else min(STOP_LIMIT_S, self._supervisor.drain_s))
            case {"request": "drain", "limit_s": float(limit_s)} if 0 <= limit_s <= LONGEST_S:
                return self._end(limit_s or self._supervisor.drain_s)
        return _no("expected ping, status, reload, upgrade, stop with now, drain with limit_s, or sessions with worker")

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
        found = {"pid": os.getpid(), "uptime_s": uptime_s, "phase": phase, "last_reload": self._changes.reload.last}
        return facts | found | {"workers": workers, "retiring": self._retiring()}

    def _retiring(self) -> list[dict[str, Any]]:
        now_s = monotonic_s()
        return [
            {"pid": each.pid, "sessions": each.sessions, "since_s": now_s - each.since_s}
            for each in self._changes.generations.retiring
        ]

    def _sessions(self, slot: int, connection: socket.socket) -> dict[str, Any] | None:
        workers = {place.role.number: place for place in self._supervisor.crew.session_slots()}
        if slot not in workers:
            return _no(f"worker must be one of {', '.join(map(str, workers))}; found {slot}")
        if workers[slot].tell(OrderMessage(Order.SESSIONS), (connection.fileno(),)):
            return None
        return _no(f"worker {slot} is not there or does not read its orders")


def _no(why: str) -> dict[str, Any]:
    return {"ok": False, "error": why}

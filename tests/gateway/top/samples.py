"""Samples made of few words: whatever is not said is 0, unknown or empty."""

from dataclasses import fields
from typing import Any

from gateway.link_status import LinkStatus
from gateway.listener_status import ListenerStatus
from gateway.status import ChildStatus, GatewayStatus
from gateway.top.sample import Link, Listener, Sample
from pools.link_health import LinkState
from pools.net.scoreboard import ChildState


def _nothing(kind: Any) -> dict[str, Any]:
    return {field.name: 0 for field in fields(kind)}


def worker(slot: int = 0, **facts: Any) -> ChildStatus:
    """Give a worker that is ready."""
    unknown = dict.fromkeys(("cpu_percent", "rss_bytes", "descriptors", "restarted_ago_s"))
    alive = {"slot": slot, "core": slot, "pid": 1000 + slot, "state": ChildState.READY, "uptime_s": 60.0}
    calm = {"heartbeat_age_s": 0.1, "accept_paused": False, "retires": False}
    return ChildStatus(**(_nothing(ChildStatus) | unknown | alive | calm | facts))


def listener(name: str = "orders", **facts: int) -> Listener:
    return Listener(name, "forward", "127.0.0.1:8443", ListenerStatus(**(_nothing(ListenerStatus) | facts)))


def link(name: str = "mumbai", **facts: Any) -> Link:
    usual = {"state": LinkState.UP, "age_s": 0.5, "is_crowded": False, "was_filled": True}
    return Link(name, "192.0.2.9:7400", 16, 512, LinkStatus(**(_nothing(LinkStatus) | usual | facts)))


def sample(
    *workers: ChildStatus,
    at_s: float = 100.0,
    life: int = 1,
    listeners: tuple[Listener, ...] = (),
    links: tuple[Link, ...] = (),
    **facts: Any,
) -> Sample:
    """Give a sample of a gateway called oregon whose supervisor and broker live."""
    absent = worker(64, state=ChildState.ABSENT)
    usual = {"supervisor_pid": 999, "is_supervisor_alive": True, "uptime_s": 65.0, "config_generation": 3}
    parts = {"workers": workers or (worker(),), "broker": worker(63), "admin": absent, "memory": None}
    rest = {"reload_failed": False, "links": tuple(each.status for each in links)}
    status = GatewayStatus(**(_nothing(GatewayStatus) | usual | parts | rest | facts))
    told = {"name": "oregon", "peers": [{"name": each.name, "number": each.status.number} for each in links]}
    return Sample(at_s, life, status, listeners, links, told)

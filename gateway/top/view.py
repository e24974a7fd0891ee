"""The facts of one picture: a sample, its rates and the verdict on it, in the order in which they are shown. Pure."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from gateway import health
from gateway.reasons import Verdict
from gateway.status import ChildStatus
from gateway.top import counters
from gateway.top.recent import Rates, Recent
from gateway.top.sample import Link, Listener, Sample
from pools.link_health import LinkState

Trail = tuple[float, ...]
"""Bytes a second over the last minute, see `Recent.trail`."""


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """One worker; in all lines `rates` is None before there are two samples."""

    status: ChildStatus
    rates: Rates | None
    trail: Trail


@dataclass(frozen=True, slots=True)
class ListenerLine:
    """One listener."""

    listener: Listener
    rates: Rates | None


@dataclass(frozen=True, slots=True)
class LinkLine:
    """The link to one peer; its rates are of sessions alone."""

    link: Link
    rates: Rates | None


@dataclass(frozen=True, slots=True)
class View:
    """All that is shown of one moment.

    Attributes:
        workers: in slot order.
        listeners: in the configuration's order.
        links: those that are down first, then the slowest.
        rates: the whole gateway's.
        trail: likewise.
        interval_s: over which rates were measured; None before there are any.
    """

    sample: Sample
    verdict: Verdict
    rates: Rates | None
    trail: Trail
    workers: tuple[WorkerLine, ...]
    listeners: tuple[ListenerLine, ...]
    links: tuple[LinkLine, ...]
    interval_s: float | None

    @classmethod
    def of(cls, sample: Sample, recent: Recent) -> "View":
        """Make the view of `sample`, which `recent` has taken in as its latest."""
        return cls(
            sample=sample,
            verdict=health.judge_as_told(sample.status, sample.told, is_answering=sample.is_told),
            rates=recent.rates(counters.GATEWAY),
            trail=recent.trail(counters.GATEWAY),
            workers=tuple(_worker_lines(sample, recent)),
            listeners=tuple(_listener_lines(sample, recent)),
            links=tuple(sorted(_link_lines(sample, recent), key=_slowest_first)),
            interval_s=recent.interval_s,
        )

    def as_dict(self, *, time_s: float) -> dict[str, Any]:
        """Give what --json prints.

        Args:
            time_s: wall clock.
        """
        told = self.sample.told
        facts = self.sample.status.as_dict()
        workers = zip(facts.pop("workers"), self.workers, strict=True)
        del facts["links"]  # they stand below, with their names
        return {
            "time_s": round(time_s, 3),
            "interval_s": self.interval_s,
            "running": True,
            "gateway": {key: told[key] for key in ("name", "version", "config", "phase") if key in told},
            "health": self.verdict.as_dict(),
            **facts,
            "rates": _rates(self.rates),
            "workers": [fact | {"rates": _rates(line.rates)} for fact, line in workers],
            "listeners": [_listener_dict(line) for line in self.listeners],
            "links": [_link_dict(line) for line in self.links],
        }


def _worker_lines(sample: Sample, recent: Recent) -> Iterator[WorkerLine]:
    for worker in sample.status.workers:
        key = counters.of_worker(worker.slot)
        yield WorkerLine(worker, recent.rates(key), recent.trail(key))


def _listener_lines(sample: Sample, recent: Recent) -> Iterator[ListenerLine]:
    for listener in sample.listeners:
        key = counters.of_listener(listener.name)
        yield ListenerLine(listener, recent.rates(key, whole=counters.GATEWAY))


def _link_lines(sample: Sample, recent: Recent) -> Iterator[LinkLine]:
    for link in sample.links:
        key = counters.of_link(link.name)
        yield LinkLine(link, recent.rates(key))


def _slowest_first(line: LinkLine) -> tuple[int, int]:
    """Sort key: a link that is down is slower than any, and of one that was never measured nothing is known."""
    order = (LinkState.DOWN, LinkState.UP, LinkState.UNKNOWN)
    return order.index(line.link.status.state), -line.link.status.rtt_us


def _listener_dict(line: ListenerLine) -> dict[str, Any]:
    listener = line.listener
    named = {"name": listener.name, "mode": listener.mode, "address": listener.address}
    rates = _rates(line.rates)
    if rates:
        del rates["moved_bytes_per_s"]
    return named | asdict(listener.status) | {"rates": rates}


def _link_dict(line: LinkLine) -> dict[str, Any]:
    link, rates = line.link, _rates(line.rates)
    named = {"name": link.name, "address": link.address, "pool_min": link.pool_min, "pool_max": link.pool_max}
    told = asdict(link.status) | {"idle": link.status.idle, "hit_rate": link.status.hit_rate}
    return named | told | {"rates": {"sessions_per_s": rates["sessions_per_s"]} if rates else None}


def _rates(rates: Rates | None) -> dict[str, float | None] | None:
    if rates is None:
        return None
    return {f"{name}_per_s": None if value is None else round(value, 3) for name, value in asdict(rates).items()}

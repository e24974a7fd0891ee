"""What counts in a sample, and how fast it grew between two of them. Pure.

Each thing that counts has a key: the gateway, a worker, a listener, a link. So one function does for all of them.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Final

from gateway.link_status import LinkStatus
from gateway.listener_status import ListenerStatus
from gateway.status import ChildStatus
from gateway.top.sample import Sample

GATEWAY: Final = "gateway"


def of_worker(slot: int) -> str:
    """Give the key of a worker."""
    return f"worker {slot}"


def of_listener(name: str) -> str:
    """Give the key of a listener."""
    return f"listener {name}"


def of_link(name: str) -> str:
    """Give the key of the link to a peer."""
    return f"link {name}"


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals, which only grow.

    Attributes:
        sessions: that began; of a link, those that asked it for a leg.
        failed: of a listener's sessions, those without a relay.
        moved_bytes: both directions, counted as they move; of workers and the gateway.
        forward_bytes: counted when a session ends or is looked at, which is seconds apart; of listeners, too.
        backward_bytes: likewise.
    """

    sessions: int
    failed: int = 0
    moved_bytes: int = 0
    forward_bytes: int = 0
    backward_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """By how much counters grew in a second, on average over some time. The attributes are those of Counters."""

    sessions: float
    failed: float
    moved_bytes: float
    forward_bytes: float
    backward_bytes: float

    @property
    def counted_bytes(self) -> float:
        """What moved, as it was counted by direction."""
        return self.forward_bytes + self.backward_bytes


def counters(sample: Sample) -> dict[str, Counters]:
    """Give all totals of a sample by their keys."""
    workers = {of_worker(worker.slot): _of_worker(worker) for worker in sample.status.workers}
    listeners = {of_listener(listener.name): _of_listener(listener.status) for listener in sample.listeners}
    links = {of_link(link.name): _of_link(link.status) for link in sample.links}
    return workers | listeners | links | {GATEWAY: _sum(workers.values())}


def flow(before: Counters, after: Counters, seconds: float) -> Flow | None:
    """Give the flow between two readings of the same counters; None where no time passed or a total fell."""
    grown = [late - early for early, late in zip(astuple(before), astuple(after), strict=True)]
    return Flow(*(each / seconds for each in grown)) if seconds > 0 and min(grown) >= 0 else None


def _of_worker(worker: ChildStatus) -> Counters:
    return Counters(
        sessions=worker.sessions_total,
        moved_bytes=worker.moved_bytes,
        forward_bytes=worker.forward_bytes,
        backward_bytes=worker.backward_bytes,
    )


def _of_listener(listener: ListenerStatus) -> Counters:
    return Counters(
        sessions=listener.sessions_total,
        failed=listener.failed,
        forward_bytes=listener.forward_bytes,
        backward_bytes=listener.backward_bytes,
    )


def _of_link(link: LinkStatus) -> Counters:
    return Counters(sessions=link.hits + link.misses)


def _sum(parts: Iterable[Counters]) -> Counters:
    return Counters(*map(sum, zip(*map(astuple, parts), strict=True)))

"""What is known of a gateway at one moment: numbers from the scoreboard and the kernel, names from the supervisor."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.link_status import LinkStatus
from gateway.listener_status import ListenerStatus
from gateway.status import GatewayStatus


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener; mode and address are empty where no supervisor told them."""

    name: str
    mode: str
    address: str
    status: ListenerStatus


@dataclass(frozen=True, slots=True)
class Link:
    """The link to one peer; address empty and limits None where no supervisor told them."""

    name: str
    address: str
    pool_min: int | None
    pool_max: int | None
    status: LinkStatus


@dataclass(frozen=True, slots=True)
class Sample:
    """A gateway at one moment.

    Attributes:
        taken_s: monotonic clock.
        life: the same for all samples of one scoreboard; another one after a restart or an upgrade.
        listeners: in the configuration's order.
        links: likewise.
        told: what the supervisor last said, see `gateway.answers`; empty where it never answered.
        is_told: it answered when it was last asked.
    """

    taken_s: float
    life: int
    status: GatewayStatus
    listeners: tuple[Listener, ...] = ()
    links: tuple[Link, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)
    is_told: bool = True

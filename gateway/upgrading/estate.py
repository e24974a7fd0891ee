"""All that a supervisor hands to its successor, as messages with descriptors. Nothing is sent here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.control import ControlServer
from gateway.runtime_dir import RuntimeDir
from gateway.sockets.holdings import Holdings
from gateway.sockets.inherited import bound_address, key_of
from gateway.upgrading import handover
from gateway.upgrading.handover import Kind
from gateway.upgrading.predecessors import Predecessors

_STDERR: Final = 2

Part = tuple[handover.Sockets, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Estate:
    """What is handed over. The descriptors stay open until the upgrade has ended, one way or the other.

    Attributes:
        parts: messages, each with the descriptors that it carries.
        offer: what ends them.
        environment: variables for the successor, on top of ours.
    """

    parts: Sequence[Part]
    offer: handover.Offer
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Belongings:
    """What there is to hand over. All of it stays the supervisor's."""

    holdings: Holdings
    control: ControlServer
    runtime: RuntimeDir
    predecessors: Predecessors
    shard_seed: int
    environment: Mapping[str, str]


def estate_of(belongings: Belongings) -> Estate:
    """Give everything that is to stay open, the log first."""
    parts = [
        *handover.sockets(Kind.LOG, [], [_STDERR]),
        *handover.sockets(Kind.LOCK, [], [belongings.runtime.lock]),
        *handover.sockets(Kind.CONTROL, [], [belongings.control.fileno()]),
        *_of_holdings(belongings.holdings),
        *_of_predecessors(belongings.predecessors),
    ]
    offer = handover.Offer(
        descriptors=sum(len(descriptors) for _, descriptors in parts),
        runtime_dir=str(belongings.runtime.path),
        shard_seed=belongings.shard_seed,
        lent=sorted(belongings.holdings.lent),
    )
    return Estate(parts, offer, belongings.environment)


def _of_holdings(holdings: Holdings) -> list[Part]:
    parts: list[Part] = []
    for group in holdings.groups:
        parts += handover.sockets(Kind.GROUP, list(key_of(group[0])), [sock.fileno() for sock in group])
    if holdings.admin is not None:
        parts += handover.sockets(Kind.ADMIN, [bound_address(holdings.admin)], [holdings.admin.fileno()])
    return parts


def _of_predecessors(predecessors: Predecessors) -> list[Part]:
    parts: list[Part] = []
    for each in predecessors.retiring:
        parts += handover.sockets(Kind.RETIRING, [round(each.since_s * 1e9)], [each.channel.fileno()])
    return parts

"""All that a supervisor hands to its successor, as messages with descriptors. Nothing is sent here."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from gateway.control import ControlServer
from gateway.runtime_dir import RuntimeDir
from gateway.sockets.holdings import Holdings
from gateway.sockets.inherited import bound_address, key_of
from gateway.upgrading import handover
from gateway.upgrading.handover import Kind
from gateway.upgrading.predecessors import Predecessors
from pools.net.errors import StartError

_STDERR: Final = 2

Part = tuple[handover.Sockets, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Estate:
    """What is handed over.

    Its descriptors are duplicates of its own: what the supervisor closes meanwhile, and whatever gets that number then,
    changes nothing in what is sent.

    Attributes:
        parts: messages, each with the descriptors that it carries.
        offer: what ends them.
        environment: variables for the successor, on top of ours.
    """

    parts: Sequence[Part]
    offer: handover.Offer
    environment: Mapping[str, str]
    _owned: ExitStack

    def close(self) -> None:
        """Close the duplicates, once they have been sent or are not wanted. Harmless when repeated."""
        self._owned.close()


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
    """Give everything that is to stay open, the log first. The caller owns it.

    Raises:
        StartError: there is no descriptor left for a duplicate.
    """
    parts = _parts(belongings)
    offer = handover.Offer(
        descriptors=sum(len(descriptors) for _, descriptors in parts),
        runtime_dir=str(belongings.runtime.path),
        shard_seed=belongings.shard_seed,
        lent=sorted(belongings.holdings.lent),
    )
    with ExitStack() as owned:
        own = [(message, [_duplicate(number, owned) for number in descriptors]) for message, descriptors in parts]
        return Estate(own, offer, belongings.environment, owned.pop_all())


def _parts(belongings: Belongings) -> list[Part]:
    return [
        *handover.sockets(Kind.LOG, [], [_STDERR]),
        *handover.sockets(Kind.LOCK, [], [belongings.runtime.lock]),
        *handover.sockets(Kind.CONTROL, [], [belongings.control.fileno()]),
        *_of_holdings(belongings.holdings),
        *_of_predecessors(belongings.predecessors),
    ]


def _duplicate(descriptor: int, owned: ExitStack) -> int:
    try:
        number = os.dup(descriptor)
    except OSError as error:
        raise StartError(f"cannot duplicate what is handed over: {os.strerror(error.errno or 0)}") from error
    owned.callback(os.close, number)
    return number


def _of_holdings(holdings: Holdings) -> list[Part]:
    parts: list[Part] = []
    for group, name in zip(holdings.groups, holdings.names, strict=True):
        key = (*key_of(group[0]), name) if name else key_of(group[0])
        parts += handover.sockets(Kind.GROUP, key, [sock.fileno() for sock in group])
    if holdings.admin is not None:
        parts += handover.sockets(Kind.ADMIN, [bound_address(holdings.admin)], [holdings.admin.fileno()])
    return parts


def _of_predecessors(predecessors: Predecessors) -> list[Part]:
    parts: list[Part] = []
    for each in predecessors.retiring:
        parts += handover.sockets(Kind.RETIRING, [round(each.since_s * 1e9)], [each.channel.fileno()])
    return parts

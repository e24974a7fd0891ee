"""What is known of another gateway from the configuration, which makes these; nothing here reads a file."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from pools.body_values import Name
from pools.net.endpoint import Endpoint
from pools.net.transport import Transport

PoolKey: TypeAlias = tuple[str, int]
"""A pool of legs: the name of the gateway that they lead to, and the edition of its settings."""

SEGMENT_BYTES: Final = 1460
"""Payload of a segment on a path that carries packets of 1,500 bytes."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another gateway, which this one holds legs to.

    Attributes:
        name: what it calls itself, and paths call it.
        address: where it takes legs in; a host name is looked up anew for each leg.
        transport: what carries the legs to it.
        congestion: congestion control of the legs to it; empty leaves the system's.
        initial_window: segments that a leg to it begins with, route and buffers willing; 0 leaves it to the system.
        warm: bytes of padding that go each way over a leg before it is lent for the first time.
        pool_min: idle legs always kept, over all workers.
        pool_max: legs at most, idle, lent and dialling, over all workers; a session that finds none idle may go beyond.
        magazine: rounds of a magazine to begin with.
        max_age: seconds after which a leg is replaced, up to a quarter earlier by chance.
        number: whose row on the link board is its own, from 0; the same over reloads.
        edition: which settings of this gateway these are: a reload that changes any of them gives another number, so
            that what is still said of legs by the former ones is told apart.
    """

    name: Name
    address: Endpoint
    transport: Transport = Transport.TCP
    congestion: str = ""
    initial_window: int = 0
    warm: int = 0
    pool_min: int = 16
    pool_max: int = 512
    magazine: int = 8
    max_age: float = 3600.0
    number: int = 0
    edition: int = 0

    @property
    def pool(self) -> PoolKey:
        """What the legs that are made by these settings belong to."""
        return self.name, self.edition

    @property
    def window_bytes(self) -> int:
        """What a leg to it shall be able to carry at once from the first; 0 leaves it to the system."""
        return self.initial_window * SEGMENT_BYTES

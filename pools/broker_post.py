"""What the broker is handed at the fork, and what it is told anew while it lives."""

import socket
from dataclasses import dataclass

from pools.body_values import Name
from pools.net.link_board import LinkBoard
from pools.net.scoreboard import Row
from pools.peer import Peer


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """What of the configuration concerns the broker.

    Attributes:
        gateway: what this gateway calls itself.
        peers: the gateways that it keeps legs to, at least one.
        workers: how many there are.
        key_file: where the overlay's keys are.
        connect_s: seconds a leg may take from the look-up of its peer's name to a connection.
        resolve_every_s: seconds after which a name is asked for again.
    """

    gateway: Name
    peers: tuple[Peer, ...]
    workers: int
    key_file: str
    connect_s: float
    resolve_every_s: float


@dataclass(frozen=True, slots=True)
class BrokerPost:
    """All that the broker owns from its first moment; the counterpart of a worker's Post.

    Attributes:
        settings: what it begins with.
        origin: what the legs it dials are numbered by (`pools.ledger`): this life of it alone has it.
        links: what it tells about each peer, by the peer's number; it alone writes there.
        row: its numbers on the scoreboard; it alone writes there.
        channel: SOCK_SEQPACKET to the supervisor, non-blocking. Channels to the workers come over it, one by one.
    """

    settings: BrokerSettings
    origin: int
    links: LinkBoard
    row: Row
    channel: socket.socket

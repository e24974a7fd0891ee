"""What a worker is handed at the fork."""

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pools.net.scoreboard import Row
from workers.settings import WorkerSettings
from workers.syn_sockets import Capture

if TYPE_CHECKING:
    from workers.source_limit import SourceTable


@dataclass(frozen=True, slots=True)
class Post:
    """All that a worker owns from its first moment.

    Attributes:
        slot: 0 to settings.workers - 1; the shard it accepts.
        core: the one it is pinned to; None where pinning is not allowed.
        settings: the same for every worker.
        listeners: its own sockets in the order of settings.listens, listening and non-blocking. The
            supervisor holds copies, so closing them here does not end their accept queues.
        row: its numbers on the scoreboard; it alone writes there.
        sources: counts per client address, shared by all workers; what the limit is, settings say.
        origin: what the legs it dials are numbered by (`pools.ledger`): this life of the slot alone has it.
        channel: SOCK_SEQPACKET to the supervisor, non-blocking. One to the broker comes over it, where there is one.
        held: it waits for the order BEGIN before it accepts: another supervisor's worker does so still.
        capture: its share of the SYNs, in the shards that its listeners have; None where no listener begins early, or
            the right to capture is missing. The supervisor holds copies of these sockets too.
    """

    slot: int
    core: int | None
    settings: WorkerSettings
    listeners: tuple[socket.socket, ...]
    row: Row
    sources: "SourceTable"
    origin: int
    channel: socket.socket
    capture: Capture | None = None
    held: bool = False

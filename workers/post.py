"""What a worker is handed at the fork, and the vocabulary of its channel to the supervisor.

Only the words are here; sending them is `pools.net.fd_passing`, acting on them `workers.worker` and
`gateway.supervisor`. End of file on the channel means that the supervisor died: the worker drains within
`timeouts.drain` and ends.
"""

import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

import msgpack

from pools.net.errors import Fault, ProtocolError
from pools.net.fd_passing import MESSAGE_LIMIT
from pools.net.scoreboard import Row
from workers.settings import WorkerSettings

if TYPE_CHECKING:
    from workers.source_limit import SourceTable

_TEXT_LIMIT: Final = 8_192  # characters, at most 4 bytes each in UTF-8: always fits one message


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
        sources: counts per client address, shared by all workers; None when there is no such limit.
        channel: SOCK_SEQPACKET to the supervisor, non-blocking.
    """

    slot: int
    core: int | None
    settings: WorkerSettings
    listeners: tuple[socket.socket, ...]
    row: Row
    sources: "SourceTable | None"
    channel: socket.socket


class Order(StrEnum):
    """What the supervisor tells a child.

    DRAIN: accept nothing new, end when no session is left or after limit_s seconds. STOP: end now. SESSIONS: the
    message carries one descriptor, a connected stream to the operator; write the live sessions there and close it.
    """

    DRAIN = "drain"
    STOP = "stop"
    SESSIONS = "sessions"


class Report(StrEnum):
    """What a child tells the supervisor.

    READY: it accepts. DRAINED: no session is left and it ends. FAILED: it cannot work; the message says why.
    """

    READY = "ready"
    DRAINED = "drained"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class OrderMessage:
    """One order on its way.

    Attributes:
        limit_s: for DRAIN, seconds from now.
    """

    order: Order
    limit_s: float = 0.0

    def encode(self) -> bytes:
        """Give the message's bytes."""
        return _pack({"order": self.order.value, "limit_s": self.limit_s})

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a message.

        Raises:
            ProtocolError: not an order.
        """
        match _unpack(payload):
            case {"order": str(word), "limit_s": float() | int() as limit_s} if word in tuple(Order) and limit_s >= 0:
                return cls(Order(word), float(limit_s))
            case other:
                raise _unknown("an order and its limit_s", other)


@dataclass(frozen=True, slots=True)
class ReportMessage:
    """One report on its way.

    Attributes:
        message: for people; the end of a long one is left out.
    """

    report: Report
    message: str = ""

    def encode(self) -> bytes:
        """Give the message's bytes."""
        return _pack({"report": self.report.value, "message": self.message[:_TEXT_LIMIT]})

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a message.

        Raises:
            ProtocolError: not a report.
        """
        match _unpack(payload):
            case {"report": str(word), "message": str(text)} if word in tuple(Report):
                return cls(Report(word), text)
            case other:
                raise _unknown("a report and its message", other)


def _pack(content: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(content, unicode_errors="replace")
    return packed


def _unpack(payload: bytes) -> object:
    if len(payload) > MESSAGE_LIMIT:
        raise _unknown(f"at most {MESSAGE_LIMIT} bytes", len(payload))
    try:
        return msgpack.unpackb(payload)
    except ValueError as error:  # msgpack's exceptions derive from it, UnicodeDecodeError too
        raise ProtocolError(f"a channel message must be msgpack: {error}", fault=Fault.OURS) from error


def _unknown(expected: str, found: object) -> ProtocolError:
    return ProtocolError(f"a channel message must hold {expected}; found {found!r:.200}", fault=Fault.OURS)

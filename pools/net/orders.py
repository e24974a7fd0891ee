"""What the supervisor and its children say to each other, one message at a time.

Only the words are here; sending them is `pools.net.fd_passing`, acting on them whoever is told. End of file on the
channel means that the other process died: a worker then drains within `timeouts.drain` and ends.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import msgpack

from pools.net.errors import Fault, ProtocolError
from pools.net.fd_passing import MESSAGE_LIMIT

_TEXT_LIMIT: Final = 8_192  # characters, at most 4 bytes each in UTF-8: always fits one message


class Order(StrEnum):
    """What the supervisor tells a child.

    DRAIN: accept nothing new, end when no session is left or after limit_s seconds. STOP: end now. SESSIONS: the
    message carries one descriptor, a connected stream to the operator; write the live sessions there and close it.
    CHANNEL: the message carries one descriptor: your end of a fresh channel between the broker and the worker in
    `slot`. It takes the place of an earlier one.
    """

    DRAIN = "drain"
    STOP = "stop"
    SESSIONS = "sessions"
    CHANNEL = "channel"


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
        slot: for CHANNEL, whose worker it leads to or comes from.
    """

    order: Order
    limit_s: float = 0.0
    slot: int = 0

    def encode(self) -> bytes:
        """Give the message's bytes."""
        return _pack({"order": self.order.value, "limit_s": self.limit_s, "slot": self.slot})

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a message.

        Raises:
            ProtocolError: not an order.
        """
        match _unpack(payload):
            case {"order": str(word), "limit_s": float() | int() as limit_s, "slot": int(slot)} if (
                word in tuple(Order) and limit_s >= 0 and slot >= 0
            ):
                return cls(Order(word), float(limit_s), slot)
            case other:
                raise _unknown("an order, its limit_s and slot", other)


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

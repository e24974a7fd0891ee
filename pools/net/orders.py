"""What the supervisor and its children say to each other, one message at a time.

Only the words are here; sending them is `pools.net.fd_passing`, acting on them whoever is told. End of file on the
channel means that the other process died: a worker then drains within `timeouts.drain` and ends.

A CONFIGURE carries, in this order: one sealed memfd with what every worker is told from now on
(`pools.net.sealed`), as many listening sockets of the slot as `listeners` says, in the order of the settings,
and as many packet sockets of the slot as `captures` says. All of them, those that the worker has already, too: what it
has and does not find among them is retired. Together they are at most `pools.net.fd_passing.DESCRIPTOR_LIMIT`.
That is a worker's; the broker's carries the memfd alone, with what of the settings concerns it, and has no answer.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import msgpack

from pools.net.errors import Fault, ProtocolError
from pools.net.fd_passing import MESSAGE_LIMIT

LINGER_S: Final = 1.0
"""How long a worker goes on accepting from a listener that is retired, in seconds: handshakes that had begun end."""

_TEXT_LIMIT: Final = 8_192  # characters, at most 4 bytes each in UTF-8: always fits one message


class Order(StrEnum):
    """What the supervisor tells a child.

    DRAIN: accept nothing new once linger_s seconds are over, end when no session is left or after limit_s seconds.
    STOP: end now. SESSIONS: the message carries one descriptor, a connected stream to the operator; write the live
    sessions there and close it. CHANNEL: the message carries one descriptor: your end of a fresh channel between the
    broker and the worker in `slot`. It takes the place of an earlier one. CONFIGURE: go on by the settings that the
    message carries, with the sockets that it carries; see the module. BEGIN: accept; for a child that was born HELD.
    """

    DRAIN = "drain"
    STOP = "stop"
    SESSIONS = "sessions"
    CHANNEL = "channel"
    CONFIGURE = "configure"
    BEGIN = "begin"


class Report(StrEnum):
    """What a child tells the supervisor.

    READY: it accepts. DRAINED: no session is left and it ends. FAILED: it cannot work; the message says why.
    CONFIGURED: new sessions are by the settings of the last CONFIGURE. HELD: it could accept, and waits for BEGIN:
    another supervisor's children still do.
    """

    READY = "ready"
    DRAINED = "drained"
    FAILED = "failed"
    CONFIGURED = "configured"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class OrderMessage:
    """One order on its way.

    Attributes:
        limit_s: for DRAIN, seconds from now.
        slot: for CHANNEL, whose worker it leads to or comes from.
        linger_s: for DRAIN, seconds from now in which what comes is still accepted, and at their end all that waits.
            0 where the listening sockets live on elsewhere: what waits in them is left there.
        listeners: for CONFIGURE, how many of the descriptors are listening sockets.
        captures: for CONFIGURE, how many are packet sockets.
    """

    order: Order
    limit_s: float = 0.0
    slot: int = 0
    linger_s: float = 0.0
    listeners: int = 0
    captures: int = 0

    def encode(self) -> bytes:
        """Give the message's bytes."""
        return _pack({name: getattr(self, name) for name in _NUMBERS} | {"order": self.order.value})

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a message.

        Raises:
            ProtocolError: not an order.
        """
        content = _unpack(payload)
        if not isinstance(content, dict) or content.keys() != _FIELDS or content["order"] not in tuple(Order):
            raise _unknown("an order, and its numbers", content)
        for name, kinds in _NUMBERS.items():
            if type(content[name]) not in kinds or not content[name] >= 0:
                raise _unknown(f"an order whose {name} is a number from 0 on", content)
        return cls(**content | {"order": Order(content["order"])})


_NUMBERS: Final[dict[str, tuple[type, ...]]] = {
    "limit_s": (float, int),
    "slot": (int,),
    "linger_s": (float, int),
    "listeners": (int,),
    "captures": (int,),
}
_FIELDS: Final = {"order", *_NUMBERS}


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

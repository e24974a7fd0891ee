"""What an old supervisor and its successor say to each other at an upgrade: the words alone, and what they may hold.

They may be of different versions of this code. So each message says by which version of these words it is meant, and
is judged before it is believed: one that is not understood ends the upgrade, never the old supervisor.

    old → new   SOCKETS for each kind of descriptor, then OFFER, which tells how many there were
    new → old   READY once all its children are, or FAILED; until then the old one goes on as if nothing were
    old → new   YOURS: the old one accepts no more; from here on it retires, and says TOTALS and LEFT now and then
    new → old   TAKEN, once whoever looks for the gateway finds the new one
    new → old   END, where the whole gateway is to end
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any, Final, Literal, TypeVar

import msgpack
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pools.net.errors import Fault, ProtocolError
from pools.net.fd_passing import DESCRIPTOR_LIMIT

VERSION: Final = 1
"""Of these words. A gateway of another one is not upgraded to, but stopped and started."""

_TEXT_LIMIT: Final = 8_192
_ROWS_LIMIT: Final = 64  # of totals in one message: far below what one holds, however long their names are
_MOST: Final = 1 << 20
_T = TypeVar("_T")

Number = Annotated[int, Field(ge=0, lt=1 << 64)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=_TEXT_LIMIT)]
Name = Annotated[str, Field(max_length=255)]
Scope = Literal["gateway", "listener", "peer"]
TotalsRow = Annotated[tuple[Scope, Name, dict[Name, Number]], Field(strict=False)]  # a list, as msgpack brings it


class Kind(StrEnum):
    """What descriptors are.

    GROUP: sockets of a listener, in slot order. CAPTURE: packet sockets, in slot order. ADMIN: the admin listener.
    CONTROL: the control socket's listener. LOCK: of the runtime directory. LOG: where the log goes. RETIRING: a channel
    to a supervisor that retires since an earlier upgrade.
    """

    GROUP = "group"
    CAPTURE = "capture"
    ADMIN = "admin"
    CONTROL = "control"
    LOCK = "lock"
    LOG = "log"
    RETIRING = "retiring"


class Words(BaseModel):
    """What all messages have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Sockets(Words):
    """Descriptors come with this, at least one.

    Attributes:
        key: which group, capture or supervisor they belong to; those of several messages with one key belong together.
            A group's ends with its listener's name where the kernel chose the port: nothing else says whose it is.
    """

    word: Literal["sockets"] = "sockets"
    kind: Annotated[Kind, Field(strict=False)]  # by its value
    key: list[Text | int | bool]


class Offer(Words):
    """All descriptors have been sent.

    Attributes:
        descriptors: how many.
        runtime_dir: the gateway's, absolute.
        shard_seed: by which its groups deal connections out.
        lent: numbers of sockets that a service manager goes on with after the gateway.
    """

    word: Literal["offer"] = "offer"
    descriptors: Annotated[int, Field(ge=0, le=_MOST)]
    runtime_dir: Text
    shard_seed: Annotated[int, Field(ge=0, lt=1 << 32)]
    lent: list[Number]


class Ready(Words):
    """The new one's children accept.

    Attributes:
        slots: workers it has. Of each group it uses as many sockets.
        unused: groups that it has no use for, by their keys.
    """

    word: Literal["ready"] = "ready"
    slots: Annotated[int, Field(ge=1, le=_MOST)]
    unused: list[list[Text | int | bool]]


class Failed(Words):
    """The new one cannot start.

    Attributes:
        exit_code: by which it ends.
        why: for people; each line a problem.
    """

    word: Literal["failed"] = "failed"
    exit_code: Annotated[int, Field(ge=0, le=255)]
    why: Text


class Yours(Words):
    """The gateway is the new one's; the old one accepts no more."""

    word: Literal["yours"] = "yours"


class Taken(Words):
    """The new one is the gateway, for whoever looks for it."""

    word: Literal["taken"] = "taken"


class Totals(Words):
    """What the old one's children have counted since it said so last.

    Attributes:
        rows: each a scope, the name of a listener or a peer there, and what was added by the name of its cell.
    """

    word: Literal["totals"] = "totals"
    rows: list[TotalsRow]


class Left(Words):
    """How far the old one is.

    Attributes:
        sessions: that still live there.
    """

    word: Literal["left"] = "left"
    sessions: Number


class End(Words):
    """The whole gateway ends.

    Attributes:
        limit_s: for which the old one's sessions may go on; 0 resets them.
    """

    word: Literal["end"] = "end"
    limit_s: Seconds


Message = Sockets | Offer | Ready | Failed | Yours | Taken | Totals | Left | End

_MESSAGE: Final[TypeAdapter[Message]] = TypeAdapter(Annotated[Message, Field(discriminator="word")])


def encode(message: Message) -> bytes:
    """Give a message's bytes."""
    packed: bytes = msgpack.packb({"version": VERSION} | message.model_dump(), unicode_errors="replace")
    return packed


def decode(payload: bytes) -> Message:
    """Read a message.

    Raises:
        ProtocolError: it is none, or of another version.
    """
    content = _unpacked(payload)
    version = content.pop("version", None) if isinstance(content, dict) else None
    if version != VERSION:
        raise _unknown(f"one of version {VERSION}", f"version {version!r:.20}")
    try:
        return _MESSAGE.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise _unknown("one with its fields", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def failed(exit_code: int, why: str) -> Failed:
    """Give the message that says why a start failed, its end left out where that is too long."""
    return Failed(exit_code=exit_code, why=why[:_TEXT_LIMIT])


def sockets(kind: Kind, key: Sequence[str | int | bool], descriptors: Sequence[int]) -> list[tuple[Sockets, list[int]]]:
    """Give the messages that pass `descriptors` on, each with those that it carries."""
    message = Sockets(kind=kind, key=list(key))
    return [(message, part) for part in _parts(descriptors, DESCRIPTOR_LIMIT)]


def totals(rows: Sequence[tuple[Scope, str, dict[str, int]]]) -> list[Totals]:
    """Give the messages that tell of `rows`; none where there are none."""
    return [Totals(rows=part) for part in _parts(rows, _ROWS_LIMIT)]


def _unpacked(payload: bytes) -> Any:
    try:
        return msgpack.unpackb(payload)
    except ValueError as error:  # msgpack's exceptions derive from it, UnicodeDecodeError too
        raise _unknown("msgpack", str(error)) from error


def _unknown(expected: str, found: str) -> ProtocolError:
    return ProtocolError(f"a message between supervisors must be {expected}; found {found}", fault=Fault.OURS)


def _parts(items: Sequence[_T], most: int) -> Iterator[list[_T]]:
    left = iter(items)
    while part := list(islice(left, most)):
        yield part

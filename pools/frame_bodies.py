"""What the bodies of control frames say: msgpack maps with short keys, read strictly.

A body is right when its map has exactly the keys of its type, each once, and each value is of its kind and within its
range. Keys and ranges are listed in docs/wire.md. No I/O, and no judgement of what is asked for.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final, NamedTuple, Protocol, Self

import msgpack

from pools.body_values import BodyValues, Name
from pools.frames import Frame, FrameType, Role
from pools.net.endpoint import Endpoint, is_address
from pools.net.errors import ProtocolError

VERSION: Final = 1
NONCE_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
MAC_BYTES: Final = 32
TRACE_BYTES: Final = 16
VIA_LIMIT: Final = 16
"""Gateways that an OPEN may still have before it."""
LINKS_LIMIT: Final = 16
"""Links that a PONG may tell of."""

PADDING_LIMIT: Final = 16 << 20
"""Bytes of padding that a PING may ask for, and that an acceptor sends on one leg in all."""

_U32: Final = range(1 << 32)
_U63: Final = range(1 << 63)
_PADDING: Final = range(1, PADDING_LIMIT + 1)
_PPM: Final = range(1_000_001)
_ERRNO: Final = range(1, 4096)  # up to MAX_ERRNO in include/linux/err.h


class Where(StrEnum):
    """What an OPEN failed at, at the gateway that refused it.

    Attributes:
        PATH: no such peer there, or a path that returns.
        POLICY: not in that gateway's list of what peers may open.
        LIMIT: that gateway has no room.
        RESOLVE: the destination's name.
        CONNECT: the connection to the destination or to the next gateway.
    """

    PATH = "path"
    POLICY = "policy"
    LIMIT = "limit"
    RESOLVE = "resolve"
    CONNECT = "connect"


class Body(Protocol):
    """The body of one type of control frame."""

    TYPE: ClassVar[FrameType]

    def content(self) -> dict[str, object]:
        """Give the map that goes over the wire."""

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read what `content` was packed to, or raise ProtocolError."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Who is at an end of the leg; the first frame each way.

    Attributes:
        version: of the wire; no other than VERSION can be read.
        gateway: the sender's name.
        role: the sender's.
        nonce: NONCE_BYTES random bytes, new for each leg.
    """

    TYPE: ClassVar = FrameType.HELLO

    gateway: Name
    role: Role
    nonce: bytes
    version: int = VERSION

    def content(self) -> dict[str, object]:
        """Give the map that goes over the wire."""
        return {"v": self.version, "g": self.gateway, "r": self.role.value, "n": self.nonce}

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a body; the version first, since another one may have other keys."""
        values = BodyValues(cls.TYPE, body)
        if (version := values.integer("v", _U32)) != VERSION:
            raise ProtocolError(f"expected version {VERSION} of the wire between gateways; found version {version}")
        values.allow("v", "g", "r", "n")
        return cls(values.name("g"), values.word("r", Role), values.octets("n", NONCE_BYTES), version)


@dataclass(frozen=True, slots=True)
class Proof:
    """That the sender has an overlay key; `pools.handshake` says over what.

    Attributes:
        key_id: which key, KEY_ID_BYTES.
        mac: MAC_BYTES.
    """

    TYPE: ClassVar = FrameType.PROOF

    key_id: bytes
    mac: bytes

    def content(self) -> dict[str, object]:
        """Give the map that goes over the wire."""
        return {"k": self.key_id, "m": self.mac}

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a body."""
        values = BodyValues(cls.TYPE, body).allow("k", "m")
        return cls(values.octets("k", KEY_ID_BYTES), values.octets("m", MAC_BYTES))


@dataclass(frozen=True, slots=True)
class Open:
    """Begin a session.

    Attributes:
        destination: what the last gateway dials: an address without a zone, or a name, and a port from 1.
        via: gateways still to cross after the one that gets this, in order; empty where it is to dial.
        client: address and port the session came from, an address's zone not among it.
        trace_id: TRACE_BYTES that are the same at all gateways.
    """

    TYPE: ClassVar = FrameType.OPEN

    destination: Endpoint
    via: tuple[Name, ...]
    client: Endpoint
    trace_id: bytes

    def returns(self, *crossed: Name) -> bool:
        """Tell whether the path crosses a gateway twice, given those `crossed` already, as far as they are known."""
        path = (*crossed, *self.via)
        return len(set(path)) < len(path)

    def content(self) -> dict[str, object]:
        """Give the map that goes over the wire. A zone names an interface of this gateway and stays here."""
        client = [self.client.host.partition("%")[0], self.client.port]
        destination = [self.destination.host, self.destination.port]
        return {"d": destination, "v": list(self.via), "c": client, "t": self.trace_id}

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a body."""
        values = BodyValues(cls.TYPE, body).allow("d", "v", "c", "t")
        destination, client = values.endpoint("d"), values.endpoint("c")
        if not destination.port or not is_address(client.host):
            raise values.wrong("a destination with a port and a client by address", f"{destination}, {client}")
        return cls(destination, values.names("v", VIA_LIMIT), client, values.octets("t", TRACE_BYTES))


@dataclass(frozen=True, slots=True)
class Opened:
    """The destination is connected.

    Attributes:
        gateway: who dialled it.
        elapsed_us: from OPEN to this answer at that gateway.
    """

    TYPE: ClassVar = FrameType.OPENED

    gateway: Name
    elapsed_us: int

    def content(self) -> dict[str, object]:
        """Give the map that goes over the wire."""
        return {"g": self.gateway, "u": self.elapsed_us}

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a body."""
        values = BodyValues(cls.TYPE, body).allow("g", "u")
        return cls(values.name("g"), values.integer("u", _U32))


@dataclass(frozen=True, slots=True)
class Refused:
    """The session cannot be, and nothing of it reached the destination.

    Attributes:
        gateway: who could not go on.
        errno: why, as Linux numbers errors, from 1.
        elapsed_us: from OPEN to this answer at that gateway.
        where: what failed there.
    """

    TYPE: ClassVar = FrameType.REFUSED

    gateway: Name
    errno: int
    elapsed_us: int
    where: Where

    def content(self) -> dict[str, object]:
        """Give the map that goes over the wire."""
        return {"g": self.gateway, "e": self.errno, "u": self.elapsed_us, "w": self.where.value}

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a body."""
        values = BodyValues(cls.TYPE, body).allow("g", "e", "u", "w")
        elapsed_us, where = values.integer("u", _U32), values.word("w", Where)
        return cls(values.name("g"), values.integer("e", _ERRNO), elapsed_us, where)


@dataclass(frozen=True, slots=True)
class Reset:
    """The session was cut off, both ways.

    Attributes:
        errno: why, as Linux numbers errors, from 1.
    """

    TYPE: ClassVar = FrameType.RESET

    errno: int

    def content(self) -> dict[str, object]:
        """Give the map that goes over the wire."""
        return {"e": self.errno}

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a body."""
        values = BodyValues(cls.TYPE, body).allow("e")
        return cls(values.integer("e", _ERRNO))


@dataclass(frozen=True, slots=True)
class Ping:
    """Is somebody there, and how far away?

    Attributes:
        number: tells an answer from another one's.
        sent_us: microseconds on the sender's own monotonic clock; nobody else reads anything from it.
        padding: bytes of padding that the answer shall come behind; 0 for none. Only an opener may ask, between
            sessions.
    """

    TYPE: ClassVar = FrameType.PING

    number: int
    sent_us: int
    padding: int = 0

    def content(self) -> dict[str, object]:
        """Give the map that goes over the wire. Who asks for no padding has no key for it."""
        wish = {"p": self.padding} if self.padding else {}
        return {"n": self.number, "t": self.sent_us, **wish}

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a body."""
        values = BodyValues(cls.TYPE, body).allow("n", "t", perhaps="p")
        padding = values.integer("p", _PADDING) if values.has("p") else 0
        return cls(values.integer("n", _U32), values.integer("t", _U63), padding)


class Link(NamedTuple):
    """What a gateway knows of the link to one of its own peers.

    Attributes:
        gateway: that peer.
        is_up: it answers, or is not known not to.
        rtt_us: smoothed round-trip time; 0 while unknown.
        loss_ppm: lost probes, parts in a million.
    """

    gateway: Name
    is_up: bool
    rtt_us: int
    loss_ppm: int


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a Ping, with its two numbers.

    Attributes:
        links: of the gateway that answers, at most LINKS_LIMIT, so that others can choose among paths that cross it.
    """

    TYPE: ClassVar = FrameType.PONG

    number: int
    sent_us: int
    links: tuple[Link, ...] = ()

    @classmethod
    def to(cls, ping: Ping, links: tuple[Link, ...] = ()) -> Self:
        """Answer `ping`."""
        return cls(ping.number, ping.sent_us, links[:LINKS_LIMIT])

    def content(self) -> dict[str, object]:
        """Give the map that goes over the wire."""
        return {"n": self.number, "t": self.sent_us, "l": [list(link) for link in self.links]}

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a body."""
        values = BodyValues(cls.TYPE, body).allow("n", "t", "l")
        links = tuple(_link(values, row) for row in values.rows("l", LINKS_LIMIT, len(Link._fields)))
        return cls(values.integer("n", _U32), values.integer("t", _U63), links)


def _link(values: BodyValues, row: list[Any]) -> Link:
    name, is_up, rtt_us, loss_ppm = row
    numbers_fit = type(rtt_us) is int and rtt_us in _U32 and type(loss_ppm) is int and loss_ppm in _PPM
    if not isinstance(is_up, bool) or not numbers_fit:
        raise values.wrong("a link to be a name, true or false, microseconds, parts in a million", row)
    return Link(values.named("l", name), is_up, rtt_us, loss_ppm)


def encode(body: Body, *, session: int = 0) -> bytes:
    """Give the frame with `body` as it goes over the wire, of `session` where it belongs to one.

    Raises:
        ProtocolError: ours: longer than its type may be.
    """
    return Frame(body.TYPE, session, msgpack.packb(body.content())).encode()


def decode(frame: Frame) -> Body | None:
    """Give what `frame` says; None for FIN and GOAWAY, whose type says it all.

    Raises:
        ProtocolError: its body is not what its type must have.
    """
    kind = _BODIES.get(frame.type)
    return kind.read(frame.body) if kind else None


_BODIES: Final[dict[FrameType, type[Body]]] = {
    kind.TYPE: kind for kind in (Hello, Proof, Open, Opened, Refused, Reset, Ping, Pong)
}

"""Frames on a leg between gateways: the header, what each type may hold, and taking a stream apart.

Bytes only. What the bodies of control frames say is in `pools.frame_bodies`, in which order frames may come in
`pools.leg_state`; the whole wire is written down in docs/wire.md.
"""

from collections.abc import Iterator
from enum import IntEnum, StrEnum
from struct import Struct
from typing import Final, NamedTuple

from pools.net.errors import Fault, ProtocolError

HEADER_BYTES: Final = 8
DATA_LIMIT: Final = 1 << 20
"""Bytes that one DATA or PAD frame may carry."""
SESSION_MODULUS: Final = 1 << 16

_HEADER: Final = Struct("!BBHI")  # type, flags, session, length


class Role(StrEnum):
    """Which end of a leg: the opener dialled it, and it alone opens sessions on it; the acceptor accepted it."""

    OPENER = "opener"
    ACCEPTOR = "acceptor"

    @property
    def other(self) -> "Role":
        """The role of the gateway at the other end."""
        return Role.ACCEPTOR if self is Role.OPENER else Role.OPENER


class FrameType(IntEnum):
    """What a frame is. Numbers never change; a new one means a new version of the wire."""

    HELLO = 1
    PROOF = 2
    OPEN = 3
    OPENED = 4
    REFUSED = 5
    DATA = 6
    FIN = 7
    RESET = 8
    PING = 9
    PONG = 10
    GOAWAY = 11
    PAD = 12


class _Rule(NamedTuple):
    type: FrameType
    least: int
    most: int


# A type that is not here does not exist. Bodies of control frames are far smaller than 16 KiB, and held to what they
# can need, since a stranger may send the first two.
_RULES: Final = {
    rule.type.value: rule
    for rule in (
        _Rule(FrameType.HELLO, 1, 512),
        _Rule(FrameType.PROOF, 1, 128),
        _Rule(FrameType.OPEN, 1, 2048),
        _Rule(FrameType.OPENED, 1, 128),
        _Rule(FrameType.REFUSED, 1, 128),
        _Rule(FrameType.DATA, 1, DATA_LIMIT),
        _Rule(FrameType.FIN, 0, 0),
        _Rule(FrameType.RESET, 1, 16),
        _Rule(FrameType.PING, 1, 32),
        _Rule(FrameType.PONG, 1, 2048),
        _Rule(FrameType.GOAWAY, 0, 0),
        _Rule(FrameType.PAD, 1, DATA_LIMIT),
    )
}
_STREAMED: Final = (FrameType.DATA, FrameType.PAD)
_DATA: Final = FrameType.DATA
_new_tuple: Final = tuple.__new__  # makes a NamedTuple without a call of its own constructor, which is Python

CONTROL_LIMIT: Final = max(rule.most for rule in _RULES.values() if rule.type not in _STREAMED)
"""Bytes that the longest body of a control frame may have: what a reader holds at most, beside a header."""


class Header(NamedTuple):
    """The eight bytes before each body.

    Attributes:
        type: what the frame is.
        session: count of this leg's sessions, modulo 65536; 0 in frames that belong to none.
        length: bytes of the body.
    """

    type: FrameType
    session: int
    length: int

    @classmethod
    def unpack(cls, packed: "bytearray | memoryview") -> "Header":
        """Read a header and judge it by itself, before anything of its body is kept.

        Raises:
            ProtocolError: no such type, a flag, or a length that the type does not allow.
        """
        number, flags, session, length = _HEADER.unpack_from(packed)
        rule = _RULES.get(number)
        if rule is None:
            raise ProtocolError(f"expected a frame of type 1 to {len(_RULES)}; found {number}")
        if flags:
            raise ProtocolError(f"expected a {rule.type.name} frame without flags; found {flags:#04x}")
        if not rule.least <= length <= rule.most:
            raise _wrong_length(rule, length, fault=Fault.THEIRS)
        return cls(rule.type, session, length)

    def pack(self) -> bytes:
        """Write the header.

        Raises:
            ProtocolError: ours: a length that the type does not allow.
        """
        rule = _RULES[self.type]
        if not rule.least <= self.length <= rule.most:
            raise _wrong_length(rule, self.length, fault=Fault.OURS)
        return _HEADER.pack(self.type, 0, self.session, self.length)


class Frame(NamedTuple):
    """A control frame, whole.

    Attributes:
        type: any but DATA and PAD.
        session: as in `Header`.
        body: as it came; `pools.frame_bodies` reads it.
    """

    type: FrameType
    session: int = 0
    body: bytes = b""

    def encode(self) -> bytes:
        """Give the frame as it goes over the wire. Raises as `Header.pack`."""
        return Header(self.type, self.session, len(self.body)).pack() + self.body


class Payload(NamedTuple):
    """A stretch of a DATA or PAD frame's body.

    Attributes:
        header: the frame's; a transit sends it on as it is, but for the session, and the stretches after it.
        part: the stretch, in the buffer that was fed: gone with the next read into that buffer.
        begins: this is the frame's first stretch. It comes as soon as the header is known, and may be empty.
    """

    header: Header
    part: memoryview
    begins: bool


def data_header(session: int, length: int) -> bytes:
    """Give the header of a DATA frame, to go out with its payload in one sendmsg(2).

    Raises:
        ProtocolError: ours: no payload, or more than DATA_LIMIT bytes.
    """
    if not 0 < length <= DATA_LIMIT:  # once a message: straight, in a third of the time that Header takes
        raise ProtocolError(f"a DATA frame must have 1 to {DATA_LIMIT} bytes; found {length}", fault=Fault.OURS)
    return _HEADER.pack(FrameType.DATA, 0, session, length)


def put_data_header(buffer: memoryview, session: int, length: int) -> None:
    """Write the header of a DATA frame to the start of `buffer`; the caller has kept to `data_header`'s limits."""
    _HEADER.pack_into(buffer, 0, _DATA, 0, session, length)


class FrameReader:
    """Takes a stream apart: control frames whole, payload as the stretches that are in the buffer already.

    What of a payload is not there yet need not come this way. While `payload_left` is not 0, the next that many bytes
    of the socket are payload and nothing else: splice them and say so with `spliced`, or read and feed them.

    Attributes:
        payload_left: bytes of the current DATA or PAD frame that were neither given nor spliced.
    """

    __slots__ = ("_header", "_held", "_wanted", "payload_left")

    def __init__(self) -> None:
        self.payload_left = 0
        self._header = Header(FrameType.PAD, 0, 0)  # of the payload that is on its way
        self._held = bytearray()  # the beginning of a header, or of a control frame: CONTROL_LIMIT + 8 bytes at most
        self._wanted = HEADER_BYTES

    def __repr__(self) -> str:
        return f"<FrameReader held={len(self._held)} payload_left={self.payload_left}>"

    @property
    def data_left(self) -> int:
        """Bytes of the current DATA frame that are still to come; 0 while it is padding that comes."""
        return self.payload_left if self._header.type is FrameType.DATA else 0

    @property
    def is_between_frames(self) -> bool:
        """Whether nothing of a next frame has come: a stream that ends here was not cut off."""
        return not self._held and not self.payload_left

    def take(self, view: memoryview) -> tuple[Frame | Payload | None, memoryview]:
        """Give the next thing that `view` brings, and what of `view` is behind it.

        Args:
            view: the bytes that follow those taken and spliced so far.

        Returns:
            A control frame, a stretch of payload, or None when `view` does not bring the whole of either; and the rest
            of `view`, to be taken next, which is empty after None. What it had before that is held.

        Raises:
            ProtocolError: bytes that no frame can begin with. Where the next frame begins cannot be known any more, so
                close the leg.
        """
        if self.payload_left:
            return self._stretch(view, begins=False) if view else (None, view)
        if self._held or len(view) < HEADER_BYTES:
            return self._complete(view)
        number, flags, session, length = _HEADER.unpack_from(view)
        end = HEADER_BYTES + length
        if number == _DATA and not flags and 0 < length <= DATA_LIMIT and end <= len(view):
            # Once a message: straight, in half the time that the calls below take (0.95 µs, not 1.8).
            header = _new_tuple(Header, (_DATA, session, length))
            return _new_tuple(Payload, (header, view[HEADER_BYTES:end], True)), view[end:]
        header = Header.unpack(view)
        if header.type in _STREAMED:
            return self._begin(header, view[HEADER_BYTES:])
        if end > len(view):
            return self._complete(view)
        return Frame(header.type, session, bytes(view[HEADER_BYTES:end])), view[end:]

    def begins_data(self, view: memoryview) -> Header | None:
        """Take the header of a DATA frame that `view` consists of; None, with nothing changed, where it is no such one.

        The short cut of `take` for who reads one header at a time, to splice what follows: a third of its time.
        """
        if self._held or self.payload_left or len(view) != HEADER_BYTES:
            return None
        number, flags, session, length = _HEADER.unpack_from(view)
        if number != _DATA or flags or not 0 < length <= DATA_LIMIT:
            return None
        self._header = _new_tuple(Header, (_DATA, session, length))
        self.payload_left = length
        return self._header

    def feed(self, view: memoryview) -> Iterator[Frame | Payload]:
        """Give all that `view` brings, one after another, as `take` does."""
        while view:
            event, view = self.take(view)
            if event is not None:
                yield event

    def spliced(self, count: int) -> None:
        """Hear that `count` bytes of payload left the socket without passing through here.

        Raises:
            ProtocolError: ours: more than there was of the current frame.
        """
        if not 0 <= count <= self.payload_left:
            raise ProtocolError(
                f"at most {self.payload_left} bytes of payload could be spliced; found {count}", fault=Fault.OURS
            )
        self.payload_left -= count

    def _begin(self, header: Header, view: memoryview) -> tuple[Payload, memoryview]:
        self._header, self.payload_left = header, header.length
        return self._stretch(view, begins=True)

    def _stretch(self, view: memoryview, *, begins: bool) -> tuple[Payload, memoryview]:
        part = view[: self.payload_left]
        self.payload_left -= len(part)
        return Payload(self._header, part, begins), view[len(part) :]

    def _complete(self, view: memoryview) -> tuple[Frame | Payload | None, memoryview]:
        """Put what was cut together again: the header first, which tells how much of a body there must be."""
        while True:
            missing = self._wanted - len(self._held)
            self._held += view[:missing]
            view = view[missing:]
            if len(self._held) < self._wanted:
                return None, view
            header = Header.unpack(self._held)
            if header.type in _STREAMED or len(self._held) == HEADER_BYTES + header.length:
                break
            self._wanted = HEADER_BYTES + header.length
        body = bytes(self._held[HEADER_BYTES:])
        self._held.clear()
        self._wanted = HEADER_BYTES
        if header.type in _STREAMED:
            return self._begin(header, view)
        return Frame(header.type, header.session, body), view


def _wrong_length(rule: _Rule, length: int, *, fault: Fault) -> ProtocolError:
    expected = f"{rule.least} to {rule.most} bytes" if rule.most else "no body"
    return ProtocolError(f"a {rule.type.name} frame must have {expected}; found {length}", fault=fault)

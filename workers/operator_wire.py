"""What an operator's command reads from the supervisor and from workers: length-prefixed msgpack, and a session's row.

Bytes only. The stream is AF_UNIX SOCK_STREAM; each frame is a big-endian u32 length and that many bytes of msgpack.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Final, Self

import msgpack

from pools.net.errors import ProtocolError

FRAME_LIMIT: Final = 1024 * 1024
ROWS_PER_FRAME: Final = 500

_LENGTH: Final = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One live session, as `gateway sessions` shows it.

    Attributes:
        listener: its listener's name.
        client: address and port that the inbound leg came from.
        destination: address and port of the outbound leg; what the client asked for while that is not open yet.
        forward_bytes: inbound to outbound; backward_bytes the other way.
        inbound_rtt_us: smoothed round-trip time, 0 while unknown; likewise outbound.
        inbound_retransmits: segments sent again so far; likewise outbound.
    """

    listener: str
    client: str
    destination: str
    age_s: float
    forward_bytes: int
    backward_bytes: int
    inbound_rtt_us: int
    inbound_retransmits: int
    outbound_rtt_us: int
    outbound_retransmits: int

    @classmethod
    def decode(cls, content: object) -> Self:
        """Read one row of a frame.

        Raises:
            ProtocolError: not a row of this version.
        """
        if not isinstance(content, list) or len(content) != len(fields(cls)):
            raise ProtocolError(f"a session's row must be a list of {len(fields(cls))}; found {content!r:.100}")
        return cls(*content)


def frame(content: object) -> bytes:
    """Give one frame holding `content`.

    Raises:
        ProtocolError: it is longer than FRAME_LIMIT.
    """
    packed: bytes = msgpack.packb(content, unicode_errors="replace")
    if len(packed) > FRAME_LIMIT:
        raise ProtocolError(f"a frame must have at most {FRAME_LIMIT} bytes; found {len(packed)}")
    return _LENGTH.pack(len(packed)) + packed


def row_frames(rows: Sequence[SessionRow]) -> Iterator[bytes]:
    """Give `rows` as frames of up to ROWS_PER_FRAME each, for a worker to write with pauses in between."""
    for start in range(0, len(rows), ROWS_PER_FRAME):
        yield frame([astuple(row) for row in rows[start : start + ROWS_PER_FRAME]])


class FrameReader:
    """Cuts a stream into frames.

    Args:
        limit: bytes that a frame may have.
    """

    def __init__(self, limit: int = FRAME_LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def is_between_frames(self) -> bool:
        """Whether nothing of a next frame has come: a stream that ends here was not cut off."""
        return not self._buffer

    def feed(self, received: bytes) -> Iterator[Any]:
        """Give what each frame holds that is complete now.

        Raises:
            ProtocolError: a frame that is too long, or is not msgpack.
        """
        self._buffer += received
        while (content := self._next()) is not None:
            yield _unpack(content)

    def _next(self) -> bytes | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self._limit:
            raise ProtocolError(f"a frame must have at most {self._limit} bytes; found {length}")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        content = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return content


def _unpack(content: bytes) -> Any:
    try:
        return msgpack.unpackb(content)
    except ValueError as error:  # msgpack's exceptions derive from it
        raise ProtocolError(f"a frame must hold msgpack: {error}") from error

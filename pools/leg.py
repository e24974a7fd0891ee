"""A leg between two gateways: a stream that speaks frames, one session after another.

Frames are taken apart by `pools.frames`, and may come in the order that `pools.leg_state` allows; payload is moved by
`pools.leg_pumps`. Here is what goes between: control frames said and heard, whose turn it is to write, and whether the
leg may be used again. Who keeps a leg between sessions is its keeper.
"""

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from pools.frame_bodies import Body, Link, Open, Opened, Ping, Pong, Refused, Reset, decode, encode
from pools.frame_stream import FrameStream
from pools.frames import Frame, FrameType, Payload, Role
from pools.leg_state import LegState, State
from pools.message_rules import LegCard
from pools.net.errors import ProtocolError
from pools.net.resolver import SocketAddress
from pools.net.sockopts import Socket
from pools.net.stream import StreamFailed

if TYPE_CHECKING:
    from pools.net.readiness import Readiness

_SHARE: Final = 128  # reads of RECEIVE_BYTES before other legs have their turn: as much as a pump moves
_NO_SESSION: Final = frozenset({FrameType.PING, FrameType.PONG, FrameType.GOAWAY})


class LegKeeper(Protocol):
    """Who has a leg between its sessions. Called in the hub or a session's greenlet; must neither block nor raise."""

    def regain(self, leg: "PoolLeg") -> None:
        """Take back a leg whose session ended in order. At an opener it can be lent again at once.

        At an acceptor the opener of a refused session may still send, and either end may be going away.
        """

    def lost(self, leg: "PoolLeg") -> None:
        """Hear that a leg is closed, whoever closed it."""


class PoolLeg(FrameStream):
    """One end of a leg between gateways. Made by `Readiness.open`; the handshake comes before `begin`.

    Attributes:
        peer: the other gateway's name; empty before `begin`.
        state: which frames may come; `begin` sets the role.
        card: what is known of it wherever it goes; None at the acceptor, whose legs stay in their process.
        keeper: who has it between sessions; None while nobody does.
        links: gives what a PING is answered with, see `pools.frame_bodies.Pong`.
        padder: answers a PING that asks for padding; None where nobody may ask.
        padded_bytes: padding that was sent here because the other end asked for it.
        is_padding: the answer to such a PING is on its way.
        told_links: the peer's own links, by its last PONG.
        retransmits: segments sent again up to the end of its last session, for whoever counts those of the next.
    """

    __slots__ = (
        "_address",
        "card",
        "is_padding",
        "keeper",
        "links",
        "padded_bytes",
        "padder",
        "peer",
        "retransmits",
        "state",
        "told_links",
    )

    def __init__(self, readiness: "Readiness", sock: Socket, fd: int) -> None:
        super().__init__(readiness, sock, fd)
        self.peer = ""
        self.state = LegState(Role.OPENER)
        self.card: LegCard | None = None
        self.keeper: LegKeeper | None = None
        self.retransmits = 0
        self.links: Callable[[], tuple[Link, ...]] = tuple
        self.told_links: tuple[Link, ...] = ()
        self.padder: Callable[[PoolLeg, Ping], None] | None = None
        self.padded_bytes = 0
        self.is_padding = False
        self._address: SocketAddress | None = None

    def __repr__(self) -> str:
        return f"<PoolLeg fd={self.fd} to {self.peer or 'nobody yet'} {self.state!r}>"

    @property
    def address(self) -> SocketAddress:
        """The other end's address, asked for once. Raises StreamFailed: the connection is broken."""
        if self._address is None:
            try:
                self._address = self.socket.getpeername()
            except OSError as error:
                raise StreamFailed(error) from error
        return self._address

    def begin(self, role: Role, peer: str, *, session: int = 0, card: LegCard | None = None) -> None:
        """Begin, or go on in this process, with a leg whose other end is known to be `peer`."""
        self.state = LegState(role, session=session)
        self.peer = peer
        self.card = card

    # Between sessions.

    def is_fit(self, now_s: float) -> bool:
        """Tell whether the leg may be lent: at rest, with nothing to read, nothing owed, and not too old."""
        return (
            self.fd >= 0
            and not self.readable
            and not self.rest
            and not self.owed
            and self.state.is_reusable
            and self.reader.is_between_frames
            and (self.card is None or now_s < self.card.expires_s)
        )

    def hand_over(self) -> None:
        """Let go of a leg that another process has now: its connection lives on there. The keeper hears nothing."""
        self.keeper = None
        self._readiness.release(self)
        self.fd = -1
        self.socket.close()

    def hear_open(self) -> Open | None:
        """Read, without waiting, up to the next session's OPEN; for an acceptor's leg, in the hub.

        What is still under way from a session that was refused here is thrown away.

        Returns:
            The OPEN; None when nothing more has come yet, or, still `readable`, when this leg has had its share.

        Raises:
            StreamFailed: the connection is broken, or its end cut something off.
            EndOfLeg: the opener has closed it in order.
            ProtocolError: what came may not come.
        """
        for _ in range(_SHARE):
            if not self.rest and not self.receive_at_once():
                break
            while self.rest:
                frame = self._next_frame()
                body = self.hear(frame) if frame is not None else None
                if isinstance(body, Open):
                    return body
        return None

    # While a session is opened.

    def hear_answer(self) -> Opened | Refused | None:
        """Read, without waiting, up to the answer to OPEN; for an opener. None while it has not come.

        Raises:
            StreamFailed: the leg broke, or the other end reset the session.
            ProtocolError: what came may not come.
        """
        while self.rest or self.receive_at_once():
            frame = self._next_frame()
            body = self.hear(frame) if frame is not None else None
            if isinstance(body, Opened | Refused):
                return body
            if isinstance(body, Reset):
                raise _cut_off(body.errno)
        return None

    # Saying.

    def say(self, body: Body, *, may_wait: bool = False) -> None:
        """Write a control frame, of the session where it belongs to one. Never waits: what does not fit is owed.

        Args:
            may_wait: as in `write`.

        Raises:
            ProtocolError: ours: it may not be said now; theirs: the peer reads nothing of what it asks for.
            StreamFailed: the connection is broken.
        """
        kind = body.TYPE
        session = self._session_for(kind)
        self.state.sent(kind, session)
        self.write(encode(body, session=session), may_wait=may_wait)

    def say_plain(self, kind: FrameType) -> None:
        """Write a FIN or a GOAWAY, as `say` does."""
        session = self._session_for(kind)
        self.state.sent(kind, session)
        self.write(Frame(kind, session).encode())

    def at_end(self) -> StreamFailed:
        """Give what it means that the other end says no more: only between sessions it may."""
        if self.state.in_session or not self.reader.is_between_frames:
            return _cut_off(errno.ECONNRESET)
        return EndOfLeg(OSError(errno.ENOTCONN, "the leg was closed in order"))

    # As one end of a session; see `pools.net.stream.Stream`.

    def end_output(self) -> None:
        """Say FIN. Raises StreamFailed."""
        self.say_plain(FrameType.FIN)

    def last_words(self, number: int) -> bool:
        """Say RESET where a session is there to be reset, and nothing stands half written."""
        if self.fd < 0 or self.mid_frame or not self.state.in_session:
            return False
        try:
            self.say(Reset(number or errno.ECONNABORTED))
        except (StreamFailed, ProtocolError):
            return False
        return True

    def late_error(self) -> int:
        """Go on hearing what comes behind a FIN; as in `Stream`."""
        try:
            while self.rest or self.receive_at_once():
                frame = self._next_frame()
                if frame is not None and isinstance(body := self.hear(frame), Reset):
                    return body.errno
        except StreamFailed as failure:
            return failure.errno
        except ProtocolError:
            return errno.EPROTO
        return 0

    def finish(self) -> None:
        """Give the leg back to its keeper, its session having ended in order; a leg that is done with is closed.

        Where our own direction is the last to end, this says so.
        """
        if self.fd >= 0 and self.state.ours is State.OPEN:
            try:
                self.end_output()
            except StreamFailed:
                self.close()
                return
        if self.keeper is not None and self.fd >= 0 and not self.mid_frame and self._may_go_back():
            self.on_readable = None
            self.keeper.regain(self)
        else:
            super().finish()

    def close(self) -> None:
        """Close as any stream, and tell the keeper."""
        if self.fd < 0:
            return
        super().close()
        keeper, self.keeper = self.keeper, None
        if keeper is not None:
            keeper.lost(self)

    def _may_go_back(self) -> bool:
        if self.state.role is Role.OPENER:
            return self.state.is_reusable
        # The opener may still send to a session refused here, and after GOAWAY it is the opener who closes.
        return not self.state.is_spent and self.state.ours in (State.IDLE, State.ENDED)

    def _session_for(self, kind: FrameType) -> int:
        if kind in _NO_SESSION:
            return 0
        return self.state.next_session if kind is FrameType.OPEN else self.state.session

    def _next_frame(self) -> Frame | None:
        """Take the next control frame out of `rest`; None where that held none up to a payload's end, or its own."""
        item, left = self.reader.take(memoryview(self.rest))
        self.rest = bytes(left)
        if isinstance(item, Payload):
            self._judge_payload(item)
            return None
        return item

    def _judge_payload(self, payload: Payload) -> None:
        """Throw away padding, and what comes for a session that was refused; anything else may not come now."""
        if payload.begins:
            self.state.received(payload.header.type, payload.header.session)
        if payload.header.type is FrameType.DATA and self.state.ours is not State.ENDED:
            raise ProtocolError("expected no payload before the answer to OPEN; found DATA")

    def hear(self, frame: Frame) -> Body | None:
        """Take note of a control frame: give what it says, having answered what any leg answers.

        Raises:
            ProtocolError: it may not come now, or makes no sense.
            StreamFailed: the answer could not be written.
        """
        self.state.received(frame.type, frame.session)
        body = decode(frame)
        if isinstance(body, Pong):
            self.told_links = body.links
        elif isinstance(body, Ping):
            self._answer(body)
        elif self.is_padding and isinstance(body, Open):
            raise ProtocolError("expected no OPEN before the PONG behind the padding; found one")
        return body

    def _answer(self, ping: Ping) -> None:
        if not ping.padding:
            self.say(Pong.to(ping, self.links()))
        elif self.padder is None or self.state.in_session:
            raise ProtocolError("expected a wish for padding from an opener between sessions only; found one")
        else:
            self.padder(self, ping)


class EndOfLeg(StreamFailed):
    """The other end closed the leg between two sessions: nothing is wrong."""


def _cut_off(number: int) -> StreamFailed:
    return StreamFailed(OSError(number, os.strerror(number)))

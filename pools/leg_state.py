"""Which frame may come when, on a leg whose handshake is done: a table for each role.

Both gateways keep the same two states, the opener's and the acceptor's, and move them by the frames of each. Pure:
no sockets, no bodies, no clock. What a frame makes a gateway do is its leg's business.
"""

from enum import StrEnum, auto
from typing import Final

from pools.frames import SESSION_MODULUS, FrameType, Role
from pools.net.errors import Fault, ProtocolError


class State(StrEnum):
    """How far one end of a leg has come with the session, by the frames that it sent.

    Attributes:
        IDLE: no session.
        OPENING: the acceptor has an OPEN to answer.
        OPEN: it may send payload.
        ENDED: it sent FIN or REFUSED, and waits for the other end's FIN.
        SPENT: it sent RESET. No more comes from it, and the leg is closed.
    """

    IDLE = auto()
    OPENING = auto()
    OPEN = auto()
    ENDED = auto()
    SPENT = auto()


_Table = dict[State, dict[FrameType, State]]

# What each end may send, and what it has come to by sending it. PING, PONG, PAD and GOAWAY belong to no session and
# move no state; their rules are in `_check_apart`. An idle end's RESET is
# older than that: it has crossed the FIN which ended the session here.
_TABLES: Final[dict[Role, _Table]] = {
    Role.OPENER: {
        State.IDLE: {FrameType.OPEN: State.OPEN, FrameType.RESET: State.SPENT},
        State.OPEN: {FrameType.DATA: State.OPEN, FrameType.FIN: State.ENDED, FrameType.RESET: State.SPENT},
        State.ENDED: {FrameType.RESET: State.SPENT},
        State.SPENT: {},
    },
    Role.ACCEPTOR: {
        State.IDLE: {FrameType.RESET: State.SPENT},
        State.OPENING: {
            FrameType.OPENED: State.OPEN,
            FrameType.REFUSED: State.ENDED,
            FrameType.RESET: State.SPENT,
        },
        State.OPEN: {FrameType.DATA: State.OPEN, FrameType.FIN: State.ENDED, FrameType.RESET: State.SPENT},
        State.ENDED: {FrameType.RESET: State.SPENT},
        State.SPENT: {},
    },
}
_APART: Final = frozenset({FrameType.PING, FrameType.PONG, FrameType.PAD, FrameType.GOAWAY})

# A member asked of its enumeration costs as much as a call on CPython 3.11, 0.2 µs, and a session asked 60 times here.
_IDLE: Final = State.IDLE
_OPENING: Final = State.OPENING
_ENDED: Final = State.ENDED
_SPENT: Final = State.SPENT
_OPEN: Final = FrameType.OPEN
_RESET: Final = FrameType.RESET


class LegState:
    """Both ends of one leg, as far as the frames that this one has sent and received tell.

    Args:
        role: ours.
        session: number of the leg's last session; 0 when there was none. A leg that changes hands while `is_reusable`
            takes nothing else along.

    Attributes:
        ours: how far this end is.
        theirs: how far the other end is.
        session: number of the session, or between sessions of the last one. The first is 1; 0 follows 65535.
        going_away: who said GOAWAY.
    """

    __slots__ = ("_other", "_unanswered", "going_away", "ours", "role", "session", "theirs")

    def __init__(self, role: Role, *, session: int = 0) -> None:
        self.role = role
        self.session = session
        self.ours = self.theirs = _IDLE
        self.going_away: frozenset[Role] = frozenset()
        self._other = role.other
        self._unanswered: frozenset[Role] = frozenset()  # whose PING

    def __repr__(self) -> str:
        away = " going away" if self.going_away else ""
        return f"<LegState {self.role} session={self.session} ours={self.ours} theirs={self.theirs}{away}>"

    @property
    def next_session(self) -> int:
        """The number that the next OPEN must carry."""
        return (self.session + 1) % SESSION_MODULUS

    @property
    def in_session(self) -> bool:
        """Whether an end of the stream here would cut a session off."""
        return not (self.ours is self.theirs is _IDLE) and not self.is_spent

    @property
    def is_spent(self) -> bool:
        """Whether a session was reset on this leg: it can only be closed, and a session begun meanwhile must move."""
        return self.ours is _SPENT or self.theirs is _SPENT

    @property
    def is_reusable(self) -> bool:
        """Whether both ends are idle, neither goes away, and no PING waits. The stream must hold nothing unread too."""
        return self.ours is self.theirs is _IDLE and not (self.going_away or self._unanswered)

    @property
    def awaits_pong(self) -> bool:
        """Whether a PING of ours has no answer yet."""
        return self.role in self._unanswered

    def sent(self, frame: FrameType, session: int) -> None:
        """Note a frame that this end is about to send.

        Raises:
            ProtocolError: ours: it may not come now. Nothing has changed.
        """
        if frame in _APART:
            self._note_apart(self.role, frame, session)
            return
        self.ours = self._judge(self.role, self.ours, frame, session)
        if frame is _OPEN:
            self.session, self.theirs = session, _OPENING
        elif self.ours is _ENDED:
            self._end_together()

    def received(self, frame: FrameType, session: int) -> None:
        """Note a frame of the other end. What comes after our RESET was under way already, and is not judged.

        Raises:
            ProtocolError: theirs: it may not come now. Nothing has changed; close the leg.
        """
        if self.ours is _SPENT:
            return
        if frame in _APART:
            self._note_apart(self._other, frame, session)
            return
        self.theirs = self._judge(self._other, self.theirs, frame, session)
        if frame is _OPEN:
            self.session, self.ours = session, _OPENING
        elif self.theirs is _ENDED:
            self._end_together()

    def _judge(self, sender: Role, state: State, frame: FrameType, session: int) -> State:
        """Give the state that `frame` takes its sender to, if it may come now and belongs to this session."""
        moved = _TABLES[sender][state].get(frame)
        if moved is None:
            raise self._wrong(sender, frame, f"while it is {state}")
        if frame is _OPEN or frame is _RESET or session != self.session:
            self._check_session(sender, frame, session)
        if frame is _OPEN:
            self._check_open(sender)
        return moved

    def _check_session(self, sender: Role, frame: FrameType, session: int) -> None:
        expected = self.next_session if frame is _OPEN else self.session
        if frame is _RESET and sender is self.role and not self.in_session:
            raise self._wrong(sender, frame, "between sessions")
        if session == expected or (frame is _RESET and self._may_be_late(sender, session)):
            return
        raise self._wrong(sender, frame, f"of session {session}; expected {expected}")

    def _may_be_late(self, sender: Role, session: int) -> bool:
        """Tell whether the acceptor's RESET may have crossed the FIN that ended its session, and the next OPEN."""
        return sender is not self.role and session == (self.session - 1) % SESSION_MODULUS

    def _check_open(self, sender: Role) -> None:
        """Judge an OPEN of an idle opener. At the acceptor, one may have crossed its GOAWAY: serve or refuse it."""
        acceptor = self.ours if self.role is Role.ACCEPTOR else self.theirs
        if acceptor is not _IDLE:
            raise self._wrong(sender, FrameType.OPEN, f"while the acceptor is {acceptor}")
        if Role.OPENER in self.going_away or (self.going_away and self.role is Role.OPENER):
            raise self._wrong(sender, FrameType.OPEN, "after GOAWAY")

    def _note_apart(self, sender: Role, frame: FrameType, session: int) -> None:
        self._check_apart(sender, frame, session)
        self._move_apart(sender, frame)

    def _check_apart(self, sender: Role, frame: FrameType, session: int) -> None:
        if session:
            raise self._wrong(sender, frame, f"of session {session}; expected 0")
        if (self.ours if sender is self.role else self.theirs) is _SPENT:
            raise self._wrong(sender, frame, "after RESET")
        if frame is FrameType.PING and sender in self._unanswered:
            raise self._wrong(sender, frame, "while the last one has no answer")
        if frame is FrameType.PONG and sender.other not in self._unanswered:
            raise self._wrong(sender, frame, "without a PING")
        if frame is FrameType.GOAWAY and sender in self.going_away:
            raise self._wrong(sender, frame, "twice")

    def _move_apart(self, sender: Role, frame: FrameType) -> None:
        if frame is FrameType.PING:
            self._unanswered |= {sender}
        elif frame is FrameType.PONG:
            self._unanswered -= {sender.other}
        elif frame is FrameType.GOAWAY:
            self.going_away |= {sender}

    def _end_together(self) -> None:
        if self.ours is self.theirs is _ENDED:
            self.ours = self.theirs = _IDLE

    def _wrong(self, sender: Role, frame: FrameType, why: str) -> ProtocolError:
        fault = Fault.OURS if sender is self.role else Fault.THEIRS
        return ProtocolError(f"the {sender} may not send {frame.name} {why}", fault=fault)

"""Transcripts of a leg, as its two ends see them; and machines in which frames cross and nobody is misunderstood."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pools.frames import FrameType, Role
from pools.leg_state import LegState, State
from pools.net.errors import Fault, ProtocolError

OPEN, OPENED, REFUSED, DATA = FrameType.OPEN, FrameType.OPENED, FrameType.REFUSED, FrameType.DATA
FIN, RESET = FrameType.FIN, FrameType.RESET
PING, PONG, GOAWAY, PAD = FrameType.PING, FrameType.PONG, FrameType.GOAWAY, FrameType.PAD
APART = (PING, PONG, GOAWAY, PAD)


def after(transcript: str, role: Role = Role.OPENER) -> LegState:
    """Play frames, as `>OPEN <OPENED`: those of the opener and those of the acceptor, on the leg's first session."""
    state = LegState(role)
    for word in transcript.split():
        frame = FrameType[word[1:]]
        by_opener = word[0] == ">"
        note = state.sent if by_opener is (role is Role.OPENER) else state.received
        note(frame, 0 if frame in APART else 1)
    return state


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "transcript",
    [
        ">OPEN <OPENED >DATA <DATA >FIN <DATA <FIN",
        ">OPEN >DATA >FIN <OPENED <FIN",
        ">OPEN <OPENED <FIN >DATA >FIN",
        ">OPEN >DATA <REFUSED >DATA >FIN",
        ">OPEN >FIN <REFUSED",
        ">PING >OPEN <PONG <OPENED <FIN <PING >PONG >FIN",
        ">PAD <PAD >OPEN <PAD <OPENED >FIN <FIN",
    ],
)
def test_a_leg_is_idle_again_when_both_directions_have_ended(transcript: str, role: Role) -> None:
    state = after(transcript, role)
    assert (state.ours, state.theirs) == (State.IDLE, State.IDLE)
    assert (state.is_reusable, state.in_session, state.next_session) == (True, False, 2)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "transcript",
    [
        ">OPEN",
        ">OPEN <REFUSED",
        ">OPEN <OPENED >FIN",
        ">OPEN <OPENED <FIN",
        ">PING",
        "<PING",
        ">GOAWAY",
        "<GOAWAY",
        ">OPEN <OPENED <GOAWAY >FIN <FIN",
        ">OPEN >RESET",
        ">OPEN <OPENED >FIN <RESET",
    ],
)
def test_a_leg_on_which_anything_is_still_to_come_is_not_used_again(transcript: str, role: Role) -> None:
    assert not after(transcript, role).is_reusable


@pytest.mark.parametrize(
    ("transcript", "frame", "why"),
    [
        ("", "<OPEN", "the acceptor may not send OPEN while it is idle"),
        ("", "<OPENED", "while it is idle"),
        ("", ">DATA", "while it is idle"),
        ("", ">HELLO", "while it is idle"),
        ("", ">PROOF", "while it is idle"),
        (">OPEN", ">OPEN", "while it is open"),
        (">OPEN", "<DATA", "while it is opening"),
        (">OPEN", "<FIN", "while it is opening"),
        (">OPEN <OPENED", "<OPENED", "while it is open"),
        (">OPEN <OPENED", "<REFUSED", "while it is open"),
        (">OPEN <REFUSED", "<DATA", "while it is ended"),
        (">OPEN >FIN", ">DATA", "while it is ended"),
        (">OPEN >FIN", ">FIN", "while it is ended"),
        ("", "<PONG", "without a PING"),
        (">PING <PONG", "<PONG", "without a PING"),
        ("<PING", "<PING", "while the last one has no answer"),
        (">GOAWAY", ">GOAWAY", "twice"),
        (">GOAWAY", ">OPEN", "after GOAWAY"),
    ],
)
@pytest.mark.parametrize("role", Role)
def test_a_frame_out_of_order_changes_nothing(transcript: str, frame: str, why: str, role: Role) -> None:
    state = after(transcript, role)
    before = repr(state)
    sender = Role.OPENER if frame[0] == ">" else Role.ACCEPTOR
    kind = FrameType[frame[1:]]
    note, fault = (state.sent, Fault.OURS) if sender is role else (state.received, Fault.THEIRS)
    with pytest.raises(ProtocolError, match=why) as caught:
        note(kind, 0 if kind in APART else state.next_session if kind is OPEN else state.session)
    assert caught.value.fault is fault
    assert repr(state) == before


@pytest.mark.parametrize(
    ("frame", "session", "why"),
    [
        (DATA, 2, "of session 2; expected 1"),
        (FIN, 0, "of session 0; expected 1"),
        (PING, 1, "of session 1; expected 0"),
    ],
)
def test_the_session_is_checked(frame: FrameType, session: int, why: str) -> None:
    state = after(">OPEN <OPENED")
    for note in (state.sent, state.received):
        with pytest.raises(ProtocolError, match=why):
            note(frame, session)


def test_an_open_must_count_on() -> None:
    with pytest.raises(ProtocolError, match="of session 2; expected 1"):
        LegState(Role.ACCEPTOR).received(OPEN, 2)


def test_the_count_goes_round() -> None:
    state = LegState(Role.OPENER, session=65_535)
    state.sent(OPEN, 0)
    assert (state.session, state.next_session) == (0, 1)


def test_after_a_goaway_of_theirs_we_open_nothing() -> None:
    state = after("<GOAWAY")
    with pytest.raises(ProtocolError, match="after GOAWAY"):
        state.sent(OPEN, 1)


def test_an_open_that_crossed_our_goaway_is_theirs_to_send() -> None:
    state = after("<GOAWAY >OPEN <REFUSED", Role.ACCEPTOR)
    assert state.going_away == {Role.ACCEPTOR}


def test_a_reset_between_sessions_is_our_mistake() -> None:
    with pytest.raises(ProtocolError, match="between sessions") as caught:
        after(">OPEN <OPENED >FIN <FIN").sent(RESET, 1)
    assert caught.value.fault is Fault.OURS


def test_a_reset_that_crossed_the_end_and_the_next_beginning_spends_the_leg() -> None:
    state = after(">OPEN <OPENED >FIN <FIN")
    state.sent(OPEN, 2)
    state.received(RESET, 1)
    assert (state.is_spent, state.is_reusable, state.in_session) == (True, False, False)


def test_what_comes_after_our_reset_is_not_judged_and_after_theirs_nothing_may_come() -> None:
    ours, theirs = after(">OPEN <OPENED >RESET"), after(">OPEN <OPENED <RESET")
    ours.received(FIN, 1)
    ours.received(PING, 0)
    assert ours.is_spent
    for frame, session in ((DATA, 1), (PING, 0), (RESET, 1)):
        with pytest.raises(ProtocolError):
            theirs.received(frame, session)


def test_a_repr_says_how_far_it_is() -> None:
    assert repr(after(">OPEN <GOAWAY")) == "<LegState opener session=1 ours=open theirs=opening going away>"


def allows(end: LegState, frame: FrameType, session: int) -> bool:
    """Send a frame, if that is allowed."""
    try:
        end.sent(frame, session)
    except ProtocolError:
        return False
    return True


class TwoEnds(RuleBasedStateMachine):
    """Both ends send whatever their own state allows; frames wait on the way for as long as it takes.

    Whatever crosses: what one end may send, the other one must accept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ends = {role: LegState(role) for role in Role}
        self.ways: dict[Role, deque[tuple[FrameType, int]]] = {role: deque() for role in Role}

    @rule(role=st.sampled_from(Role), frame=st.sampled_from(FrameType))
    def send(self, role: Role, frame: FrameType) -> None:
        end = self.ends[role]
        session = 0 if frame in APART else end.next_session if frame is OPEN else end.session
        before = repr(end)
        if allows(end, frame, session):
            self.ways[role].append((frame, session))
        else:
            assert repr(end) == before

    @precondition(lambda self: any(self.ways.values()))
    @rule(role=st.sampled_from(Role))
    def arrive(self, role: Role) -> None:
        if self.ways[role]:
            self.ends[role.other].received(*self.ways[role].popleft())

    @rule()
    def all_arrive(self) -> None:
        for role in Role:
            while self.ways[role]:
                self.ends[role.other].received(*self.ways[role].popleft())

    @invariant()
    def ends_agree_when_nothing_is_under_way(self) -> None:
        opener, acceptor = self.ends[Role.OPENER], self.ends[Role.ACCEPTOR]
        if any(self.ways.values()) or opener.is_spent or acceptor.is_spent:
            return
        assert (opener.ours, opener.theirs) == (acceptor.theirs, acceptor.ours)
        assert (opener.session, opener.going_away) == (acceptor.session, acceptor.going_away)
        assert opener.is_reusable == acceptor.is_reusable

    @invariant()
    def a_leg_that_was_reset_is_never_used_again(self) -> None:
        assert not any(end.is_spent and end.is_reusable for end in self.ends.values())


TestTwoEnds = TwoEnds.TestCase
TestTwoEnds.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)

"""Two legs with one fate: ends, resets and aborts in every order, over real connections."""

import errno
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.net.errors import Phase, Side
from pools.net.resets import Resets
from tests.floor import Floor, receive, reset, rest_of, send_all, settle, turn_until
from workers.relay import Relay

LARGE = bytes(range(256)) * 4000


class Session:
    """A relay between a client and an origin, which are sockets of the test."""

    def __init__(self, floor: Floor, *, buffer: int = 0) -> None:
        self.floor = floor
        self.inbound, self.client = floor.leg(send_buffer=buffer, receive_buffer=buffer)
        self.outbound, self.origin = floor.leg(send_buffer=buffer, receive_buffer=buffer)
        self.ends: list[tuple[int, int]] = []
        self.relay = Relay(self.inbound, self.outbound, room=floor.room, resets=floor.resets, on_end=self._ended)

    def _ended(self) -> None:
        assert self.inbound.fd >= 0
        assert self.outbound.fd >= 0
        self.ends.append((self.relay.forward.moved_bytes, self.relay.backward.moved_bytes))

    def start(self) -> "Session":
        self.floor.in_hub(self.relay.start)
        return self

    def wait_for_end(self) -> None:
        turn_until(lambda: self.ends and self.inbound.fd < 0 and self.outbound.fd < 0)


@pytest.mark.parametrize("forward", [True, False], ids=["client first", "origin first"])
@pytest.mark.parametrize("said", [b"", b"words", LARGE], ids=["nothing", "little", "much"])
def test_half_close_goes_on_after_all_bytes_while_the_other_direction_lives(forward: bool, said: bytes) -> None:
    with Floor() as floor:
        session = Session(floor).start()
        first, other = (session.client, session.origin) if forward else (session.origin, session.client)
        send_all(first, said)
        first.shutdown(socket.SHUT_WR)
        assert rest_of(other) == (said, "end")
        assert session.relay.phase is Phase.LAST
        send_all(other, LARGE)
        assert receive(first, len(LARGE)) == LARGE
        assert not session.relay.over
        other.shutdown(socket.SHUT_WR)
        assert rest_of(first) == (b"", "end")
        session.wait_for_end()
        assert session.ends == [(len(said), len(LARGE)) if forward else (len(LARGE), len(said))]
        assert (session.relay.broken, session.relay.errno) == (None, 0)


def test_both_end_at_once_and_what_is_in_the_buffers_still_arrives() -> None:
    with Floor() as floor:
        session = Session(floor)
        send_all(session.client, b"from the client")
        send_all(session.origin, b"from the origin")
        session.client.shutdown(socket.SHUT_WR)
        session.origin.shutdown(socket.SHUT_WR)
        session.start()
        assert rest_of(session.origin) == (b"from the client", "end")
        assert rest_of(session.client) == (b"from the origin", "end")
        session.wait_for_end()
        assert len(session.ends) == 1


@pytest.mark.parametrize("inbound", [True, False], ids=["client resets", "origin resets"])
@pytest.mark.parametrize("said", [b"", b"words", LARGE], ids=["nothing", "little", "much"])
def test_a_reset_arrives_as_a_reset_after_what_came_before(inbound: bool, said: bytes) -> None:
    with Floor() as floor:
        session = Session(floor, buffer=32_768).start()
        first, other = (session.client, session.origin) if inbound else (session.origin, session.client)
        send_all_and_read(first, other, said)
        reset(first)
        assert rest_of(other) == (b"", "reset")
        session.wait_for_end()
        assert session.relay.broken is (Side.INBOUND if inbound else Side.OUTBOUND)
        assert session.relay.errno == errno.ECONNRESET
        assert len(session.ends) == 1


def send_all_and_read(first: socket.socket, other: socket.socket, said: bytes) -> None:
    left, received = memoryview(said), bytearray()
    while len(received) < len(said):
        portion = left[:8192]
        send_all(first, bytes(portion))
        left = left[8192:]
        received += receive(other, len(portion))
    assert received == said


def test_a_reset_waits_for_a_slow_reader() -> None:
    with Floor() as floor:
        session = Session(floor, buffer=65_536).start()
        send_all(session.client, LARGE[:100_000])
        turn_until(lambda: session.relay.forward.moved_bytes == 100_000)
        reset(session.client)
        turn_until(lambda: session.ends)
        assert rest_of(session.origin) == (LARGE[:100_000], "reset")
        session.wait_for_end()


@pytest.mark.parametrize("inbound", [True, False], ids=["client", "origin"])
def test_a_reset_after_a_half_close_does_not_wait_for_somebody_to_write(inbound: bool) -> None:
    """A client that asked, half-closed and was killed: its origin may compute for hours before it writes."""
    with Floor() as floor:
        session = Session(floor).start()
        first, other = (session.client, session.origin) if inbound else (session.origin, session.client)
        first.shutdown(socket.SHUT_WR)
        assert rest_of(other) == (b"", "end")
        reset(first)
        turn_until(lambda: session.ends)
        session.wait_for_end()
        assert session.relay.broken is (Side.INBOUND if inbound else Side.OUTBOUND)
        assert session.relay.phase is Phase.LAST


def test_both_reset_at_once() -> None:
    with Floor() as floor:
        session = Session(floor).start()
        reset(session.client)
        reset(session.origin)
        session.wait_for_end()
        assert len(session.ends) == 1


@pytest.mark.parametrize("end_first", [True, False])
def test_an_end_crosses_a_reset(end_first: bool) -> None:
    with Floor() as floor:
        session = Session(floor).start()
        settle()
        if end_first:
            session.client.shutdown(socket.SHUT_WR)
        reset(session.origin)
        if not end_first:
            session.client.shutdown(socket.SHUT_WR)
        assert rest_of(session.client) == (b"", "reset")
        session.wait_for_end()
        assert (session.relay.broken, session.relay.errno) == (Side.OUTBOUND, errno.ECONNRESET)


def test_what_a_leg_said_before_it_broke_arrives_although_writing_found_out() -> None:
    with Floor() as floor:
        session = Session(floor)
        send_all(session.client, b"too late")
        send_all(session.origin, b"last words")
        reset(session.origin)
        session.start()
        data, how = rest_of(session.client)
        assert (data, how) == (b"last words", "reset")
        session.wait_for_end()
        assert session.relay.broken is Side.OUTBOUND


def test_abort_resets_both_and_wakes_pumps_that_are_stuck() -> None:
    with Floor() as floor:
        session = Session(floor, buffer=4096).start()
        for sock in (session.client, session.origin):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
            sock.send(LARGE[:100_000])
        turn_until(lambda: floor.at_work == 2)
        floor.in_hub(session.relay.abort)
        assert len(session.ends) == 1
        assert rest_of(session.client)[1] == rest_of(session.origin)[1] == "reset"
        turn_until(lambda: floor.at_work == 0)
        session.relay.abort()
        session.relay.start()
        assert len(session.ends) == 1


def test_an_abort_before_the_start_is_final() -> None:
    with Floor() as floor:
        session = Session(floor)
        send_all(session.client, b"unheard")
        session.relay.abort()
        session.start()
        assert session.ends == [(0, 0)]
        assert rest_of(session.origin) == (b"", "reset")


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["client", "origin"]), st.sampled_from(["little", "much", "end", "reset", "read", "turn"])
    ),
    max_size=14,
)


@settings(max_examples=150)
@given(events=EVENTS, buffer=st.sampled_from([0, 8192]), splice=st.booleans(), killed=st.booleans())
def test_any_order_of_events_ends_with_nothing_left(
    events: list[tuple[str, str]], buffer: int, splice: bool, killed: bool
) -> None:
    with Floor(splice=splice) as floor:
        floor.resets.close()
        floor.resets = Resets(patience_s=0.05)  # for those who never read what came before a reset
        session = Session(floor, buffer=buffer).start()
        gone: set[str] = set()
        for who, what in events:
            if who not in gone and act(session, who, what) is False:
                gone.add(who)
        if killed:
            floor.in_hub(session.relay.abort)
        for who in {"client", "origin"} - gone:
            reset(getattr(session, who))
        session.wait_for_end()
        turn_until(lambda: floor.at_work == 0)
        assert len(session.ends) == 1


def act(session: Session, who: str, what: str) -> bool:
    """Do one thing at one end; False when that end is gone afterwards."""
    sock: socket.socket = getattr(session, who)
    try:
        match what:
            case "little":
                sock.send(b"hello")
            case "much":
                sock.send(LARGE)
            case "end":
                sock.shutdown(socket.SHUT_WR)
            case "reset":
                reset(sock)
                return False
            case "read":
                sock.recv(65_536)
            case "turn":
                settle(2)
    except OSError:  # full, ended, reset: what the kernel says to this end is no part of this test
        pass
    return True

"""A reset that waits for what was sent before it."""

from pools.net.resets import Resets
from pools.net.sockopts import unacked_bytes
from pools.net.stream import Stream
from tests.floor import Floor, receive, reset, rest_of, settle, turn_until


def fill(stream: Stream) -> int:
    """Write until neither end's buffer takes more."""
    written = 0
    while True:
        try:
            written += stream.socket.send(b"x" * 65_536)
        except BlockingIOError:
            return written


def test_nothing_outstanding_is_reset_at_once() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        floor.resets.reset(stream)
        assert (stream.fd, len(floor.resets)) == (-1, 0)
        assert rest_of(theirs) == (b"", "reset")


def test_what_was_written_arrives_before_the_reset() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg(send_buffer=65_536, receive_buffer=4096)
        written = fill(stream)
        floor.resets.reset(stream)
        settle()
        assert stream.fd >= 0
        assert len(receive(theirs, written)) == written
        assert rest_of(theirs) == (b"", "reset")
        turn_until(lambda: len(floor.resets) == 0)
        assert stream.fd == -1


def test_patience_has_an_end() -> None:
    with Floor() as floor:
        floor.resets.close()
        floor.resets = Resets(patience_s=0.1)
        stream, theirs = floor.leg(send_buffer=65_536, receive_buffer=4096)
        written = fill(stream)
        floor.resets.reset(stream)
        turn_until(lambda: stream.fd < 0)
        data, how = rest_of(theirs)
        assert how == "reset"
        assert len(data) < written


def test_a_leg_that_breaks_meanwhile_is_closed() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg(send_buffer=65_536, receive_buffer=4096)
        fill(stream)
        floor.resets.reset(stream)
        reset(theirs)
        turn_until(lambda: len(floor.resets) == 0)
        assert stream.fd == -1


def test_a_second_one_waits_after_the_first_has_gone() -> None:
    with Floor() as floor:
        for _ in range(2):
            stream, theirs = floor.leg(send_buffer=65_536, receive_buffer=4096)
            written = fill(stream)
            floor.resets.reset(stream)
            assert len(receive(theirs, written)) == written
            turn_until(lambda: len(floor.resets) == 0)


def test_close_resets_all_that_wait() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg(send_buffer=65_536, receive_buffer=4096)
        fill(stream)
        assert unacked_bytes(stream.fd) > 0
        floor.resets.reset(stream)
        floor.resets.close()
        assert (stream.fd, len(floor.resets)) == (-1, 0)
        assert rest_of(theirs)[1] == "reset"
        floor.resets = Resets()

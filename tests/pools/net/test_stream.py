"""Waiting, reading, writing and closing on real connections."""

import errno
import socket
from collections.abc import Callable

import pytest

from pools.net.stream import Stream, StreamClosed, StreamFailed
from tests.floor import Floor, receive, reset, rest_of, send_all, settle, turn_until

FULL = b"x" * (16 * 1024 * 1024)  # more than both buffers of a loopback connection ever take
MUCH = b"x" * 300_000  # more than both take when they are small


def run(floor: Floor, job: Callable[[], object]) -> list[object]:
    """Run `job` in a greenlet; the list gets what it returns, or the error it raises."""
    outcome: list[object] = []

    def body() -> None:
        try:
            outcome.append(job())
        except (StreamClosed, StreamFailed) as error:
            outcome.append(error)

    floor.in_hub(lambda: floor.greenlets.run(body))
    return outcome


def test_receive_waits_for_the_first_byte_and_takes_what_is_there() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        outcome = run(floor, lambda: stream.receive(100))
        settle()
        assert not outcome
        theirs.send(b"hello")
        turn_until(lambda: outcome)
        assert outcome == [b"hello"]
        stream.close()


def test_receive_gives_nothing_at_the_end_each_time() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        theirs.send(b"last")
        theirs.shutdown(socket.SHUT_WR)
        outcome = run(floor, lambda: [stream.receive(100) for _ in range(3)])
        turn_until(lambda: outcome)
        assert outcome == [[b"last", b"", b""]]
        stream.close()


def test_receive_tells_a_reset_from_an_end() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        reset(theirs)
        outcome = run(floor, lambda: stream.receive(100))
        turn_until(lambda: outcome)
        assert isinstance(outcome[0], StreamFailed)
        assert outcome[0].errno == errno.ECONNRESET
        stream.close()


def test_send_all_waits_for_a_slow_reader_and_loses_nothing() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg(send_buffer=4096, receive_buffer=4096)
        outcome = run(floor, lambda: stream.send_all(MUCH))
        settle()
        assert not outcome
        assert receive(theirs, len(MUCH)) == MUCH
        turn_until(lambda: outcome)
        assert outcome == [None]
        stream.close()


def test_send_all_says_that_the_reader_has_reset() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        outcome = run(floor, lambda: stream.send_all(FULL))
        reset(theirs)
        turn_until(lambda: outcome)
        assert isinstance(outcome[0], StreamFailed)
        assert outcome[0].errno in (errno.ECONNRESET, errno.EPIPE)
        stream.close()


@pytest.mark.parametrize(
    "wait",
    [lambda stream: stream.receive(1), lambda stream: stream.send_all(FULL), Stream.wait_readable],
    ids=["receive", "send_all", "wait_readable"],
)
def test_close_from_elsewhere_wakes_who_waits(wait: Callable[[Stream], object]) -> None:
    with Floor() as floor:
        stream, _ = floor.leg()
        outcome = run(floor, lambda: wait(stream))
        settle()
        assert not outcome
        stream.close()
        turn_until(lambda: outcome)
        assert isinstance(outcome[0], StreamClosed)


def test_reader_and_writer_of_one_stream_are_both_woken_by_close() -> None:
    with Floor() as floor:
        stream, _ = floor.leg()
        reader = run(floor, lambda: stream.receive(1))
        writer = run(floor, lambda: stream.send_all(FULL))
        stream.close()
        turn_until(lambda: reader and writer)
        assert [type(one) for one in reader + writer] == [StreamClosed, StreamClosed]


def test_a_wake_without_a_reason_is_harmless() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg(send_buffer=4096, receive_buffer=4096)
        reader = run(floor, lambda: stream.receive(1))
        writer = run(floor, lambda: stream.send_all(MUCH))
        for _ in range(3):
            assert stream.on_readable is not None
            assert stream.on_writable is not None
            floor.in_hub(stream.on_readable)
            floor.in_hub(stream.on_writable)
        settle()
        assert (reader, writer) == ([], [])
        theirs.send(b"y")
        assert receive(theirs, len(MUCH)) == MUCH
        turn_until(lambda: reader and writer)
        assert (reader, writer) == ([b"y"], [None])
        stream.close()


def test_end_output_leaves_the_other_direction_open() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        stream.send_all(b"bye")
        stream.end_output()
        assert rest_of(theirs) == (b"bye", "end")
        theirs.send(b"more")
        outcome = run(floor, lambda: stream.receive(100))
        turn_until(lambda: outcome)
        assert outcome == [b"more"]
        stream.close()


def test_end_output_on_a_leg_that_was_reset_is_a_failure() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        reset(theirs)
        turn_until(lambda: stream.unsure)
        with pytest.raises(StreamFailed) as caught:
            stream.end_output()
        assert caught.value.errno == errno.ECONNRESET  # the reason, not ENOTCONN
        stream.close()


def test_last_words_arrive_although_input_was_left_unread() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        send_all(theirs, b"unread" * 1000)
        turn_until(lambda: stream.readable)
        stream.close_after(b"no, thank you")
        assert stream.fd == -1
        assert rest_of(theirs) == (b"no, thank you", "end")
        stream.close_after(b"closed streams say nothing")


def test_last_words_to_nobody_do_no_harm() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        reset(theirs)
        stream.close_after(b"is anybody there?")
        assert stream.fd == -1


def test_plain_close_is_a_reset_because_the_leg_lingers_so() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        stream.close()
        stream.close()
        assert rest_of(theirs) == (b"", "reset")


def test_prompt_makes_a_reader_look_once_more() -> None:
    with Floor() as floor:
        stream, _ = floor.leg()
        looks: list[bool] = []
        stream.on_readable = lambda: looks.append(stream.ending)
        stream.prompt()
        assert not looks
        turn_until(lambda: looks)
        assert (looks, stream.readable, stream.unsure) == ([True], True, True)
        stream.on_readable = None
        stream.close()


def test_prompt_wakes_nobody_who_has_stopped_reading() -> None:
    """A greenlet of the pool that is woken between two jobs would end, and the next job with it."""
    with Floor() as floor:
        stream, _ = floor.leg()
        looks: list[str] = []
        stream.on_readable = lambda: looks.append("before")
        stream.prompt()
        stream.on_readable = lambda: looks.append("now")
        turn_until(lambda: looks)
        stream.prompt()
        stream.on_readable = None
        settle()
        assert looks == ["now"]
        stream.close()


def test_repr_shows_what_is_known() -> None:
    with Floor() as floor:
        stream, _ = floor.leg()
        assert repr(stream) == f"<Stream fd={stream.fd} quiet>"
        stream.prompt()
        assert repr(stream).endswith("readable ending unsure>")
        stream.close()

"""Edges of real sockets, and what happens when streams come and go among them."""

import os
import socket

import pytest

from pools.net.readiness import Readiness
from pools.net.stream import Stream, StreamClosed
from tests.floor import Floor, receive, reset, settle, tcp_pair, turn, turn_until


def test_an_edge_of_input_is_told_once_and_kept() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        told: list[bytes] = []
        stream.on_readable = lambda: told.append(b"")
        theirs.send(b"x")
        turn_until(lambda: told)
        settle()
        assert (told, stream.readable, stream.ending, stream.unsure) == ([b""], True, False, False)
        theirs.send(b"y")
        turn_until(lambda: len(told) == 2)
        stream.close()


@pytest.mark.parametrize(
    ("act", "unsure"),
    [(lambda sock: sock.shutdown(socket.SHUT_WR), False), (reset, True)],
    ids=["end of stream", "reset"],
)
def test_the_end_of_input_is_kept(act, unsure: bool) -> None:  # type: ignore[no-untyped-def]
    with Floor() as floor:
        stream, theirs = floor.leg()
        act(theirs)
        turn_until(lambda: stream.ending)
        assert (stream.readable, stream.unsure) == (True, unsure)
        stream.close()


def test_urgent_data_makes_short_reads_unsure() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        theirs.send(b"!", socket.MSG_OOB)
        turn_until(lambda: stream.unsure)
        assert not stream.ending
        stream.close()


def test_what_is_deferred_runs_in_the_hub_after_the_events_at_hand_and_in_order() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        order: list[str] = []

        def stirs() -> None:
            floor.readiness.defer(lambda: order.append("first"))
            floor.readiness.defer(lambda: order.append("second"))
            order.append("event")

        stream.on_readable = stirs
        theirs.send(b"x")
        turn_until(lambda: len(order) == 3)
        assert order == ["event", "first", "second"]
        stream.close()


def test_what_is_deferred_from_outside_an_event_runs_too() -> None:
    with Floor() as floor:
        ran: list[int] = []
        floor.readiness.defer(lambda: ran.append(1))
        floor.readiness.defer(lambda: ran.append(2))
        assert not ran
        turn_until(lambda: ran == [1, 2])


def test_taking_turns_lets_a_ready_socket_go_first() -> None:
    with Floor() as floor:
        stream, theirs = floor.leg()
        seen: list[str] = []
        stream.on_readable = lambda: seen.append("event")

        def bulk() -> None:
            theirs.send(b"x")
            floor.readiness.take_turns()
            seen.append("bulk goes on")

        floor.in_hub(lambda: floor.greenlets.run(bulk))
        turn_until(lambda: len(seen) == 2)
        assert seen == ["event", "bulk goes on"]
        stream.close()


def test_endless_turns_leave_the_hub_its_turn() -> None:
    with Floor() as floor:
        going = [True]

        def forever() -> None:
            while going:
                floor.readiness.take_turns()

        floor.in_hub(lambda: floor.greenlets.run(forever))
        settle()  # returns although there is always somebody who wants the next turn
        going.clear()
        turn_until(lambda: floor.at_work == 0)


def test_one_streams_fault_is_reported_and_not_anothers() -> None:
    with Floor() as floor:
        broken, to_broken = floor.leg()
        sound, to_sound = floor.leg()
        heard: list[bool] = []

        def fail() -> None:
            raise RuntimeError("a bug")

        broken.on_readable = fail
        sound.on_readable = lambda: heard.append(True)
        to_broken.send(b"x")
        to_sound.send(b"x")
        turn_until(lambda: heard and floor.faults)
        assert str(floor.faults.pop()) == "a bug"
        broken.close()
        sound.close()


def test_an_event_for_a_stream_closed_in_the_same_batch_is_dropped() -> None:
    with Floor() as floor:
        first, to_first = floor.leg()
        second, to_second = floor.leg()
        told: list[Stream] = []
        first.on_readable = second.close
        second.on_readable = lambda: told.append(second)
        to_first.send(b"x")
        to_second.send(b"x")
        turn_until(lambda: second.fd < 0)
        settle()
        assert told == [second]  # woken once, to learn that it is closed
        first.close()


def test_a_descriptor_used_again_within_a_batch_does_not_inherit_events() -> None:
    """The end of a dead session's leg would be taken for the end of the new one's input."""
    with Floor() as floor:
        first, to_first = floor.leg()
        second, to_second = floor.leg()
        fresh: list[Stream] = []
        spare_near, spare_far = tcp_pair()

        def replace() -> None:
            descriptor = second.fd
            second.close()
            os.dup2(spare_near.fileno(), descriptor, inheritable=False)
            fresh.append(floor.readiness.open(socket.socket(fileno=descriptor)))

        first.on_readable = replace
        to_first.send(b"x")
        to_second.send(b"x")
        to_second.shutdown(socket.SHUT_WR)
        turn_until(lambda: fresh)
        settle()
        assert (fresh[0].readable, fresh[0].ending, fresh[0].unsure) == (False, False, False)
        spare_far.send(b"hello")
        turn_until(lambda: fresh[0].readable)
        for stream in (first, fresh[0]):
            stream.close()
        spare_near.close()
        spare_far.close()


def test_a_listener_is_watched_by_level_until_told_to_stop() -> None:
    with Floor() as floor, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        calls: list[int] = []
        stop = floor.readiness.watch(listener.fileno(), lambda: calls.append(1))
        with socket.create_connection(listener.getsockname()):
            turn_until(lambda: len(calls) >= 3)  # nobody accepts, so it is told again
            stop()
            seen = len(calls)
            settle()
            assert len(calls) == seen


def test_it_counts_its_streams() -> None:
    with Floor() as floor:
        stream, _ = floor.leg()
        other, _ = floor.leg()
        assert len(floor.readiness) == 2
        turn()
        stream.close()
        assert len(floor.readiness) == 1
        other.close()


def test_closing_leaves_the_streams_to_their_owners() -> None:
    ours, theirs = tcp_pair()
    readiness = Readiness(on_fault=lambda _: None)
    readiness.open(ours)
    readiness.close()
    ours.send(b"still open")
    assert receive(theirs, 10) == b"still open"
    ours.close()
    theirs.close()


def test_a_waiter_is_woken_when_its_stream_is_closed_from_elsewhere() -> None:
    with Floor() as floor:
        stream, _ = floor.leg()
        ended: list[type[BaseException]] = []

        def wait() -> None:
            try:
                stream.wait_readable()
            except StreamClosed as error:
                ended.append(type(error))

        floor.in_hub(lambda: floor.greenlets.run(wait))
        floor.in_hub(stream.close)
        turn_until(lambda: ended)
        assert ended == [StreamClosed]


def test_a_fault_in_what_was_put_off_costs_nobody_else_a_turn() -> None:
    with Floor() as floor:
        done: list[str] = []
        floor.readiness.defer([].pop)
        floor.readiness.defer(lambda: done.append("the next"))
        turn_until(lambda: bool(done))
        assert [type(fault) for fault in floor.faults] == [IndexError]
        floor.faults.clear()
        stream, theirs = floor.leg()
        theirs.send(b"still heard")
        turn_until(lambda: stream.readable)
        stream.close()

"""Legs of peers are seen off: when they must end by a time, when the worker drains, and when it ends."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pools.frame_bodies import Opened, Ping, Pong, encode
from pools.frames import Frame, FrameType
from pools.key_file import KeyFile
from pools.net.clock import monotonic_s
from tests.far_end import OPEN, FarEnd, plain
from tests.floor import Floor, reset, rest_of, settle, turn_until
from tests.workers.gate import REFUSED, Gate, key_file

PING = Ping(1, 77)
GOAWAY = plain(FrameType.GOAWAY)
FIN = FrameType.FIN


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return key_file(tmp_path)


@pytest.fixture
def make_gate(keys: KeyFile) -> Iterator[Callable[..., Gate]]:
    gates: list[Gate] = []

    def make(**more: Any) -> Gate:
        gates.append(Gate(floor, keys, **more))
        return gates[-1]

    with Floor() as floor:
        yield make
        for gate in gates:
            gate.close()


@pytest.fixture
def gate(make_gate: Callable[..., Gate]) -> Gate:
    return make_gate()


def expect_end(far: FarEnd) -> None:
    assert rest_of(far.sock) == (b"", "end")


def test_an_opener_that_never_ends_a_refused_session_loses_the_leg(
    make_gate: Callable[..., Gate], caplog: pytest.LogCaptureFixture
) -> None:
    gate = make_gate(parting_s=0.1)
    far = gate.peer()
    quiet = gate.peer("virginia")
    gate.refuse(gate.session(far))
    assert rest_of(far.sock) == (encode(REFUSED, session=1), "reset")
    assert "gateway oregon: expected the end of a refused session within 0.1 s" in caplog.text
    assert gate.counts == (1, 2, 0, 1)
    quiet.say(PING)
    assert quiet.hear_body() == Pong.to(PING)


def test_a_session_that_ended_in_time_keeps_its_leg(make_gate: Callable[..., Gate]) -> None:
    gate = make_gate(parting_s=0.5)
    late, far = gate.peer("virginia"), gate.peer()
    gate.refuse(gate.session(far))
    far.send(plain(FIN, 1))
    began_s = monotonic_s()
    gate.refuse(gate.session(late))
    rest_of(late.sock)  # until its time is over, which is later than the other one's would have been
    assert monotonic_s() - began_s >= 0.5
    assert (gate.overlay.idle, gate.counts) == (1, (1, 2, 0, 1))


def test_a_session_that_begins_in_one_segment_with_the_end_of_a_refused_one_has_all_its_time(
    make_gate: Callable[..., Gate],
) -> None:
    gate = make_gate(parting_s=0.5)
    late, far = gate.peer("virginia"), gate.peer()
    leg = gate.session(far)
    gate.refuse(leg)
    far.send(plain(FIN, 1), encode(OPEN, session=2))
    assert gate.next_session(1) is leg
    gate.refuse(gate.session(late))
    rest_of(late.sock)  # as above
    assert (leg.fd >= 0, gate.counts) == (True, (1, 2, 0, 1))


def test_an_opener_that_goes_away_and_stays_is_closed_in_order(make_gate: Callable[..., Gate]) -> None:
    gate = make_gate(parting_s=0.1)
    far = gate.peer()
    far.send(GOAWAY)
    expect_end(far)
    assert gate.counts == (0, 1, 0, 0)


def test_draining_says_goaway_on_idle_and_busy_legs(gate: Gate) -> None:
    idle, busy = gate.peer(), gate.peer("virginia")
    leg = gate.session(busy)
    gate.floor.in_hub(gate.overlay.drain)
    assert [far.hear() for far in (idle, busy)] == [Frame(FrameType.GOAWAY)] * 2
    gate.floor.in_hub(gate.overlay.drain)  # the order may come twice
    assert gate.counts == (2, 2, 0, 0)
    idle.sock.shutdown(1)
    expect_end(idle)
    leg.say(Opened("mumbai", 5))
    assert busy.hear_body() == Opened("mumbai", 5)


def test_who_has_not_heard_of_the_drain_is_let_in_served_and_told_a_moment_later(gate: Gate) -> None:
    newcomer = gate.connect()
    gate.floor.in_hub(gate.overlay.drain)
    late = gate.connect()
    for far in (newcomer, late):
        assert far.introduce("oregon") == "mumbai"
    leg = gate.session(late)
    assert newcomer.hear() == Frame(FrameType.GOAWAY)
    assert late.hear() == Frame(FrameType.GOAWAY)
    leg.say(Opened("mumbai", 5))
    assert late.hear_body() == Opened("mumbai", 5)
    assert gate.counts == (2, 2, 0, 0)


def test_a_closed_overlay_lets_nobody_in(make_gate: Callable[..., Gate]) -> None:
    gate = make_gate()
    newcomer = gate.connect()
    gate.floor.in_hub(gate.overlay.close)
    assert rest_of(newcomer.sock) == (b"", "reset")
    assert rest_of(gate.connect().sock) == (b"", "reset")


def test_an_open_that_crossed_the_goaway_still_comes_and_its_refusal_is_heard(gate: Gate) -> None:
    far = gate.peer()
    gate.floor.in_hub(gate.overlay.drain)
    leg = gate.session(far)
    gate.refuse(leg)
    assert far.hear() == Frame(FrameType.GOAWAY)
    assert far.hear_body() == REFUSED
    far.send(plain(FIN, 1))
    settle()
    assert gate.overlay.idle == 1  # it is the opener who closes
    far.sock.shutdown(1)
    expect_end(far)


def test_draining_forgets_a_leg_that_is_broken_already(gate: Gate) -> None:
    far = gate.peer()
    reset(far.sock)
    gate.floor.in_hub(gate.overlay.drain)
    turn_until(lambda: gate.counts == (0, 1, 0, 0))


def test_closing_ends_idle_legs_in_order_and_leaves_the_others_to_their_sessions(gate: Gate) -> None:
    idle, busy = gate.peer(), gate.peer("virginia")
    leg = gate.session(busy)
    idle.say(PING)  # even with something unread
    gate.floor.in_hub(gate.overlay.close)
    assert rest_of(idle.sock)[1] == "end"
    assert (len(gate.overlay), leg.fd >= 0) == (1, True)
    gate.refuse(leg)
    assert rest_of(busy.sock) == (encode(REFUSED, session=1), "end")
    assert gate.counts[0] == 0

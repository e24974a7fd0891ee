"""Messages and legs between two ends of a channel: in order, whole, and each leg with one owner."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pools import idle_leg
from pools.broker_messages import (
    Empty,
    FromBroker,
    FromWorker,
    Full,
    Give,
    Gone,
    Take,
    decode_from_broker,
    decode_from_worker,
)
from pools.channel import Channel
from pools.frame_bodies import Ping, Pong, encode
from pools.frames import Frame, FrameType, Role
from pools.leg import PoolLeg
from pools.message_rules import LegCard
from pools.net.errors import MidmileError, ProtocolError
from pools.net.fd_passing import send_message, socket_pair
from tests.floor import Floor, receive, rest_of, settle, tcp_pair, turn_until

PEER = "mumbai"


class End:
    """One end that writes down what it hears; a message of the kind that it resents is an error."""

    def __init__(self, floor: Floor, sock: object, decode: object, *, resents: type | None = None) -> None:
        self.heard: list[FromWorker | FromBroker] = []
        self.legs: list[PoolLeg] = []
        self.ends: list[tuple[MidmileError | None, tuple[PoolLeg, ...]]] = []
        self._resents = resents
        self.channel: Channel[FromWorker | FromBroker] = Channel(
            sock,  # type: ignore[arg-type]
            readiness=floor.readiness,
            decode=decode,  # type: ignore[arg-type]
            hear=self._hear,
            end=lambda error, unsent: self.ends.append((error, unsent)),
        )

    def _hear(self, message: FromWorker | FromBroker, legs: tuple[PoolLeg, ...]) -> None:
        if self._resents and isinstance(message, self._resents):
            raise ProtocolError("expected anything but this")
        self.heard.append(message)
        self.legs += legs


@pytest.fixture
def floor() -> Iterator[Floor]:
    with Floor() as made:
        yield made


@pytest.fixture
def ends(floor: Floor) -> Iterator[tuple[End, End]]:
    ours, theirs = socket_pair()
    worker, broker = End(floor, ours, decode_from_broker), End(floor, theirs, decode_from_worker)
    yield worker, broker
    for end in (worker, broker):
        for leg in (*end.channel.close(), *end.legs):
            idle_leg.retire(leg)


def a_leg(floor: Floor, serial: int = 1) -> tuple[PoolLeg, object]:
    ours, theirs = tcp_pair()
    floor.keep(theirs)
    leg = floor.readiness.open(ours, PoolLeg)
    leg.begin(Role.OPENER, PEER, card=LegCard(serial, 1.0, 1e9))
    return leg, theirs


def full(*legs: PoolLeg) -> bytes:
    return Full(PEER, tuple(idle_leg.card_to_send(leg) for leg in legs)).encode()


def fill(end: End) -> int:
    """Say things until something waits; tell how many that were."""
    said = 0
    while not end.channel.is_congested:
        end.channel.say(Gone(PEER, tuple(range(4000))).encode())
        said += 1
    return said


def test_a_leg_changes_hands_and_goes_on(floor: Floor, ends: tuple[End, End]) -> None:
    worker, broker = ends
    leg, far = a_leg(floor)
    leg.begin(Role.OPENER, PEER, session=7, card=leg.card)
    broker.channel.say(full(leg), [leg])
    assert leg.fd == -1
    turn_until(lambda: worker.legs)
    [arrived] = worker.legs
    assert (arrived.card, arrived.state.session) == (replace(LegCard(1, 1.0, 1e9), session=7), 7)
    assert idle_leg.is_sound(arrived)
    assert arrived.is_fit(2.0)
    arrived.say(Ping(1, 1))
    assert receive(far, 8)[0] == FrameType.PING  # type: ignore[arg-type]


def test_what_finds_no_room_waits_and_keeps_its_order(floor: Floor, ends: tuple[End, End]) -> None:
    worker, broker = ends
    said = fill(worker)
    leg, _ = a_leg(floor)
    give = Give(PEER, (idle_leg.card_to_send(leg),))
    assert not worker.channel.say_now(give.encode(), [leg])
    assert leg.fd >= 0
    worker.channel.say(give.encode(), [leg])
    worker.channel.say(Take(PEER, 2).encode())
    turn_until(lambda: len(broker.heard) == said + 2)
    assert broker.heard[-2:] == [give, Take(PEER, 2)]
    assert not worker.channel.is_congested
    assert leg.fd == -1


def test_legs_that_found_no_room_come_back_when_the_other_end_dies(floor: Floor, ends: tuple[End, End]) -> None:
    worker, broker = ends
    fill(worker)
    leg, _ = a_leg(floor)
    worker.channel.say(Give(PEER, (idle_leg.card_to_send(leg),)).encode(), [leg])
    broker.channel.close()
    turn_until(lambda: worker.ends)
    assert worker.ends == [(None, (leg,))]
    assert leg.fd >= 0
    idle_leg.retire(leg)


def test_what_was_said_before_the_end_is_heard_first(floor: Floor, ends: tuple[End, End]) -> None:
    worker, broker = ends
    worker.channel.say(Take(PEER, 2).encode())
    worker.channel.close()
    broker.channel.say(Empty(PEER).encode())
    turn_until(lambda: broker.ends)
    assert broker.heard == [Take(PEER, 2)]
    assert broker.ends == [(None, ())]


def test_who_stops_hearing_speaks_on_and_leaves_the_other_its_legs(floor: Floor, ends: tuple[End, End]) -> None:
    worker, broker = ends
    broker.channel.say(Empty(PEER).encode())
    worker.channel.stop_hearing()
    assert worker.heard == [Empty(PEER)]
    leg, _ = a_leg(floor)
    broker.channel.say(full(leg), [leg])
    worker.channel.say(Take(PEER, 1).encode())
    worker.channel.close()
    turn_until(lambda: broker.ends)
    assert broker.heard == [Take(PEER, 1)]
    assert broker.ends == [(None, (leg,))]
    idle_leg.retire(leg)


def test_a_message_that_makes_no_sense_ends_the_channel_and_its_descriptors(floor: Floor) -> None:
    ours, theirs = socket_pair()
    broker = End(floor, theirs, decode_from_worker)
    leg, far = a_leg(floor)
    with ours:
        send_message(ours, b"nonsense", [leg.fd])
        idle_leg.retire(leg)
        turn_until(lambda: broker.ends)
    assert "must be msgpack" in str(broker.ends[0][0]) or "must be a list" in str(broker.ends[0][0])
    assert rest_of(far)[1] == "end"  # type: ignore[arg-type]


def test_a_message_that_is_resented_ends_the_channel_and_its_legs(floor: Floor) -> None:
    ours, theirs = socket_pair()
    worker = End(floor, ours, decode_from_broker)
    broker = End(floor, theirs, decode_from_worker, resents=Give)
    leg, far = a_leg(floor)
    worker.channel.say(Give(PEER, (idle_leg.card_to_send(leg),)).encode(), [leg])
    turn_until(lambda: broker.ends and worker.ends)
    assert "anything but this" in str(broker.ends[0][0])
    assert rest_of(far)[1] == "end"  # type: ignore[arg-type]
    assert not worker.channel.say_now(Take(PEER, 1).encode())


# A leg that lies idle, `pools.idle_leg`.


def test_an_idle_leg_answers_a_ping_and_stays(floor: Floor) -> None:
    leg, far = a_leg(floor)
    troubles: list[PoolLeg] = []
    idle_leg.watch(leg, troubles.append)
    far.sendall(encode(Ping(5, 6)))  # type: ignore[attr-defined]
    answer = encode(Pong(5, 6))
    assert receive(far, len(answer)) == answer  # type: ignore[arg-type]
    assert leg.is_fit(2.0)
    assert not troubles
    idle_leg.retire(leg)
    assert rest_of(far) == (b"", "end")  # type: ignore[arg-type]


@pytest.mark.parametrize("said", [Frame(FrameType.GOAWAY).encode(), b"nonsense" * 2, b""])
def test_an_idle_leg_that_is_of_no_use_any_more_is_told_of(floor: Floor, said: bytes) -> None:
    leg, far = a_leg(floor)
    troubles: list[PoolLeg] = []
    idle_leg.watch(leg, troubles.append)
    if said:
        far.sendall(said)  # type: ignore[attr-defined]
    else:
        far.close()  # type: ignore[attr-defined]
    turn_until(lambda: troubles)
    assert not leg.is_fit(2.0)
    idle_leg.retire(leg)
    settle()
    assert set(troubles) == {leg}

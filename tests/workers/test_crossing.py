"""One path through a peer: OPEN and what follows it at once, the answer, and legs that turn out dead."""

import errno
import socket
from collections.abc import Iterator

import pytest

from pools.frame_bodies import Opened, Reset, encode
from pools.frames import FrameType, data_header
from pools.leg_pumps import KEPT_LIMIT_BYTES
from pools.net.clock import monotonic_s
from tests.far_end import plain
from tests.floor import Floor, data_segments, receive, reset, rest_of, send_all, settle, turn_until
from tests.workers.crossroads import Crossroads, Far
from workers.settings import Mode

EARLY = b"hello"
CORKED_S = 0.15  # the kernel keeps what may wait for more up to 0.2 s (tcp(7), MSG_MORE)
MUCH = bytes(range(251)) * 1000  # more than is kept; 251 is prime: a piece out of place shows


@pytest.fixture
def floor() -> Iterator[Floor]:
    with Floor() as made:
        yield made


@pytest.fixture
def world(floor: Floor) -> Iterator[Crossroads]:
    made = Crossroads(floor)
    yield made
    made.close()


def ends_in_order(world: Crossroads, client: socket.socket, far: Far) -> None:
    client.shutdown(socket.SHUT_WR)
    far.hear_fin()
    far.fin()
    assert rest_of(client) == (b"", "end")
    world.lets_go()


def test_payload_follows_open_at_once_and_the_answer_opens_both_ways(world: Crossroads) -> None:
    far = world.legs.ready()
    client = world.begin()
    send_all(client, EARLY)
    message = far.opened()
    assert (message.destination, message.via) == (world.target, ())
    assert str(message.client) == "{}:{}".format(*client.getsockname())
    assert far.hear_data(len(EARLY)) == EARLY
    assert world.session.relay is None
    far.grant()
    far.say_data(b"welcome")
    assert receive(client, 7) == b"welcome"
    send_all(client, b"more")
    assert far.hear_data(4) == b"more"
    assert world.session.trace_id == message.trace_id != bytes(16)
    ends_in_order(world, client, far)
    (line,) = world.logged()
    assert (line[7], line[8], line[10]) == ("--", "-", "bytes=9/7")
    assert line[13:15] == ["via=-/mumbai", "far=mumbai/opened/7"]
    assert world.counts == {}


def test_open_and_what_the_client_has_said_already_are_one_packet(world: Crossroads) -> None:
    far = world.legs.ready()
    world.begin(EARLY)
    far.opened()
    assert far.hear_data(len(EARLY)) == EARLY
    assert data_segments(far.sock) == 1


def test_open_does_not_wait_for_a_client_that_says_nothing(world: Crossroads) -> None:
    took_s = []
    for _ in range(5):
        far = world.legs.ready()
        world.begin()
        began_s = monotonic_s()
        far.opened()
        took_s.append(monotonic_s() - began_s)
    assert min(took_s) < CORKED_S


def test_the_end_goes_out_with_what_was_said_last(world: Crossroads) -> None:
    far = world.ask()
    destination = world.accept()
    assert isinstance(far.hear_body(), Opened)
    before = data_segments(far.sock)
    send_all(destination, EARLY)
    destination.shutdown(socket.SHUT_WR)
    assert far.hear_data(len(EARLY)) == EARLY
    far.hear_fin()
    assert data_segments(far.sock) == before + 1
    far.fin()


def test_payload_may_come_together_with_the_answer(world: Crossroads) -> None:
    far = world.legs.ready()
    client = world.begin()
    far.opened()
    answer = encode(Opened("mumbai", 7), session=far.session)
    far.send(answer, data_header(far.session, 7) + b"welcome", plain(FrameType.FIN, far.session))
    assert rest_of(client) == (b"welcome", "end")
    client.shutdown(socket.SHUT_WR)
    far.hear_fin()
    world.lets_go()
    assert len(world.legs.idle) == 1


def test_a_leg_carries_one_session_after_another(world: Crossroads) -> None:
    far = world.legs.ready()
    for number in (1, 2, 3):
        client = world.begin()
        far.opened()
        assert far.session == number
        far.grant()
        send_all(client, EARLY)
        assert far.hear_data(len(EARLY)) == EARLY
        ends_in_order(world, client, far)
    assert world.legs.dialled == []


def test_a_refusal_resets_the_client_and_gives_the_leg_back(world: Crossroads) -> None:
    far = world.legs.ready()
    client = world.begin()
    send_all(client, EARLY)
    far.opened()
    far.hear_data(len(EARLY))
    far.refuse()
    far.hear_fin()
    assert rest_of(client) == (b"", "reset")
    world.lets_go()
    (line,) = world.logged()
    assert (line[7], line[8], line[14]) == ("SC", "ECONNREFUSED", "far=mumbai/connect/7")
    (leg,) = world.legs.idle
    assert leg.is_fit(0.0)
    again = world.begin()
    far.opened()
    far.grant()
    ends_in_order(world, again, far)
    assert world.counts == {}


def test_a_refusal_after_the_clients_end_needs_no_other(world: Crossroads) -> None:
    far = world.legs.ready()
    client = world.begin()
    client.shutdown(socket.SHUT_WR)
    far.opened()
    far.hear_fin()
    far.refuse()
    assert rest_of(client) == (b"", "reset")
    world.lets_go()
    assert len(world.legs.idle) == 1


def test_a_dead_leg_is_replaced_without_a_word_to_the_client(world: Crossroads) -> None:
    stale, good = world.legs.ready(), world.legs.ready()
    client = world.begin()
    send_all(client, EARLY)
    stale.opened()
    stale.hear_data(len(EARLY))
    reset(stale.sock)
    good.opened()
    assert good.hear_data(len(EARLY)) == EARLY
    good.grant()
    ends_in_order(world, client, good)
    assert world.counts == {"LEGS_STALE": 1, "OPEN_RETRIES": 1}


def test_a_leg_that_was_dead_before_open_is_replaced(world: Crossroads) -> None:
    dead, good = world.legs.ready(), world.legs.ready()
    reset(dead.sock)
    client = world.begin()
    good.opened()
    good.grant()
    ends_in_order(world, client, good)
    assert world.counts == {"LEGS_STALE": 1, "OPEN_RETRIES": 1}


def test_after_two_dead_legs_a_new_one_is_dialled(world: Crossroads) -> None:
    dead = [world.legs.ready() for _ in range(3)]
    new = world.legs.to_dial()
    for far in dead:
        reset(far.sock)
    client = world.begin()
    send_all(client, EARLY)
    new.opened()
    assert new.hear_data(len(EARLY)) == EARLY
    new.grant()
    ends_in_order(world, client, new)
    assert (world.legs.dialled, len(world.legs.idle), world.legs.misses) == (["mumbai"], 2, 0)
    assert world.counts == {"LEGS_STALE": 2, "OPEN_RETRIES": 2}


def test_a_reset_instead_of_an_answer_moves_the_session_on(world: Crossroads) -> None:
    far = world.legs.ready()
    new = world.legs.to_dial()
    client = world.begin()
    far.opened()
    far.tell(Reset(errno.ECONNABORTED))
    new.opened()
    new.grant()
    ends_in_order(world, client, new)
    assert world.counts == {"LEGS_STALE": 1, "OPEN_RETRIES": 1}


def test_without_a_leg_and_a_peer_the_client_is_reset(world: Crossroads) -> None:
    client = world.begin()
    assert rest_of(client) == (b"", "reset")
    assert [line[7:9] for line in world.logged()] == [["SC", "ECONNREFUSED"]]
    assert world.legs.misses == 1


def test_a_new_leg_that_is_cut_off_is_replaced_once(world: Crossroads) -> None:
    """It had come to a worker of the peer that was about to go."""
    cut, new = world.legs.to_dial(), world.legs.to_dial()
    client = world.begin()
    send_all(client, EARLY)
    cut.opened()
    reset(cut.sock)
    new.opened()
    assert new.hear_data(len(EARLY)) == EARLY
    new.grant()
    ends_in_order(world, client, new)
    assert world.counts == {"LEGS_STALE": 1, "OPEN_RETRIES": 1}


def test_a_second_new_leg_that_is_cut_off_ends_the_session(world: Crossroads) -> None:
    both = [world.legs.to_dial(), world.legs.to_dial()]
    client = world.begin()
    for new in both:
        new.opened()
        reset(new.sock)
    assert rest_of(client) == (b"", "reset")
    world.lets_go()
    assert [line[7:9] for line in world.logged()] == [["SC", "ECONNRESET"]]
    assert world.legs.dialled == ["mumbai", "mumbai"]


@pytest.mark.parametrize("words", [b"\xff" * 8, plain(FrameType.FIN, 1), data_header(1, 1) + b"?"])
def test_an_answer_that_makes_no_sense_costs_the_leg(world: Crossroads, words: bytes) -> None:
    new = world.legs.to_dial()
    client = world.begin()
    new.opened()
    new.send(words)
    assert rest_of(client) == (b"", "reset")
    world.lets_go()
    assert [line[7:9] for line in world.logged()] == [["SC", "EPROTO"]]
    assert world.counts == {"PEER_PROTOCOL_ERRORS": 1}


def test_payload_that_breaks_the_protocol_ends_an_open_session(world: Crossroads) -> None:
    far = world.legs.ready()
    client = world.begin()
    far.opened()
    far.grant()
    turn_until(lambda: world.session.relay is not None)
    far.send(b"\xff" * 8)
    assert rest_of(client) == (b"", "reset")
    world.lets_go()
    assert [line[7:9] for line in world.logged()] == [["SD", "EPROTO"]]
    assert world.counts == {"PEER_PROTOCOL_ERRORS": 1}


def test_a_reset_right_behind_the_answer_is_the_destinations(world: Crossroads) -> None:
    far = world.legs.ready()
    client = world.begin()
    far.opened()
    far.grant()
    reset(far.sock)
    assert rest_of(client) == (b"", "reset")
    world.lets_go()
    (line,) = world.logged()
    assert line[7][0] == "S"


def test_no_more_is_taken_than_can_be_kept_until_the_answer(floor: Floor, world: Crossroads) -> None:
    far = world.legs.ready()
    client = world.begin()
    sent = client.send(MUCH)
    assert sent > KEPT_LIMIT_BYTES
    far.opened()
    assert far.hear_data(KEPT_LIMIT_BYTES) == MUCH[:KEPT_LIMIT_BYTES]
    settle()
    assert far.is_quiet
    far.grant()
    assert far.hear_data(sent - KEPT_LIMIT_BYTES) == MUCH[KEPT_LIMIT_BYTES:sent]
    ends_in_order(world, client, far)


def test_what_was_kept_arrives_once_and_whole_on_a_second_leg(world: Crossroads) -> None:
    fars = [world.legs.ready(), world.legs.to_dial()]
    client = world.begin()
    sent = client.send(MUCH)
    client.shutdown(socket.SHUT_WR)
    for far in fars:
        far.opened()
        assert far.hear_data(KEPT_LIMIT_BYTES) == MUCH[:KEPT_LIMIT_BYTES]
        if far is fars[0]:
            reset(far.sock)
    far.grant()
    assert far.hear_data(sent - KEPT_LIMIT_BYTES) == MUCH[KEPT_LIMIT_BYTES:sent]
    far.hear_fin()
    far.fin()
    assert rest_of(client) == (b"", "end")


def test_the_clients_words_to_a_proxy_are_not_payload(floor: Floor) -> None:
    world = Crossroads(floor, mode=Mode.CONNECT)
    far = world.legs.ready()
    client = world.begin()
    send_all(client, f"CONNECT {world.target} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + EARLY)
    assert far.opened().destination == world.target
    assert far.hear_data(len(EARLY)) == EARLY
    far.grant()
    assert receive(client, 12) == b"HTTP/1.1 200"
    world.close()

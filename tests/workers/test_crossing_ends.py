"""Who ends a session while it is opened through a peer, and in any order of events: everybody hears of it, once."""

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.frame_bodies import Reset
from tests.floor import Floor, receive, reset, rest_of, send_all, settle, turn_until
from tests.workers.crossroads import Crossroads, Far, reset_of
from workers.settings import Mode

EARLY = b"hello"


@pytest.fixture
def floor() -> Iterator[Floor]:
    with Floor() as made:
        yield made


@pytest.fixture
def world(floor: Floor) -> Iterator[Crossroads]:
    made = Crossroads(floor)
    yield made
    made.close()


def kill(world: Crossroads) -> None:
    world.floor.in_hub(world.sessions.kill_all)


def ends(world: Crossroads) -> list[list[str]]:
    """Give end and errno of each session that was logged."""
    return [line[7:9] for line in world.logged()]


def test_a_client_that_leaves_before_the_answer_takes_the_leg_with_it(world: Crossroads) -> None:
    far = world.legs.ready()
    spare = world.legs.ready()
    client = world.begin()
    send_all(client, EARLY)
    far.opened()
    far.hear_data(len(EARLY))
    reset(client)
    assert reset_of(far.rest()) == errno.ECONNRESET
    world.lets_go()
    assert spare.is_quiet
    assert ends(world) == [["CC", "ECONNRESET"]]
    assert world.counts == {}  # no leg was stale, and nothing was tried again


def test_a_client_that_leaves_after_its_end_does_too(world: Crossroads) -> None:
    far = world.legs.ready()
    client = world.begin()
    far.opened()
    client.shutdown(socket.SHUT_WR)
    far.hear_fin()
    reset(client)
    assert reset_of(far.rest()) == errno.EPIPE  # a reset behind an end, see tcp_reset() in the kernel
    assert ends(world) == [["CC", "EPIPE"]]


def test_a_client_that_leaves_with_much_unsaid_leaves_no_greenlet_behind(floor: Floor, world: Crossroads) -> None:
    far = world.legs.ready(send_buffer=4096, receive_buffer=4096)
    client = world.begin()
    client.send(bytes(200_000))
    far.opened()
    turn_until(lambda: floor.at_work > 0)  # the one that waits to write
    reset(client)
    settle()
    kill(world)
    assert far.rest()[2] == "reset"
    world.lets_go()
    turn_until(lambda: floor.at_work == 0)


def test_a_client_that_leaves_while_a_leg_is_dialled_ends_the_dial(world: Crossroads) -> None:
    stale = world.legs.ready()
    world.legs.dial_hangs()
    client = world.begin()
    stale.opened()
    reset(stale.sock)
    turn_until(lambda: world.legs.dialled)
    reset(client)
    world.lets_go()
    assert ends(world) == [["CC", "ECONNRESET"]]


def test_an_end_before_the_answer_is_passed_on_and_the_other_way_goes_on(world: Crossroads) -> None:
    far = world.legs.ready()
    client = world.begin()
    send_all(client, EARLY)
    client.shutdown(socket.SHUT_WR)
    far.opened()
    far.hear_data(len(EARLY))
    far.hear_fin()
    far.grant()
    far.say_data(b"answer")
    assert receive(client, 6) == b"answer"
    far.fin()
    assert rest_of(client) == (b"", "end")
    world.lets_go()
    assert ends(world) == [["--", "-"]]
    assert len(world.legs.idle) == 1


def in_take(world: Crossroads) -> Far | None:
    """No leg, and a dial that hangs."""
    world.legs.dial_hangs()
    world.begin()
    turn_until(lambda: world.legs.dialled)
    return None


def before_the_answer(world: Crossroads) -> Far | None:
    far = world.legs.ready()
    send_all(world.begin(), EARLY)
    far.opened()
    far.hear_data(len(EARLY))
    return far


def on_the_second_leg(world: Crossroads) -> Far | None:
    stale, far = world.legs.ready(), world.legs.ready()
    world.begin()
    stale.opened()
    reset(stale.sock)
    far.opened()
    return far


def after_the_clients_end(world: Crossroads) -> Far | None:
    far = world.legs.ready()
    client = world.begin()
    client.shutdown(socket.SHUT_WR)
    far.opened()
    far.hear_fin()
    return far


def with_a_leg_that_takes_nothing(world: Crossroads) -> Far | None:
    far = world.legs.ready(send_buffer=4096, receive_buffer=4096)
    world.begin().send(bytes(200_000))
    far.opened()
    turn_until(lambda: world.floor.at_work > 0)
    return far


def while_open(world: Crossroads) -> Far | None:
    far = world.legs.ready()
    world.begin()
    far.opened()
    far.grant()
    turn_until(lambda: world.session.relay is not None)
    return far


STAGES = [
    in_take,
    before_the_answer,
    on_the_second_leg,
    after_the_clients_end,
    with_a_leg_that_takes_nothing,
    while_open,
]


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_session_leaves_nothing(world: Crossroads, stage: Callable[[Crossroads], Far | None]) -> None:
    far = stage(world)
    client = world.clients[-1]
    kill(world)
    assert rest_of(client) == (b"", "reset")
    if far is not None:
        assert far.rest()[2] == "reset"
    world.lets_go()
    turn_until(lambda: world.floor.at_work == 0)
    assert ends(world)[0][0] == ("KD" if stage is while_open else "KC")
    assert (world.sessions.live, world.legs.idle) == (0, [])


@pytest.mark.parametrize("stage", [before_the_answer, on_the_second_leg, after_the_clients_end, while_open])
def test_the_peer_hears_that_a_session_was_killed(world: Crossroads, stage: Callable[[Crossroads], Far | None]) -> None:
    far = stage(world)
    assert far is not None
    kill(world)
    assert reset_of(far.rest()) == errno.ECONNABORTED


def test_time_out_before_the_answer(floor: Floor) -> None:
    world = Crossroads(floor, connect=1.0)
    world.watch()
    far = world.legs.ready()
    client = world.begin()
    far.opened()
    assert rest_of(client) == (b"", "reset")
    assert reset_of(far.rest()) == errno.ETIMEDOUT
    assert ends(world) == [["sC", "ETIMEDOUT"]]
    assert world.counts == {}
    world.close()


class Story:
    """One session through a peer, and whatever happens to it."""

    def __init__(self, world: Crossroads) -> None:
        self.world = world
        self.fars = [world.legs.ready(), world.legs.to_dial()]
        self.hung = world.legs.dial_hangs()
        self.client = world.begin()
        if world.session.listen.mode is Mode.CONNECT:
            send_all(self.client, f"CONNECT {world.target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.far = self.fars[0]
        self.far.opened()
        self.sent = b""
        self.has_ended = False
        self.is_open = False

    def opened(self) -> None:
        if not self.is_open:
            self._far_says(self.far.grant)
            self.is_open = True

    def refused(self) -> None:
        if not self.is_open:
            self._far_says(self.far.refuse)

    def answers(self) -> None:
        if self.is_open:
            self._far_says(lambda: self.far.say_data(b"answer"))

    def far_ends(self) -> None:
        if self.is_open:
            self._far_says(self.far.fin)

    def far_resets(self) -> None:
        self._far_says(lambda: self.far.tell(Reset(errno.ECONNRESET)))

    def leg_breaks(self) -> None:
        _reset(self.far.sock)

    def next_leg(self) -> None:
        """Have the second leg, if the session got that far, hear what it must."""
        self.far = self.fars[1]
        if self.far.sock.fileno() >= 0 and not self.far.session and not self.far.is_quiet:
            self.far.opened()
            self.is_open = False

    def client_says(self) -> None:
        if not self.has_ended:
            with suppress(OSError):
                self.client.send(EARLY)

    def client_ends(self) -> None:
        self.has_ended = True
        with suppress(OSError):
            self.client.shutdown(socket.SHUT_WR)

    def client_resets(self) -> None:
        self.has_ended = True
        _reset(self.client)

    def client_and_leg_break(self) -> None:
        """In one batch of events."""
        _reset(self.far.sock)
        self.client_resets()

    def passes(self) -> None:
        settle()

    def late(self) -> None:
        """Look after it as if the time for its set-up were over."""
        self.world.floor.in_hub(self._time_out)

    def _time_out(self) -> None:
        for session in list(self.world.sessions):
            if session.relay is None:
                session.time_out()

    def killed(self) -> None:
        kill(self.world)

    def _far_says(self, words: Callable[[], object]) -> None:
        if self.far.session:
            with suppress(OSError):
                words()


def _reset(sock: socket.socket) -> None:
    if sock.fileno() >= 0:
        reset(sock)


EVENTS = sorted(name for name, one in vars(Story).items() if callable(one) and not name.startswith("_"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), max_size=10), st.booleans(), st.sampled_from([Mode.FORWARD, Mode.CONNECT]))
def test_any_order_of_events_ends_once_and_leaves_nothing(events: list[str], at_once: bool, mode: Mode) -> None:
    """A forward is set up without a greenlet as long as there are legs, a proxy's session in one."""
    with Floor() as floor:
        world = Crossroads(floor, mode=mode)
        story = Story(world)
        for event in events:
            getattr(story, event)()
            if not at_once:
                settle(3)
        settle()
        story.killed()
        story.hung.set()
        world.lets_go()
        turn_until(lambda: len(floor.resets) == 0 and floor.at_work == 0)
        assert len(world.logged()) == 1
        assert [world.tally_of(index).live for index in range(2)] == [0, 0]
        assert all(leg.state.is_reusable for leg in world.legs.idle)
        world.close()


def test_events_are_known() -> None:
    assert {"opened", "refused", "leg_breaks", "client_says", "client_ends", "client_resets", "late"} <= set(EVENTS)

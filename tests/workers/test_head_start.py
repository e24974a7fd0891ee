"""Sessions whose outbound leg was begun at the client's SYN, and joins the client when it is accepted."""

import errno
import socket

import pytest

from pools.frame_bodies import Open
from pools.net.endpoint import Endpoint
from pools.path_choice import PathSample
from tests.floor import receive, reset, rest_of, send_all, settle, turn_until
from tests.workers.crossroads import MUMBAI, Far, reset_of
from tests.workers.early_world import EarlyWorld, early_world
from workers.settings import ProxyHeader

EARLY = b"hello"
HERE = ((),)
TWO = (("mumbai",), ("singapore",))


def finish(world: EarlyWorld, client: socket.socket, far: Far) -> None:
    client.shutdown(socket.SHUT_WR)
    far.hear_fin()
    far.fin()
    assert rest_of(client) == (b"", "end")
    world.lets_go()


def ends(world: EarlyWorld) -> list[list[str]]:
    """Give end and errno of each session that was logged."""
    return [line[7:9] for line in world.logged()]


def early_us(world: EarlyWorld) -> list[str]:
    return [line[16] for line in world.logged()]


def test_the_session_is_asked_for_before_its_client_is_there_and_named_after_it() -> None:
    with early_world() as world:
        far = world.legs.ready()
        client = world.announced()
        opened = far.opened()
        assert opened == Open(world.target, (), Endpoint(*client.getsockname()), opened.trace_id)
        assert world.sessions.live == 0
        world.let_in(client)
        assert world.session.trace_id == opened.trace_id
        far.grant()
        send_all(client, EARLY)
        assert far.hear_data(len(EARLY)) == EARLY
        assert world.floor.greenlets.made == 0
        finish(world, client, far)
        assert world.early_counts == {"started": 1, "joined": 1}
        assert int(early_us(world)[0].removeprefix("early=")) > 0


def test_what_was_answered_and_said_before_the_client_is_there_waits_for_it() -> None:
    with early_world() as world:
        far = world.legs.ready()
        client = world.announced()
        far.opened()
        far.grant()
        far.say_data(b"220 welcome")
        settle()
        world.let_in(client)
        assert receive(client, 11) == b"220 welcome"
        finish(world, client, far)


def test_a_destination_that_speaks_first_and_leaves_is_heard_to_the_end() -> None:
    with early_world() as world:
        far = world.legs.ready()
        client = world.announced()
        far.opened()
        far.grant()
        far.say_data(b"220 and goodbye")
        far.fin()
        settle()
        world.let_in(client)
        assert receive(client, 15) == b"220 and goodbye"
        client.shutdown(socket.SHUT_WR)
        far.hear_fin()
        world.lets_go()
        assert ends(world) == [["--", "-"]]


def test_a_refusal_before_the_client_is_there_is_its_first_word() -> None:
    with early_world() as world:
        far = world.legs.ready()
        client = world.announced()
        far.opened()
        far.refuse()
        world.let_in(client)
        assert rest_of(client) == (b"", "reset")
        far.hear_fin()
        world.lets_go()
        assert len(world.legs.idle) == 1
        assert ends(world) == [["SC", "ECONNREFUSED"]]


def test_after_a_refusal_the_next_path_is_tried_when_the_client_is_there() -> None:
    with early_world(paths=TWO) as world:
        first, second = world.legs.ready("mumbai"), world.legs.ready("singapore")
        client = world.announced()
        first.opened()
        first.refuse(errno.EHOSTUNREACH)
        settle()
        assert second.is_quiet
        world.let_in(client)
        send_all(client, EARLY)
        second.opened()
        second.grant("singapore")
        assert second.hear_data(len(EARLY)) == EARLY
        finish(world, client, second)
        assert len(world.legs.idle) == 2
        assert world.counts == {"OPEN_RETRIES": 1}


def test_a_leg_that_breaks_meanwhile_is_replaced_when_the_client_is_there() -> None:
    with early_world() as world:
        second, first = world.legs.ready(), world.legs.ready()
        first, second = second, first
        client = world.announced()
        first.opened()
        reset(first.sock)
        settle()
        assert second.is_quiet
        world.let_in(client)
        second.opened()
        second.grant()
        finish(world, client, second)
        assert world.counts == {"OPEN_RETRIES": 1, "LEGS_STALE": 1}


def test_without_a_leg_in_the_pool_one_is_dialled_before_the_client_is_there() -> None:
    with early_world() as world:
        far = world.legs.to_dial()
        client = world.announced()
        far.opened()
        assert world.legs.dialled == ["mumbai"]
        world.let_in(client)
        far.grant()
        finish(world, client, far)
        assert world.legs.misses == 1


@pytest.mark.parametrize("paths", [MUMBAI, TWO])
def test_a_client_waits_for_the_leg_that_is_dialled_for_it(paths: tuple[tuple[str, ...], ...]) -> None:
    with early_world(paths=paths) as world:
        going_on = world.legs.dial_is_slow()
        client = world.announced()
        world.let_in(client)
        send_all(client, EARLY)
        settle()
        far = going_on()
        far.opened()
        far.grant()
        assert far.hear_data(len(EARLY)) == EARLY
        finish(world, client, far)
        assert (world.legs.misses, world.legs.dialled) == (1, ["mumbai"])


def test_a_client_that_leaves_while_its_leg_is_dialled_leaves_it_to_the_pool() -> None:
    with early_world() as world:
        going_on = world.legs.dial_is_slow()
        client = world.announced()
        world.let_in(client)
        settle()
        reset(client)
        turn_until(lambda: not world.sessions.live)
        far = going_on()
        turn_until(lambda: len(world.legs.idle) == 1)
        assert far.is_quiet
        assert ends(world) == [["CC", "ECONNRESET"]]


def test_a_dial_that_fails_before_the_client_is_there_costs_it_nothing() -> None:
    with early_world() as world:
        client = world.announced()  # nobody is there to dial
        far = world.legs.ready()
        world.let_in(client)
        far.opened()
        far.grant()
        finish(world, client, far)
        assert world.early_counts == {"started": 1, "failed": 1}
        assert early_us(world) == ["early=-"]


def test_a_dial_that_fails_while_the_client_waits_for_it_is_made_again() -> None:
    with early_world() as world:
        failing = world.legs.dial_hangs()
        client = world.announced()
        world.let_in(client)
        far = world.legs.ready()
        failing.set()
        far.opened()
        far.grant()
        finish(world, client, far)


def test_a_reset_before_the_client_is_there_is_passed_on() -> None:
    with early_world() as world:
        far = world.legs.ready()
        client = world.announced()
        far.opened()
        far.grant()
        far.say_data(b"sorry")
        far.sock.shutdown(socket.SHUT_WR)
        settle()
        world.let_in(client)
        assert rest_of(client) == (b"sorry", "reset")
        world.lets_go()


def test_through_a_gateway_words_for_the_destination_go_first() -> None:
    with early_world(send_proxy=ProxyHeader.V1) as world:
        far = world.legs.ready()
        client = world.announced()
        far.opened()
        world.let_in(client)
        send_all(client, EARLY)
        far.grant()
        host, port = client.getsockname()
        local = client.getpeername()
        header = f"PROXY TCP4 {host} {local[0]} {port} {local[1]}\r\n".encode()
        assert far.hear_data(len(header) + len(EARLY)) == header + EARLY
        finish(world, client, far)


def test_a_session_is_ended_by_the_operator_while_it_waits_for_the_answer() -> None:
    with early_world() as world:
        far = world.legs.ready()
        client = world.announced()
        far.opened()
        world.let_in(client)
        world.floor.in_hub(world.sessions.kill_all)
        assert rest_of(client) == (b"", "reset")
        assert reset_of(far.rest()) == errno.ECONNABORTED
        world.lets_go()


def spans(world: EarlyWorld) -> tuple[int, int]:
    """Give how long the only session took to be connected, and to be accepted, in microseconds from its beginning."""
    (line,) = world.logged()
    return int(line[9].split("/")[2]), int(line[16].removeprefix("early="))


def test_it_counts_as_connected_since_the_answer_came() -> None:
    with early_world() as world:
        far = world.legs.ready()
        client = world.announced()
        far.opened()
        far.grant()
        settle()
        world.let_in(client)
        finish(world, client, far)
        connect_us, early_us = spans(world)
        assert connect_us < early_us


def test_what_broke_before_does_not_count_as_the_answer() -> None:
    with early_world() as world:
        second, first = world.legs.ready(), world.legs.ready()
        first, second = second, first
        client = world.announced()
        first.opened()
        reset(first.sock)
        settle()
        world.let_in(client)
        second.opened()
        second.grant()
        finish(world, client, second)
        connect_us, early_us = spans(world)
        assert connect_us > early_us


def test_the_time_to_connect_is_the_client_s_own() -> None:
    with early_world() as world:
        far = world.legs.ready()
        client = world.announced()
        far.opened()
        world.let_in(client)
        session = world.session
        assert session.began_s < session.accepted_s
        assert session.deadline_s == session.accepted_s + world.sessions.timeouts.connect
        far.refuse()


def test_a_leg_that_comes_when_the_session_has_gone_another_way_is_for_the_pool() -> None:
    with early_world(paths=TWO, connect=2.0) as world:
        going_on = world.legs.dial_is_slow("mumbai")
        client = world.announced()
        second = world.legs.ready("singapore")
        world.let_in(client)
        second.opened()  # once the first way had its share of the time
        second.grant("singapore")
        first = going_on()
        finish(world, client, second)
        turn_until(lambda: len(world.legs.idle) == 2)
        assert first.is_quiet


def test_nothing_is_begun_towards_a_peer_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    with early_world() as world:
        far = world.legs.ready()
        monkeypatch.setattr(world.legs, "state", lambda _: PathSample(is_up=False))
        world.announced()
        assert far.is_quiet
        assert world.early_counts == {"started": 1, "failed": 1}

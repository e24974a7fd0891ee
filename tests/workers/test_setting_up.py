"""The long way to a relay: one path after another, the time each has, and the way on for a gateway in between."""

import errno
import socket

import pytest

from pools.leg_pumps import KEPT_LIMIT_BYTES
from pools.net.endpoint import Endpoint
from pools.net.errors import Phase
from pools.net.pump import LARGE_BYTES
from pools.net.scoreboard import Cell
from tests.floor import receive, refusing_address, reset, rest_of, send_all, silent_address, turn_until
from tests.workers.crossroads import Crossroads, Far, crossroads, reset_of
from workers.settings import Mode

EARLY = b"hello"
MUCH = bytes(range(251)) * 1000
TWO = (("mumbai",), ("singapore",))
OR_HERE = (("mumbai",), ())
HERE_OR = ((), ("mumbai",))


def ends(world: Crossroads) -> list[list[str]]:
    """Give end, errno and path of each session that was logged."""
    return [[*line[7:9], line[13]] for line in world.logged()]


def finish(world: Crossroads, client: socket.socket, far: Far) -> None:
    client.shutdown(socket.SHUT_WR)
    far.hear_fin()
    far.fin()
    assert rest_of(client) == (b"", "end")
    world.lets_go()


def ask_proxy(world: Crossroads, mode: Mode) -> socket.socket:
    client = world.begin()
    if mode is Mode.CONNECT:
        send_all(client, f"CONNECT {world.target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    else:
        send_all(client, b"\x05\x01\x00")
        assert receive(client, 2) == b"\x05\x00"
        send_all(client, b"\x05\x01\x00\x01\x7f\x00\x00\x01" + world.target.port.to_bytes(2))
    return client


@pytest.mark.parametrize("words", [EARLY, MUCH[:60_000]])
def test_after_a_refusal_the_next_path_hears_the_same(words: bytes) -> None:
    with crossroads(paths=TWO) as world:
        first, second = world.legs.ready("mumbai"), world.legs.ready("singapore")
        client = world.begin()
        send_all(client, words)
        first.opened()
        assert first.hear_data(len(words)) == words
        first.refuse(errno.EACCES)
        first.hear_fin()
        assert second.opened().trace_id == world.session.trace_id
        assert second.hear_data(len(words)) == words
        second.grant("singapore")
        finish(world, client, second)
        assert len(world.legs.idle) == 2
        assert ends(world) == [["--", "-", "via=-/singapore"]]
        assert world.counts == {"OPEN_RETRIES": 1}


def test_a_peer_that_cannot_be_dialled_is_passed_over() -> None:
    with crossroads(paths=TWO) as world:
        second = world.legs.ready("singapore")
        client = world.begin()
        second.opened()
        second.grant()
        finish(world, client, second)
        assert world.legs.dialled == ["mumbai"]
        assert world.counts == {"OPEN_RETRIES": 1}


def test_dead_legs_of_one_path_are_not_held_against_the_next() -> None:
    with crossroads(paths=TWO) as world:
        for _ in range(2):
            reset(world.legs.ready("mumbai").sock)
        reset(world.legs.ready("singapore").sock)
        second = world.legs.ready("singapore")
        client = world.begin()
        second.opened()
        second.grant()
        finish(world, client, second)
        assert world.legs.dialled == ["mumbai"]
        assert world.counts == {"OPEN_RETRIES": 4, "LEGS_STALE": 3}


def test_a_silent_peer_has_its_share_of_the_time() -> None:
    with crossroads(paths=TWO, connect=2.0) as world:
        world.watch()
        first, second = world.legs.ready("mumbai"), world.legs.ready("singapore")
        client = world.begin()
        send_all(client, EARLY)
        first.opened()
        second.opened()
        assert reset_of(first.rest()) == errno.ETIMEDOUT
        assert second.hear_data(len(EARLY)) == EARLY
        second.grant()
        finish(world, client, second)
        assert world.counts == {"OPEN_RETRIES": 1}


def test_a_silent_peer_with_a_full_buffer_does_not_hold_the_next_path_up() -> None:
    """Its leg is closed at once: nobody would read a RESET there, and a pump would wait for that."""
    with crossroads(paths=TWO, connect=2.0) as world:
        world.watch()
        first = world.legs.ready("mumbai", send_buffer=4096, receive_buffer=4096)
        second = world.legs.ready("singapore")
        client = world.begin()
        sent = client.send(MUCH)
        first.opened()
        second.opened()
        assert len(world.floor.resets) == 0
        second.grant()
        assert second.hear_data(sent) == MUCH[:sent]
        finish(world, client, second)


def test_a_dial_that_hangs_has_its_share_too() -> None:
    with crossroads(paths=TWO, connect=2.0) as world:
        world.watch()
        world.legs.dial_hangs()
        second = world.legs.ready("singapore")
        client = world.begin()
        second.opened()
        second.grant()
        finish(world, client, second)


def test_the_last_path_says_how_it_ends() -> None:
    with crossroads(paths=TWO) as world:
        first, second = world.legs.ready("mumbai"), world.legs.ready("singapore")
        client = world.begin()
        first.opened()
        first.refuse(errno.EHOSTUNREACH)
        second.opened()
        second.refuse(errno.ECONNREFUSED)
        assert rest_of(client) == (b"", "reset")
        assert ends(world) == [["SC", "ECONNREFUSED", "via=-/singapore"]]
        assert world.row[Cell.CONNECT_REFUSED] == 1


@pytest.mark.parametrize(
    ("number", "socks", "status"),
    [
        (errno.ECONNREFUSED, 5, b"502"),
        (errno.EACCES, 2, b"403"),
        (errno.EHOSTUNREACH, 4, b"502"),
        (errno.ETIMEDOUT, 6, b"504"),
    ],
)
def test_a_refusal_far_away_has_its_code_in_socks_and_http(number: int, socks: int, status: bytes) -> None:
    for mode in (Mode.SOCKS5, Mode.CONNECT):
        with crossroads(mode=mode) as world:
            far = world.legs.ready()
            client = ask_proxy(world, mode)
            far.opened()
            far.refuse(number)
            data, how = rest_of(client)
            assert how == "end"
            assert data[1] == socks if mode is Mode.SOCKS5 else data.split()[1] == status


def test_a_proxys_client_hears_that_it_is_open_before_the_answer() -> None:
    with crossroads(mode=Mode.SOCKS5) as world:
        far = world.legs.ready()
        client = ask_proxy(world, Mode.SOCKS5)
        far.opened()
        far.grant()
        far.say_data(b"answer")
        assert receive(client, 16) == b"\x05\x00\x00\x01" + bytes(6) + b"answer"
        finish(world, client, far)


def test_a_client_that_leaves_between_two_legs_ends_the_dial() -> None:
    with crossroads(mode=Mode.CONNECT) as world:
        stale = world.legs.ready()
        world.legs.dial_hangs()
        client = ask_proxy(world, Mode.CONNECT)
        stale.opened()
        reset(stale.sock)
        turn_until(lambda: world.legs.dialled)
        reset(client)
        world.lets_go()
        assert ends(world) == [["CC", "ECONNRESET", "via=-/mumbai"]]


@pytest.mark.parametrize("mode", [Mode.FORWARD, Mode.CONNECT])
def test_a_client_that_leaves_behind_a_long_message_is_found_by_a_pump_in_its_greenlet(mode: Mode) -> None:
    """Who sets the session up must not run in there: nobody would come back to the pump."""
    with crossroads(mode=mode) as world:
        far = world.legs.ready()
        client = world.begin() if mode is Mode.FORWARD else ask_proxy(world, mode)
        far.opened()
        assert client.send(MUCH[:LARGE_BYTES]) == LARGE_BYTES
        reset(client)
        said = far.rest()
        assert (said[1], reset_of(said)) == (MUCH[:LARGE_BYTES], errno.ECONNRESET)
        assert ends(world) == [["CC", "ECONNRESET", "via=-/mumbai"]]


def test_a_refused_client_that_has_left_is_no_fault() -> None:
    with crossroads(mode=Mode.SOCKS5) as world:
        far = world.legs.ready()
        client = ask_proxy(world, Mode.SOCKS5)
        far.opened()
        far.refuse()
        reset(client)
        world.lets_go()
        assert len(ends(world)) == 1


def test_nobody_listens_any_more_to_a_client_that_was_told() -> None:
    with silent_address() as address, crossroads(paths=((),), mode=Mode.CONNECT) as world:
        world.target = Endpoint(*address)
        client = ask_proxy(world, Mode.CONNECT)
        turn_until(lambda: world.session.phase is Phase.CONNECT)
        client.send(b"!", socket.MSG_OOB)  # makes each look at the leg ask the kernel for an error
        turn_until(lambda: world.session.inbound.unsure)
        world.floor.in_hub(world.session.time_out)
        assert rest_of(client)[0].startswith(b"HTTP/1.1 504 ")


@pytest.mark.parametrize("is_over", [False, True])
def test_from_here_goes_what_was_said_to_a_peer_in_vain(is_over: bool) -> None:
    with crossroads(paths=OR_HERE) as world:
        far = world.legs.ready()
        client = world.begin()
        send_all(client, EARLY)
        if is_over:  # in one go with what it says: the kernel tells of both once
            client.shutdown(socket.SHUT_WR)
        far.opened()
        far.hear_data(len(EARLY))
        if is_over:
            far.hear_fin()
        far.refuse()
        origin = world.accept()
        assert receive(origin, len(EARLY)) == EARLY
        if not is_over:
            send_all(client, b"more")
            assert receive(origin, 4) == b"more"
            client.shutdown(socket.SHUT_WR)
        assert rest_of(origin) == (b"", "end")
        send_all(origin, b"answer")
        origin.shutdown(socket.SHUT_WR)
        assert rest_of(client) == (b"answer", "end")
        world.lets_go()
        assert ends(world) == [["--", "-", "via=-/-"]]
        assert world.counts == {"OPEN_RETRIES": 1}


def test_from_here_goes_all_of_more_than_is_kept() -> None:
    with crossroads(paths=OR_HERE) as world:
        far = world.legs.ready()
        client = world.begin()
        sent = client.send(MUCH)
        client.shutdown(socket.SHUT_WR)
        far.opened()
        assert far.hear_data(KEPT_LIMIT_BYTES) == MUCH[:KEPT_LIMIT_BYTES]
        far.refuse()
        assert rest_of(world.accept()) == (MUCH[:sent], "end")


def test_a_session_dialled_for_after_a_peer_has_its_own_keepalive() -> None:
    with crossroads(paths=OR_HERE, idle=4.0) as world:
        world.begin()
        world.accept()
        turn_until(lambda: world.session.relay is not None)
        (session,) = world.sessions
        assert session.outbound is not None
        outbound = session.outbound.socket
        world.watch()
        turn_until(lambda: not session.lives or outbound.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        assert session.lives


def test_a_destination_that_refuses_here_may_be_reached_by_a_peer() -> None:
    with refusing_address() as address, crossroads(paths=HERE_OR, mode=Mode.CONNECT) as world:
        world.target = Endpoint(*address)
        far = world.legs.ready()
        client = ask_proxy(world, Mode.CONNECT)
        far.opened()
        far.grant()
        assert receive(client, 12) == b"HTTP/1.1 200"
        assert world.counts == {"OPEN_RETRIES": 1}


def test_a_destination_that_is_silent_here_has_its_share_of_the_time() -> None:
    with silent_address() as address, crossroads(paths=HERE_OR, mode=Mode.CONNECT, connect=2.0) as world:
        world.watch()
        world.target = Endpoint(*address)
        far = world.legs.ready()
        client = ask_proxy(world, Mode.CONNECT)
        far.opened()
        far.grant()
        assert receive(client, 12) == b"HTTP/1.1 200"


def test_a_name_that_is_unknown_here_may_be_known_to_a_peer() -> None:
    def knows_nothing(*_: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with crossroads(paths=HERE_OR, mode=Mode.CONNECT, lookup=knows_nothing) as world:
        world.target = Endpoint("app.example", 443)
        far = world.legs.ready()
        client = ask_proxy(world, Mode.CONNECT)
        assert far.opened().destination == world.target
        far.grant()
        assert receive(client, 12) == b"HTTP/1.1 200"

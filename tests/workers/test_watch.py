"""Sessions that take too long, by limits of tenths of a second."""

import errno
import socket

import pytest

from pools.net.clock import monotonic_s
from pools.net.scoreboard import Cell
from tests.floor import Floor, receive, reset, rest_of, send_all, turn_until
from tests.workers.crossroads import crossroads, reset_of
from tests.workers.world import World
from workers.settings import Mode


@pytest.mark.parametrize("splice", [True, False])
def test_a_session_that_moves_bytes_is_not_idle_and_one_that_stops_is(splice: bool) -> None:
    with Floor(splice=splice) as floor:
        world = World(floor, idle=1.0)
        world.watch()
        client, origin, session = world.connected()
        for _ in range(20):  # over twice the limit
            send_all(client, b"x" * 500_000)
            receive(origin, 500_000)
            now_s = monotonic_s()
            turn_until(lambda now_s=now_s: monotonic_s() - now_s > 0.1)  # type: ignore[misc]
        assert session.relay is not None
        assert (floor.room.spliced_bytes > 0) is splice
        assert rest_of(client) == rest_of(origin) == (b"", "reset")
        assert world.row[Cell.IDLE_TIMED_OUT] == 1
        assert world.logged()[0][7] == "cD"
        world.close()


def test_a_half_closed_session_has_a_limit_of_its_own() -> None:
    with Floor() as floor:
        world = World(floor, idle=60.0, half_closed=0.2)
        world.watch()
        client, origin, _ = world.connected()
        client.shutdown(socket.SHUT_WR)
        assert rest_of(origin) == (b"", "end")
        assert rest_of(client) == (b"", "reset")
        assert world.row[Cell.HALF_CLOSED_TIMED_OUT] == 1
        assert world.logged()[0][7] == "sL"
        world.close()


def test_limits_that_are_off_end_nothing() -> None:
    with Floor() as floor:
        world = World(floor, idle=0.0, half_closed=0.0, connect=1.0, handshake=1.0)
        world.watch()
        client, origin, session = world.connected()
        client.shutdown(socket.SHUT_WR)
        turn_until(lambda: session.watched >= 0)
        began_s = monotonic_s()
        turn_until(lambda: monotonic_s() - began_s > 2.0)
        send_all(origin, b"late, but welcome")
        assert receive(client, 17) == b"late, but welcome"
        world.close()


def test_a_client_that_never_asks_is_ended_in_time() -> None:
    with Floor() as floor:
        world = World(floor, mode=Mode.CONNECT, handshake=1.0)
        world.watch()
        client = world.begin()
        send_all(client, b"CONNECT never")
        assert rest_of(client) == (b"", "reset")
        assert world.row[Cell.HANDSHAKE_TIMED_OUT] == 1
        assert world.logged()[0][7] == "cR"
        world.close()


def test_only_an_outbound_leg_that_lives_gets_keepalive() -> None:
    with Floor() as floor:
        world = World(floor, idle=600.0)
        _, _, session = world.connected()
        assert session.outbound is not None
        leg = session.outbound.socket
        assert leg.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        world.watch()
        turn_until(lambda: session.watched >= 0)
        assert leg.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        shown = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT]
        assert [leg.getsockopt(socket.IPPROTO_TCP, option) for option in shown] == [45, 10, 3, 60_000]
        world.close()


def test_a_session_that_ended_is_forgotten() -> None:
    with Floor() as floor:
        world = World(floor, idle=0.2)
        client, origin, _ = world.connected()
        assert len(world.sessions.watch) == 1
        client.shutdown(socket.SHUT_WR)
        origin.shutdown(socket.SHUT_WR)
        turn_until(lambda: len(world.sessions.watch) == 0)
        world.watch()
        world.close()
        assert world.row[Cell.IDLE_TIMED_OUT] == 0


@pytest.mark.parametrize(("unheard_s", "is_over"), [(19.0, False), (20.0, True)])
def test_a_session_through_a_gateway_that_acknowledges_nothing_is_ended_where_the_kernel_does_not_see_to_it(
    unheard_s: float, is_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.watch.unheard_s", lambda _: unheard_s)
    with crossroads(idle=4.0) as world:
        far = world.legs.ready(send_buffer=4096, receive_buffer=4096)
        client = world.begin()
        far.opened()
        far.grant()
        turn_until(lambda: world.session.relay is not None)
        session = world.session
        send_all(client, bytes(100_000))  # more than goes through: the rest is never acknowledged
        world.watch()
        turn_until(
            lambda: not session.lives or monotonic_s() - session.active_s > 1.5
        )  # looked at twice since it moved
        assert session.lives is not is_over
        if is_over:
            assert reset_of(far.rest()) == errno.ETIMEDOUT
        else:
            reset(far.sock)
        assert rest_of(client) == (b"", "reset")
        assert world.logged()[0][7] == ("sD" if is_over else "SD")

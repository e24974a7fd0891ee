"""Sessions being set up are told from those that only live: by their relay, or by their end."""

import socket

from tests.floor import Floor, rest_of, send_all, turn_until
from tests.workers.world import World
from workers.settings import Mode


def test_a_session_is_being_set_up_until_its_relay_carries_it() -> None:
    with Floor() as floor:
        world = World(floor, mode=Mode.SOCKS5)
        client = world.begin()
        assert (world.sessions.setting_up, world.sessions.live) == (1, 1)
        host, port = world.origin.getsockname()
        send_all(client, b"\x05\x01\x00\x05\x01\x00\x01" + socket.inet_aton(host) + port.to_bytes(2))
        turn_until(lambda: world.sessions.setting_up == 0)
        assert world.sessions.live == 1
        (session,) = world.sessions
        assert session.relay is not None
        floor.in_hub(world.sessions.kill_all)
        assert (world.sessions.setting_up, world.sessions.live) == (0, 0)
        world.close()


def test_one_that_ends_before_that_is_taken_out_once() -> None:
    with Floor() as floor:
        world = World(floor, mode=Mode.SOCKS5)
        rude, killed = world.begin(), world.begin()
        assert world.sessions.setting_up == 2
        send_all(rude, b"\x00 no request")
        rest_of(rude)
        assert (world.sessions.setting_up, world.sessions.live) == (1, 1)
        floor.in_hub(world.sessions.kill_all)
        assert rest_of(killed) == (b"", "reset")
        assert (world.sessions.setting_up, world.sessions.live) == (0, 0)
        world.close()

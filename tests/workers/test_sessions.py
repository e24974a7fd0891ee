"""What is shared by all sessions of a worker: beginning, ending, counting."""

import errno
import gc
import socket

import pytest
from gevent.event import Event

from pools.net.errors import Phase
from pools.net.scoreboard import Cell
from pools.net.sockopts import linger_reset
from tests.floor import Floor, receive, refusing_address, rest_of, send_all, turn_until
from tests.workers.world import World
from workers.access_log import EndedBy
from workers.session import Session
from workers.sessions import end_cell
from workers.settings import Mode


def test_sessions_are_counted_while_they_live_and_after() -> None:
    with Floor() as floor:
        world = World(floor)
        ended: list[int] = []
        world.sessions.on_end = lambda: ended.append(world.sessions.live)
        first, to_first, _ = world.connected()
        second, _, _ = world.connected()
        assert (world.sessions.live, len(list(world.sessions)), world.tally.live) == (2, 2, 2)
        send_all(first, b"hello")
        assert receive(to_first, 5) == b"hello"
        first.shutdown(socket.SHUT_WR)
        to_first.shutdown(socket.SHUT_WR)
        turn_until(lambda: ended == [1])
        floor.in_hub(world.sessions.kill_all)
        assert rest_of(second) == (b"", "reset")
        assert ended == [1, 0]
        tally = world.tally_of(0)
        assert (tally.live, tally.total, tally.failed, tally.forward_bytes) == (0, 2, 0, 5)
        assert [line[7] for line in world.logged()] == ["--", "KD"]
        world.close()


def test_refused_sessions_are_freed_without_the_collector() -> None:
    """The error's traceback led back to its session, and a worker, which collects seldom, grew by 4 KiB with each."""
    with Floor() as floor, refusing_address() as (host, port):
        world = World(floor, mode=Mode.SOCKS5)
        gc.collect()
        gc.disable()
        try:
            for _ in range(2):
                client = world.begin()
                send_all(client, b"\x05\x01\x00\x05\x01\x00\x01" + socket.inet_aton(host) + port.to_bytes(2))
                assert rest_of(client)[1] == "end"
                turn_until(lambda: world.sessions.live == 0)
            assert not [each for each in gc.get_objects() if isinstance(each, Session)]
        finally:
            gc.enable()
        world.close()


def test_a_name_without_addresses_ends_the_session_in_its_phase() -> None:
    def not_found(*_: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with Floor() as floor:
        world = World(floor, mode=Mode.SOCKS5, lookup=not_found)
        client = world.begin()
        send_all(client, b"\x05\x01\x00\x05\x01\x00\x03\x0bapp.example\x01\xbb")
        data, how = rest_of(client)
        assert (data[:2], data[3], how) == (b"\x05\x00", 4, "end")
        (line,) = world.logged()
        assert line[5:9] == ["app.example:443", "-", "SQ", "EHOSTUNREACH"]
        assert world.row[Cell.RESOLVE_FAILED] == 1
        assert world.tally_of(0).failed == 1
        world.close()


def test_a_client_that_leaves_while_its_name_is_looked_up_is_not_dialled_for() -> None:
    found = Event()

    def slow(*_: object) -> list[object]:
        found.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", world.target.port))]

    with Floor() as floor:
        world = World(floor, mode=Mode.SOCKS5, lookup=slow)
        client = world.begin()
        send_all(client, b"\x05\x01\x00\x05\x01\x00\x03\x0bapp.example\x01\xbb")
        assert receive(client, 2) == b"\x05\x00"
        (session,) = world.sessions
        turn_until(lambda: session.phase is Phase.RESOLVE)
        linger_reset(client)
        client.close()
        turn_until(lambda: session.inbound.unsure)
        found.set()
        turn_until(lambda: not session.lives)
        assert [line[7] for line in world.logged()] == ["CC"]
        with pytest.raises(BlockingIOError):
            world.origin.accept()
        world.close()


@pytest.mark.parametrize(
    ("phase", "who", "number", "cell"),
    [
        (Phase.REQUEST, EndedBy.INBOUND_TIMEOUT, errno.ETIMEDOUT, Cell.HANDSHAKE_TIMED_OUT),
        (Phase.REQUEST, EndedBy.REFUSED, 0, Cell.BAD_REQUESTS),
        (Phase.REQUEST, EndedBy.REFUSED, errno.EACCES, Cell.AUTH_FAILED),
        (Phase.REQUEST, EndedBy.REFUSED, errno.ELOOP, Cell.NOT_CAPTURED),
        (Phase.REQUEST, EndedBy.INBOUND, 0, Cell.NULL_SESSIONS),
        (Phase.REQUEST, EndedBy.INBOUND, errno.ECONNRESET, Cell.RESET_BY_INBOUND),
        (Phase.RESOLVE, EndedBy.OUTBOUND, errno.EHOSTUNREACH, Cell.RESOLVE_FAILED),
        (Phase.RESOLVE, EndedBy.OUTBOUND_TIMEOUT, errno.ETIMEDOUT, Cell.RESOLVE_FAILED),
        (Phase.CONNECT, EndedBy.OUTBOUND, errno.ECONNREFUSED, Cell.CONNECT_REFUSED),
        (Phase.CONNECT, EndedBy.OUTBOUND, errno.ENETUNREACH, Cell.CONNECT_UNREACHABLE),
        (Phase.CONNECT, EndedBy.OUTBOUND_TIMEOUT, errno.ETIMEDOUT, Cell.CONNECT_TIMED_OUT),
        (Phase.CONNECT, EndedBy.RESOURCES, errno.EMFILE, Cell.CONNECT_FAILED),
        (Phase.CONNECT, EndedBy.INBOUND, errno.ECONNRESET, Cell.RESET_BY_INBOUND),
        (Phase.DATA, EndedBy.INBOUND, errno.ECONNRESET, Cell.RESET_BY_INBOUND),
        (Phase.LAST, EndedBy.OUTBOUND, errno.ECONNRESET, Cell.RESET_BY_OUTBOUND),
        (Phase.DATA, EndedBy.INBOUND_TIMEOUT, 0, None),
        (Phase.DATA, EndedBy.INTERNAL, 0, Cell.INTERNAL_ERRORS),
        *((phase, EndedBy.KILLED, 0, None) for phase in Phase),
    ],
)
def test_each_end_has_its_total(phase: Phase, who: EndedBy, number: int, cell: Cell | None) -> None:
    assert end_cell(phase, who, number) is cell

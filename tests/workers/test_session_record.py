"""What is said of a session, read off a real one."""

import time

from tests.floor import LIMIT_S, Floor, receive, send_all
from tests.workers.world import World
from workers.access_log import UNKNOWN, EndedBy
from workers.session_record import record_of, row_of, session_id
from workers.settings import Mode


def test_ids_tell_slots_and_sessions_apart() -> None:
    assert session_id(3, 24332) == "3-5f0c"


def test_a_connected_session() -> None:
    with Floor() as floor:
        world = World(floor)
        client, origin, session = world.connected()
        send_all(client, b"ask")
        assert receive(origin, 3) == b"ask"
        send_all(origin, b"answer")
        assert receive(client, 6) == b"answer"
        record = record_of(session, EndedBy.NORMAL, 0, slot=2)
        assert (record.session, record.listener, record.end, record.errno) == ("2-1", "orders", "--", 0)
        assert record.client == "{}:{}".format(*client.getsockname())
        assert record.destination == record.connected == str(world.target)
        assert (record.forward_bytes, record.backward_bytes) == (3, 6)
        assert 0 <= time.time() - record.began_s < LIMIT_S
        assert min(record.handshake_us, record.resolve_us, record.connect_us, record.total_us) >= 0
        assert min(record.inbound_rtt_us, record.outbound_rtt_us) > 0
        row = row_of(session)
        assert (row.client, row.destination) == (record.client, record.connected)
        assert (row.forward_bytes, row.backward_bytes) == (3, 6)
        assert 0 <= row.age_s < LIMIT_S
        world.close()


def test_a_session_that_has_not_asked_yet() -> None:
    with Floor() as floor:
        world = World(floor, mode=Mode.SOCKS5)
        world.begin()
        (session,) = world.sessions
        record = record_of(session, EndedBy.INBOUND, 104, slot=0)
        assert (record.end, record.errno, record.destination, record.connected) == ("CR", 104, "", "")
        unreached = record.handshake_us, record.resolve_us, record.connect_us, record.outbound_rtt_us
        assert unreached == (UNKNOWN,) * 4
        row = row_of(session)
        assert (row.destination, row.forward_bytes, row.outbound_rtt_us) == ("", 0, 0)
        world.close()

"""Legs that are dialled: what comes of each kind of peer, and that nothing stays open of those that fail."""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from greenlet import getcurrent

from pools.handshake import OverlayKey
from pools.key_file import KeyFile
from pools.ledger import leg_id
from pools.leg_dial import KEEPALIVE_IDLE_S, LegDialler
from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, MidmileError, Phase, Side
from pools.net.resolver import Resolver
from pools.net.socket_buffers import send_room_bytes
from pools.net.stream import StreamClosed
from pools.net.transport import Transport, is_mptcp, mptcp_lack
from pools.peer import Peer
from tests.floor import Floor
from tests.pools.far_gateway import KEY, LIMIT_S, NAME, FarGateway, addresses_only, hold_session, wait_until, write_key

ORIGIN = 7


@pytest.fixture
def floor() -> Iterator[Floor]:
    with Floor() as made:
        yield made


def dialler(floor: Floor, folder: Path, *, resolver: Resolver | None = None) -> LegDialler:
    keys = KeyFile(folder / "overlay.key")
    resolver = resolver or addresses_only()
    return LegDialler("oregon", keys=keys, readiness=floor.readiness, resolver=resolver, origin=ORIGIN)


def failure(legs: LegDialler, peer: Peer, *, limit_s: float = LIMIT_S) -> LegError:
    with pytest.raises(LegError) as caught:
        legs.dial(peer, limit_s=limit_s)
    return caught.value


def test_a_leg_is_authenticated_and_carries_sessions(floor: Floor, tmp_path: Path) -> None:
    write_key(tmp_path)
    with FarGateway(floor.readiness) as far:
        began_s = monotonic_s()
        leg = dialler(floor, tmp_path).dial(far.peer(max_age=100.0), limit_s=LIMIT_S)
        assert leg.peer == NAME
        assert leg.card
        assert leg.card.leg == leg_id(ORIGIN, 0)
        assert began_s <= leg.card.born_s <= monotonic_s()
        assert 75.0 <= leg.card.expires_s - leg.card.born_s <= 100.0
        wait_until(lambda: far.legs)
        assert far.legs[0].peer == "oregon"
        hold_session(leg)
        assert leg.fd == -1  # it has no keeper


def test_a_leg_with_a_window_begins_with_buffers_for_it(floor: Floor, tmp_path: Path) -> None:
    write_key(tmp_path)
    with FarGateway(floor.readiness) as far:
        peer = far.peer(initial_window=70)  # any user may have that
        leg = dialler(floor, tmp_path).dial(peer, limit_s=LIMIT_S)
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            assert leg.socket.getsockopt(socket.SOL_SOCKET, buffer) >= 2 * peer.window_bytes
        assert send_room_bytes(leg.socket) >= peer.window_bytes
        leg.close()


def test_no_two_legs_have_one_number_or_age(floor: Floor, tmp_path: Path) -> None:
    write_key(tmp_path)
    with FarGateway(floor.readiness) as far:
        legs = dialler(floor, tmp_path)
        made = [legs.dial(far.peer(), limit_s=LIMIT_S) for _ in range(3)]
        cards = [leg.card for leg in made if leg.card]
        assert len({card.leg for card in cards}) == len({card.expires_s - card.born_s for card in cards}) == 3
        for leg in made:
            leg.close()


def test_a_peer_that_is_not_there_is_told_at_once(floor: Floor, tmp_path: Path) -> None:
    write_key(tmp_path)
    far = FarGateway(floor.readiness)
    far.leave()
    error = failure(dialler(floor, tmp_path), far.peer())
    assert (error.errno, error.phase, error.retryable) == (errno.ECONNREFUSED, Phase.CONNECT, True)
    assert str(far.endpoint) in str(error)


def test_the_next_address_is_tried(floor: Floor, tmp_path: Path) -> None:
    write_key(tmp_path)
    with FarGateway(floor.readiness) as far:
        info = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", far.endpoint.port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", far.endpoint.port)),
        ]
        resolver = Resolver(again_after_s=60.0, on_failure=lambda: None, lookup=lambda *_: info)
        peer = Peer(NAME, Endpoint("mumbai.example", far.endpoint.port))
        dialler(floor, tmp_path, resolver=resolver).dial(peer, limit_s=LIMIT_S).close()
        wait_until(lambda: far.met == 1)


def test_a_name_without_an_address_is_no_leg(floor: Floor, tmp_path: Path) -> None:
    def knows_nothing(*_: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    write_key(tmp_path)
    resolver = Resolver(again_after_s=60.0, on_failure=lambda: None, lookup=knows_nothing)
    error = failure(dialler(floor, tmp_path, resolver=resolver), Peer(NAME, Endpoint("mumbai.example", 1)))
    assert (error.errno, error.phase) == (errno.EHOSTUNREACH, Phase.RESOLVE)


def test_a_peer_that_does_not_believe_us_closes(floor: Floor, tmp_path: Path) -> None:
    write_key(tmp_path, OverlayKey(bytes(32)))
    with FarGateway(floor.readiness, key=KEY) as far:
        error = failure(dialler(floor, tmp_path), far.peer())
        assert error.errno in (errno.ECONNRESET, errno.EKEYREJECTED)
        assert "handshake with gateway mumbai" in str(error)


def test_who_answers_by_another_name_is_not_believed(floor: Floor, tmp_path: Path) -> None:
    write_key(tmp_path)
    with FarGateway(floor.readiness) as far:
        error = failure(dialler(floor, tmp_path), Peer("pune", far.endpoint))
        assert error.errno == errno.EKEYREJECTED
        assert "expected the gateway pune; found mumbai" in str(error.__cause__)


def test_without_a_key_there_is_no_leg_and_with_one_there_is(floor: Floor, tmp_path: Path) -> None:
    with FarGateway(floor.readiness) as far:
        error = failure(dialler(floor, tmp_path), far.peer())
        assert error.errno == errno.EKEYREJECTED
        assert "overlay.key_file" in str(error.__cause__)
        write_key(tmp_path)
        dialler(floor, tmp_path).dial(far.peer(), limit_s=LIMIT_S).close()


def test_a_silent_peer_is_given_up_in_time(floor: Floor, tmp_path: Path) -> None:
    write_key(tmp_path)
    with FarGateway(floor.readiness) as far:
        far.is_silent = True
        error = failure(dialler(floor, tmp_path), far.peer(), limit_s=0.2)
        assert error.errno == errno.ETIMEDOUT


def test_somebody_elses_timeout_is_not_taken_for_ours(floor: Floor, tmp_path: Path) -> None:
    write_key(tmp_path)
    with FarGateway(floor.readiness) as far:
        far.is_silent = True
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.2):
            dialler(floor, tmp_path).dial(far.peer(), limit_s=LIMIT_S)


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize(
    "error", [StreamClosed(), LegError(Side.INBOUND, Phase.CONNECT, errno.ECONNRESET, "the client left")]
)
def test_what_is_thrown_in_from_outside_ends_all_tries(
    floor: Floor, tmp_path: Path, error: MidmileError, hosts: int
) -> None:
    """A session that was killed, or whose client left, must not go on with the next address, nor with another error."""
    write_key(tmp_path)
    with FarGateway(floor.readiness) as far:
        far.is_silent = True
        info = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", far.endpoint.port))] * hosts
        resolver = Resolver(again_after_s=60.0, on_failure=lambda: None, lookup=lambda *_: info)
        legs = dialler(floor, tmp_path, resolver=resolver)
        peer = Peer(NAME, Endpoint("mumbai.example", far.endpoint.port))
        thrower = gevent.get_hub().loop.timer(0.05)
        thrower.start(getcurrent().throw, error)
        with pytest.raises(type(error)) as caught:
            legs.dial(peer, limit_s=LIMIT_S)
        assert caught.value is error
        thrower.close()


@pytest.mark.skipif(bool(mptcp_lack()), reason=f"this kernel has no MPTCP: {mptcp_lack()}")
@pytest.mark.parametrize("accepts", Transport)
def test_a_leg_of_mptcp_carries_sessions_to_any_peer(floor: Floor, tmp_path: Path, accepts: Transport) -> None:
    write_key(tmp_path)
    with FarGateway(floor.readiness, transport=accepts) as far:
        leg = dialler(floor, tmp_path).dial(far.peer(transport=Transport.MPTCP), limit_s=LIMIT_S)
        assert is_mptcp(leg.socket)
        assert leg.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE_IDLE_S
        wait_until(lambda: far.legs)
        assert is_mptcp(far.legs[0].socket) is (accepts is Transport.MPTCP)
        hold_session(leg)

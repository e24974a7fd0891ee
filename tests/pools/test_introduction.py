"""Two fresh legs are introduced to each other, and what comes instead of a handshake is an error."""

import errno
from collections.abc import Iterator

import pytest

from pools.frame_bodies import Ping, encode
from pools.frames import DATA_LIMIT, Frame, FrameType, Header, Role
from pools.handshake import Handshake
from pools.introduction import introduce
from pools.leg import PoolLeg
from pools.net.errors import ProtocolError
from pools.net.stream import StreamClosed, StreamFailed
from tests.far_end import KEY, FarEnd, run
from tests.floor import Floor, reset, settle, tcp_pair, turn_until

NONCES = {Role.OPENER: b"o" * 32, Role.ACCEPTOR: b"a" * 32}


@pytest.fixture
def floor() -> Iterator[Floor]:
    with Floor() as floor:
        yield floor


def end(role: Role, *, peer: str | None = None) -> Handshake:
    return Handshake(role, "oregon" if role is Role.OPENER else "mumbai", keys=[KEY], nonce=NONCES[role], peer=peer)


def fresh(floor: Floor) -> tuple[PoolLeg, FarEnd]:
    ours, theirs = tcp_pair()
    floor.keep(theirs)
    return floor.readiness.open(ours, PoolLeg), FarEnd(theirs)


def test_each_learns_the_other_s_name(floor: Floor) -> None:
    opener, acceptor = (floor.readiness.open(sock, PoolLeg) for sock in tcp_pair())
    at_acceptor = run(floor, lambda: introduce(acceptor, end(Role.ACCEPTOR)))
    at_opener = run(floor, lambda: introduce(opener, end(Role.OPENER, peer="mumbai")))
    turn_until(lambda: at_acceptor and at_opener)
    assert (at_opener, at_acceptor) == (["mumbai"], ["oregon"])
    assert (opener.rest, acceptor.rest) == (b"", b"")
    opener.close()
    acceptor.close()


def test_what_comes_behind_the_handshake_stays_for_whoever_reads_next(floor: Floor) -> None:
    leg, far = fresh(floor)
    outcome = run(floor, lambda: introduce(leg, end(Role.ACCEPTOR)))
    handshake = end(Role.OPENER)
    far.send(handshake.begin())
    answer = far.hear()
    assert isinstance(answer, Frame)
    far.send(handshake.receive(answer), encode(Ping(1, 1)))
    turn_until(lambda: outcome)
    assert (outcome, leg.rest) == (["oregon"], encode(Ping(1, 1)))
    leg.close()


def test_an_acceptor_says_nothing_before_it_is_spoken_to(floor: Floor) -> None:
    leg, far = fresh(floor)
    outcome = run(floor, lambda: introduce(leg, end(Role.ACCEPTOR)))
    far.send(end(Role.OPENER).begin()[:-1])
    settle()
    assert not outcome
    with pytest.raises(BlockingIOError):
        far.sock.recv(1)
    floor.in_hub(leg.close)
    turn_until(lambda: outcome)
    assert isinstance(outcome[0], StreamClosed)


@pytest.mark.parametrize("kind", [FrameType.DATA, FrameType.PAD])
def test_payload_is_no_handshake_and_is_not_waited_for(floor: Floor, kind: FrameType) -> None:
    leg, far = fresh(floor)
    outcome = run(floor, lambda: introduce(leg, end(Role.ACCEPTOR)))
    far.send(Header(kind, 0, DATA_LIMIT).pack())
    turn_until(lambda: outcome)
    assert isinstance(outcome[0], ProtocolError)
    assert f"expected a frame of the handshake; found {kind.name}" in str(outcome[0])
    leg.close()


def test_a_gateway_by_another_name_than_was_dialled_is_not_believed(floor: Floor) -> None:
    opener, acceptor = (floor.readiness.open(sock, PoolLeg) for sock in tcp_pair())
    at_acceptor = run(floor, lambda: introduce(acceptor, end(Role.ACCEPTOR)))
    at_opener = run(floor, lambda: introduce(opener, end(Role.OPENER, peer="singapore")))
    turn_until(lambda: at_opener)
    assert "expected the gateway singapore; found mumbai" in str(at_opener[0])
    floor.in_hub(opener.close)
    turn_until(lambda: at_acceptor)
    assert isinstance(at_acceptor[0], StreamFailed)
    acceptor.close()


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("in_order", [True, False], ids=["end", "reset"])
def test_an_end_before_the_handshake_is_over_is_a_failure_of_the_connection(
    floor: Floor, role: Role, in_order: bool
) -> None:
    leg, far = fresh(floor)
    outcome = run(floor, lambda: introduce(leg, end(role)))
    if in_order:
        far.sock.shutdown(1)
    else:
        reset(far.sock)
    turn_until(lambda: outcome)
    assert isinstance(outcome[0], StreamFailed)
    assert outcome[0].errno == errno.ECONNRESET
    leg.close()

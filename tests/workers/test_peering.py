"""What a worker has to do with other gateways, built from its settings: legs out, legs in, paths."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pools.broker_messages import FromBroker, PeerState, decode_from_worker
from pools.egress_rules import EgressRules
from pools.frame_bodies import Open
from pools.frames import Frame, FrameType
from pools.leg import PoolLeg
from pools.net import sockopts
from pools.net.endpoint import Endpoint
from pools.net.fd_passing import receive_message, send_message, socket_pair
from pools.net.resolver import Resolver
from pools.peer import Peer
from tests.far_end import OPEN, FarEnd
from tests.floor import Floor, rest_of, tcp_pair, turn_until
from tests.workers.gate import key_file
from tests.workers.world import empty_row
from workers.peering import Peering
from workers.post import Post
from workers.settings import Listen, Mode, WorkerSettings
from workers.source_limit import SourceTable

ANY = Endpoint("127.0.0.1", 0)
OVERLAY = Listen("overlay", ANY, Mode.OVERLAY)
ORDERS = Listen("orders", ANY, Mode.SOCKS5, paths=(("mumbai",), ("singapore", "pune"), ()))
PEERS = tuple(Peer(name, Endpoint("192.0.2.1", 7400)) for name in ("mumbai", "singapore"))
STATE = PeerState("mumbai", is_up=True, rtt_us=20_000, loss_ppm=0, rounds=8, is_crowded=False)


@contextmanager
def peering(folder: Path, *listens: Listen, peers: tuple[Peer, ...] = ()) -> Iterator[tuple[Floor, Peering]]:
    with Floor() as floor:
        key_file(folder)
        settings = WorkerSettings(
            listens, 1, 1, gateway="oregon", peers=peers, key_file=str(folder / "overlay.key"), egress=EgressRules()
        )
        ours, theirs = socket_pair()
        with closing(SourceTable.create(room=1, seed=1)) as sources:
            post = Post(0, None, settings, (), empty_row(), sources, 1, ours)
        resolver = Resolver(again_after_s=60.0, on_failure=lambda: None)
        made = Peering(post, room=floor.room, resolver=resolver, serials=count(), sessions_limit=100)
        yield floor, made
        floor.in_hub(made.close)
        ours.close()
        theirs.close()


class Broker:
    """The other end of a worker's channel."""

    def __init__(self, floor: Floor, peering: Peering) -> None:
        ours, theirs = socket_pair()
        floor.keep(ours)
        self._sock = ours
        floor.in_hub(lambda: peering.join_broker(theirs.detach()))

    def say(self, message: FromBroker) -> None:
        send_message(self._sock, message.encode())

    def hear(self) -> Any:
        heard: list[Any] = []

        def comes() -> bool:
            try:
                payload, descriptors = receive_message(self._sock)
            except BlockingIOError:
                return False
            heard.append(decode_from_worker(payload, descriptors=len(descriptors)))
            return True

        turn_until(comes)
        return heard[0]


def test_a_gateway_that_only_dials_lets_nobody_in(tmp_path: Path) -> None:
    with peering(tmp_path, ORDERS, peers=PEERS) as (_, made):
        assert made.overlay is None
        assert made.legs is not None
        assert made.legs.take("mumbai") is None


def test_a_gateway_without_peers_has_no_legs_and_wants_no_broker(tmp_path: Path) -> None:
    with peering(tmp_path, OVERLAY) as (floor, made):
        assert (made.legs, made.overlay is None) == (None, False)
        theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        floor.keep(theirs)
        floor.in_hub(lambda: made.join_broker(ours.detach()))
        assert theirs.recv(1) == b""
        assert made.routes.paths(0) == ((),)


def enter(floor: Floor, made: Peering) -> FarEnd:
    """Let a gateway come in."""
    assert made.overlay is not None
    overlay = made.overlay
    ours, theirs = tcp_pair()
    sockopts.linger_reset(ours)
    floor.keep(theirs)
    leg = floor.readiness.open(ours, PoolLeg)
    floor.in_hub(lambda: overlay.accept(leg, ("192.0.2.1", 5000)))
    far = FarEnd(theirs)
    assert far.introduce("virginia") == "oregon"
    turn_until(lambda: len(overlay) == 1)
    return far


def test_what_a_peer_opens_comes_to_whoever_is_told_of_it(tmp_path: Path) -> None:
    opened: list[tuple[PoolLeg, Open]] = []
    with peering(tmp_path, OVERLAY) as (floor, made):
        made.on_open = lambda leg, message: opened.append((leg, message))
        far = enter(floor, made)
        far.say(OPEN, 1)
        turn_until(lambda: opened)
        ((leg, message),) = opened
        assert (leg.peer, message) == ("virginia", OPEN)
        floor.in_hub(leg.close)


def test_as_long_as_nobody_is_told_a_session_is_cut_off(tmp_path: Path) -> None:
    with peering(tmp_path, OVERLAY) as (floor, made):
        far = enter(floor, made)
        far.say(OPEN, 1)
        assert rest_of(far.sock) == (b"", "reset")


def test_a_gateway_that_drains_tells_peers_to_go(tmp_path: Path) -> None:
    with peering(tmp_path, OVERLAY, peers=PEERS) as (floor, made):
        far = enter(floor, made)
        assert not made.is_left
        floor.in_hub(made.drain)
        assert far.hear() == Frame(FrameType.GOAWAY)
        far.sock.close()
        turn_until(lambda: made.is_left)


def test_a_gateway_that_only_dials_drains_too(tmp_path: Path) -> None:
    with peering(tmp_path, ORDERS, peers=PEERS) as (floor, made):
        floor.in_hub(made.drain)


def test_paths_follow_what_the_broker_says_of_the_links(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with peering(tmp_path, ORDERS, peers=PEERS) as (floor, made):
        assert made.routes.paths(0) == ORDERS.paths  # they may well be up
        broker = Broker(floor, made)
        broker.say(STATE)
        broker.say(PeerState("mumbai", is_up=False, rtt_us=0, loss_ppm=0, rounds=8, is_crowded=False))
        turn_until(lambda: made.routes.paths(0) == ORDERS.paths[1:])  # at once, not at the next beat
        assert caplog.messages == ["gateway mumbai does not answer"]
        broker.say(STATE)
        turn_until(lambda: made.routes.paths(0) == ORDERS.paths)


def test_a_new_broker_hears_all_and_reports_go_to_it(tmp_path: Path) -> None:
    with peering(tmp_path, ORDERS, peers=PEERS) as (floor, made):
        Broker(floor, made).say(STATE)
        second = Broker(floor, made)
        second.say(replace(STATE, peer="singapore"))
        assert {second.hear().peer for _ in range(3)} == {"singapore"}  # a report, an ask, another report
        second.say(STATE)
        turn_until(lambda: second.hear().peer == "mumbai")

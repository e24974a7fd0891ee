"""Legs of peers and legs to them, from one service to the next; and what a service leaves behind when it is gone."""

import errno
import gc
import weakref
from dataclasses import replace
from pathlib import Path

from pools.egress_rules import EgressRules
from pools.frame_bodies import Opened, Refused
from pools.frames import Frame, FrameType, Payload
from pools.net.endpoint import Endpoint
from pools.net.scoreboard import Cell
from pools.peer import Peer
from pools.peer_legs import PeerLegs
from tests.far_end import FarEnd
from tests.floor import reset, rest_of, send_all, settle, turn_until
from tests.workers.shift import Shift, descriptors
from workers.settings import Listen, Mode, Preconnected

ANY = Endpoint("127.0.0.1", 0)
OVERLAY = Listen("overlay", ANY, Mode.OVERLAY, number=1)
MUMBAI = Peer("mumbai", Endpoint("192.0.2.1", 7400))


def test_legs_of_peers_go_on_where_the_gateway_stays_who_it_is_and_new_rules_hold(tmp_path: Path) -> None:
    with Shift(tmp_path) as shift:
        busy, idle = shift.peer(), shift.peer()
        assert isinstance(shift.ask(busy, 1), Opened)
        accepted = shift.accept()
        shift.configure(egress=EgressRules())
        answer = shift.ask(idle, 1)
        assert isinstance(answer, Refused)
        assert answer.errno == errno.EACCES
        send_all(accepted, b"still here")
        assert heard(busy, 10) == b"still here"  # and not GOAWAY
        assert shift.post.row[Cell.LEGS_INBOUND] == 2
        assert [len(list(service.sessions)) for service in shift.services] == [1, 0]
        reset(accepted)
        turn_until(lambda: len(shift.services) == 1)


def test_under_another_name_peers_are_told_to_go_and_come_in_anew(tmp_path: Path) -> None:
    with Shift(tmp_path) as shift:
        busy, idle = shift.peer(), shift.peer()
        assert isinstance(shift.ask(busy, 1), Opened)
        accepted = shift.accept()
        late = FarEnd(shift.connect(1))
        turn_until(lambda: shift.newcomers == 1)
        shift.configure(gateway="ohio")
        assert late.introduce("virginia") == "oregon"  # it was at the old door
        assert idle.hear() == busy.hear() == Frame(FrameType.GOAWAY)
        assert isinstance(shift.ask(late, 1), Opened)  # it cannot know yet
        shift.accept()
        new = shift.peer(answers_as="ohio")
        assert isinstance(shift.ask(new, 1), Opened)
        shift.accept()
        send_all(accepted, b"still here")
        assert heard(busy, 10) == b"still here"
        for far in (busy, idle, late):
            reset(far.sock)
        turn_until(lambda: len(shift.services) == 1)
        assert (shift.post.row[Cell.LEGS_INBOUND], shift.ground.tally.live) == (1, 1)


def test_who_does_not_go_is_closed_once_the_last_session_is_over(tmp_path: Path) -> None:
    with Shift(tmp_path) as shift:
        idle = shift.peer()
        shift.configure(listens=shift.post.settings.listens[:1])
        assert idle.hear() == Frame(FrameType.GOAWAY)
        assert rest_of(idle.sock) == (b"", "end")
        turn_until(lambda: len(shift.services) == 1)


def test_a_drain_serves_what_peers_had_asked_for_and_gives_them_a_moment_to_go(tmp_path: Path) -> None:
    with Shift(tmp_path) as shift:
        crossing, idle = shift.peer(), shift.peer()
        (service,) = shift.services
        shift.floor.in_hub(lambda: service.drain(linger_s=0.0))
        assert crossing.hear() == idle.hear() == Frame(FrameType.GOAWAY)
        assert isinstance(shift.ask(crossing, 1), Opened)
        shift.accept()
        assert not service.is_over
        reset(crossing.sock)
        turn_until(lambda: service.is_over)  # though the other one stays
        shift.floor.in_hub(service.close)
        assert rest_of(idle.sock) == (b"", "end")


def test_who_is_at_the_door_comes_in_where_nobody_else_is_there_yet(tmp_path: Path) -> None:
    """An overlay without a leg was taken for none, and made anew."""
    with Shift(tmp_path) as shift:
        late = FarEnd(shift.connect(1))
        turn_until(lambda: shift.newcomers == 1)
        shift.configure(egress=EgressRules())
        assert shift.newcomers == 1
        assert late.introduce("virginia") == "oregon"
        turn_until(lambda: shift.post.row[Cell.LEGS_INBOUND] == 1)
        assert isinstance(shift.ask(late, 1), Refused)  # by the new rules


def test_legs_to_a_peer_go_on_whatever_else_changes_and_end_with_its_settings(tmp_path: Path) -> None:
    madrid = replace(MUMBAI, name="madrid", number=1, edition=1)
    with Shift(tmp_path, peers=(MUMBAI,)) as shift:
        (mumbai,) = legs_of(shift)
        shift.configure(listens=shift.post.settings.listens[:1])
        assert legs_of(shift) == [mumbai]
        shift.configure(peers=(madrid, MUMBAI))
        assert legs_of(shift)[1] is mumbai
        shift.configure(peers=(MUMBAI,))
        assert legs_of(shift) == [mumbai]
        shift.configure(peers=(replace(MUMBAI, pool_max=7, edition=2),))
        assert legs_of(shift) != [mumbai]
        shift.configure(peers=(), key_file="")
        assert shift.services[-1].peering is None


def test_under_another_name_legs_to_peers_are_made_anew(tmp_path: Path) -> None:
    with Shift(tmp_path, peers=(MUMBAI,)) as shift:
        (mumbai,) = legs_of(shift)
        shift.configure(gateway="ohio")
        assert legs_of(shift) != [mumbai]


def test_legs_of_peers_go_on_when_peers_change_but_for_those_under_another_congestion_control(tmp_path: Path) -> None:
    reno = Peer("virginia", Endpoint("192.0.2.2", 7400), congestion="reno")
    with Shift(tmp_path, peers=(MUMBAI, reno)) as shift:
        virginia, texas = shift.peer(), shift.peer("texas")
        shift.configure(peers=(replace(MUMBAI, pool_max=7, edition=1), reno))
        for far in (virginia, texas):
            assert isinstance(shift.ask(far, 1), Opened)  # and not GOAWAY
        shift.accept()
        of_texas = shift.accept()
        shift.configure(peers=(replace(reno, congestion="cubic", edition=2),))
        assert virginia.hear() == Frame(FrameType.GOAWAY)
        send_all(of_texas, b"still here")
        assert heard(texas, 10) == b"still here"
        reset(virginia.sock)
        reset(texas.sock)
        turn_until(lambda: len(shift.services) == 1)


def test_a_service_without_listeners_goes_on(tmp_path: Path) -> None:
    with Shift(tmp_path) as shift:
        shift.configure(listens=())
        turn_until(lambda: len(shift.services) == 1)
        settle()
        assert not shift.services[-1].is_over


def test_ten_configurations_leave_nothing_behind(tmp_path: Path) -> None:
    with Shift(tmp_path) as shift:
        services = [weakref.ref(shift.services[0])]
        clients = []
        for number in range(10):
            clients.append((shift.connect(0), shift.accept(), shift.peer(answers_as=shift.post.settings.gateway)))
            shift.configure(gateway=("oregon", "ohio")[number % 3 == 0], preconnect=(Preconnected(shift.to, 0),))
            services.append(weakref.ref(shift.services[-1]))
        assert len(shift.services) == 11
        before = descriptors()
        for client, accepted, far in clients:
            for sock in (client, accepted, far.sock):
                sock.close()
        turn_until(lambda: len(shift.services) == 1)
        turn_until(lambda: shift.post.row[Cell.LEGS_INBOUND] == 0)
        assert len(shift.ground.readiness) == len(shift.ground.resets) == shift.ground.tally.live == 0
        assert descriptors() < before - 10 * 5  # ours, those of the worker, and of each service its listeners
        assert descriptors() == shift.descriptors
        gc.collect()
        assert [service() for service in services] == [None] * 10 + [shift.services[0]]


def legs_of(shift: Shift) -> list[PeerLegs]:
    """Give the legs to each peer that new sessions are lent."""
    assert shift.legs is not None
    return list(shift.legs._legs.values())


def heard(far: FarEnd, size: int) -> bytes:
    """Read payload of a session."""
    data = b""
    while len(data) < size:
        piece = far.hear()
        assert isinstance(piece, Payload), f"expected payload; found {piece}"
        data += piece.part
    return data

"""A broker's life: how it fills pools, what it shows of them, how it ends. Workers' sides are in test_broker_client."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pools.broker_messages import Empty, PeerState, Take, decode_from_broker
from pools.handshake import OverlayKey
from pools.link_health import LinkState
from pools.net.fd_passing import receive_message, send_message
from pools.net.link_board import LinkCell
from pools.net.orders import Order, OrderMessage, Report
from pools.net.scoreboard import Cell, ChildState
from pools.net.sealed import seal
from tests.pools.far_gateway import KEY, NAME, FarGateway, hold_session, wait_until, write_key
from tests.pools.pool_world import World, a_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def test_it_fills_pool_min_at_the_start_and_shows_it(world: World) -> None:
    broker = world.broker
    wait_until(lambda: broker.shows(LinkCell.FILLED_TOTAL) == 1, "a filled pool")
    wait_until(lambda: len(world.far.legs) == 5, "4 legs and the probe's")
    wait_until(lambda: broker.shows(LinkCell.STATE) == LinkState.UP.number, "a link that is up")
    wait_until(lambda: broker.shows(LinkCell.WINDOW_SEGMENTS) > 0, "the legs' windows")
    wait_until(lambda: broker.shows(LinkCell.SHORT_MS) == 0, "no lack of legs")
    assert (broker.shows(LinkCell.IDLE_DEPOT), broker.shows(LinkCell.DIALLED_TOTAL)) == (4, 4)
    assert (broker.shows(LinkCell.DIAL_FAILED_TOTAL), broker.shows(LinkCell.MAGAZINE_ROUNDS)) == (0, 2)
    assert broker.shows(LinkCell.RTT_US) > 0
    assert "4 legs are ready" in broker.said()


def test_it_warms_legs_both_ways_before_it_has_them(tmp_path: Path) -> None:
    with a_world(tmp_path, warm=200_000) as world:
        wait_until(lambda: world.broker.shows(LinkCell.IDLE_DEPOT) == 4, "4 legs")
        assert sorted(leg.padded_bytes for leg in world.far.legs) == [0, *[200_000] * 4]  # the probe's is not lent
        wait_until(lambda: world.broker.shows(LinkCell.WINDOW_SEGMENTS) > 0, "the legs' windows")
        assert all(leg.state.is_reusable for leg in world.far.legs)


def test_what_a_leg_begins_with_is_read_from_the_probes(world: World) -> None:
    broker = world.broker
    wait_until(lambda: broker.shows(LinkCell.FIRST_WINDOW_SEGMENTS) > 0, "the probe's window")
    assert broker.shows(LinkCell.FIRST_ADVERTISED_BYTES) > 10_000
    assert broker.shows(LinkCell.FIRST_SEND_BYTES) > 10_000
    world.far.leave()
    wait_until(lambda: broker.shows(LinkCell.FIRST_WINDOW_SEGMENTS) == 0, "nothing known any more")


def test_its_heart_beats(world: World) -> None:
    assert world.broker.shows_of_itself(Cell.STATE) == ChildState.READY
    first = world.broker.shows_of_itself(Cell.HEARTBEAT_NS)
    wait_until(lambda: world.broker.shows_of_itself(Cell.HEARTBEAT_NS) > first, "another beat")


@pytest.mark.parametrize("order", [Order.STOP, Order.DRAIN])
def test_it_ends_when_it_is_told_to(world: World, order: Order) -> None:
    wait_until(lambda: len(world.far.legs) == 5)
    world.broker.order(OrderMessage(order))
    assert world.broker.report() is Report.DRAINED
    assert world.broker.end() == 0
    wait_until(lambda: not world.far.legs, "the end of all legs")


def test_it_ends_with_the_supervisor(world: World) -> None:
    world.broker.channel.close()
    assert world.broker.end() == 0


def test_legs_that_break_in_the_depot_are_replaced_at_once(world: World) -> None:
    wait_until(lambda: len(world.far.legs) == 5)
    world.far.drop(5)
    wait_until(lambda: world.broker.shows(LinkCell.CLOSED_TOTAL) >= 4, "4 legs closed")
    wait_until(lambda: len(world.far.legs) == 5 and world.broker.shows(LinkCell.IDLE_DEPOT) == 4, "4 new ones")


def test_an_ask_waits_until_there_is_a_leg_and_is_refused_when_the_peer_is_down(world: World) -> None:
    world.far.leave()
    wait_until(lambda: world.broker.shows(LinkCell.STATE) == LinkState.DOWN.number, "a link that is down")
    assert world.broker.shows(LinkCell.WENT_DOWN_TOTAL) == 1
    with world.broker.line(0) as line:
        send_message(line, Take(NAME, 2).encode())
        heard: list[object] = []

        def hears() -> bool:
            try:
                heard.append(decode_from_broker(receive_message(line)[0], descriptors=0))
            except BlockingIOError:
                return False
            return isinstance(heard[-1], Empty)

        wait_until(hears, "EMPTY")
    assert isinstance(heard[0], PeerState)
    assert not heard[0].is_up


@pytest.mark.parametrize("said", [b"nonsense", Take("pune", 2).encode()])
def test_a_worker_that_talks_nonsense_loses_its_line_and_nobody_else_does(world: World, said: bytes) -> None:
    client = world.client(0)
    with world.broker.line(1) as line:
        send_message(line, said)

        def is_over() -> bool:
            try:
                return not receive_message(line)[0]
            except BlockingIOError:
                return False

        wait_until(is_over, "the end of the line")
    assert "the channel to worker 1 has ended" in world.broker.said()
    hold_session(world.take(client))


def test_a_line_that_nobody_reads_stops_no_other_and_loses_no_leg(world: World) -> None:
    """The worker that reads nothing asks so often that answers to it find no room."""
    wait_until(lambda: world.broker.shows(LinkCell.FILLED_TOTAL))
    client = world.client(0)
    hold_session(world.take(client))
    with world.broker.line(1) as line:
        for _ in range(500):
            try:
                send_message(line, Take(NAME, 2).encode())
            except BlockingIOError:
                break
        wait_until(lambda: world.broker.shows(LinkCell.IDLE_WORKERS) >= 4, "legs on their way")
        hold_session(world.take(client))
    client.close()
    wait_until(lambda: world.broker.shows(LinkCell.IDLE_DEPOT) == len(world.far.legs) - 1 >= 4, "all legs in the depot")


def test_a_key_file_that_is_gone_or_wrong_costs_legs_and_not_the_broker(tmp_path: Path) -> None:
    with a_world(tmp_path, key=OverlayKey(bytes(32))) as world:
        wait_until(lambda: world.broker.shows(LinkCell.DIAL_FAILED_TOTAL) >= 4, "dials that fail")
        assert "handshake with gateway mumbai" in world.broker.said()
        (tmp_path / "overlay.key").unlink()
        before = world.broker.shows(LinkCell.DIAL_FAILED_TOTAL)
        wait_until(lambda: world.broker.shows(LinkCell.DIAL_FAILED_TOTAL) > before, "another one")
        write_key(tmp_path, KEY)
        wait_until(lambda: world.broker.shows(LinkCell.IDLE_DEPOT) == 4, "a filled pool")


def test_a_broker_without_a_key_file_lives(tmp_path: Path) -> None:
    with a_world(tmp_path, key=None) as world:
        wait_until(lambda: world.broker.shows(LinkCell.DIAL_FAILED_TOTAL) >= 4, "dials that fail")
        write_key(tmp_path, KEY)
        wait_until(lambda: world.broker.shows(LinkCell.IDLE_DEPOT) == 4, "a filled pool")


def test_a_workers_totals_are_added_up_over_its_lives_and_the_brokers(world: World) -> None:
    first = world.client(0)
    hold_session(world.take(first))
    world.shown(LinkCell.HITS_TOTAL, 1)
    world.broker.kill()
    hold_session(world.take(first))  # reported to the next broker
    world.broker.start()
    first.connect(world.broker.line(0))
    world.shown(LinkCell.HITS_TOTAL, 1)
    world.lose(first)
    second = world.client(0)
    hold_session(world.take(second))
    world.shown(LinkCell.HITS_TOTAL, 2)


def test_it_is_told_of_other_peers_and_keeps_the_legs_of_those_that_stay(world: World) -> None:
    broker = world.broker
    wait_until(lambda: broker.shows(LinkCell.IDLE_DEPOT) == 4, "a filled pool")
    with FarGateway(world.floor.readiness, name="madrid") as other:
        madrid = other.peer(number=1, edition=1)
        broker.configure(peers=(world.peer, madrid), workers=1)
        wait_until(lambda: broker.shows(LinkCell.IDLE_DEPOT, of=1) == 4, "another filled pool")
        broker.configure(peers=(replace(madrid, pool_min=5, edition=2), world.peer))
        wait_until(lambda: broker.shows(LinkCell.IDLE_DEPOT, of=1) == 5 and len(other.legs) == 6, "5 legs and a probe")
        assert broker.shows(LinkCell.CLOSED_TOTAL, of=1) == 4
        broker.configure(peers=(world.peer,))
        wait_until(lambda: not other.legs, "no leg to one that is no peer any more")
        assert (broker.shows(LinkCell.STATE, of=1), broker.shows(LinkCell.CLOSED_TOTAL, of=1)) == (0, 9)
    assert (world.far.met, len(world.far.legs), broker.shows(LinkCell.DIALLED_TOTAL)) == (5, 5, 4)


def test_it_ends_by_what_it_cannot_live_by(world: World) -> None:
    sealed = seal("not settings")
    world.broker.order(OrderMessage(Order.CONFIGURE), (sealed,))
    os.close(sealed)
    assert world.broker.end() != 0
    assert "expected BrokerSettings with CONFIGURE; found str" in world.broker.said()

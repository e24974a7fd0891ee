"""A worker's legs with a real broker in another process, which lives, dies and comes back, and a real far gateway."""

import os
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from pools.net.errors import LegError
from pools.net.link_board import LinkCell
from pools.path_choice import PathSample
from tests.pools.far_gateway import LIMIT_S, NAME, hold_session, sockets, wait_until
from tests.pools.pool_world import World, a_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def test_a_leg_goes_from_session_to_session(world: World) -> None:
    client = world.client()
    leg = world.take(client)
    far_end = world.far.leg_at(leg)
    for _ in range(3):
        hold_session(leg)
        assert client.take(NAME) is leg
    assert far_end.state.session == 3
    hold_session(leg)
    world.shown(LinkCell.LENT, 0)
    world.shown(LinkCell.HITS_TOTAL, 4)


def test_a_leg_goes_on_counting_sessions_in_another_worker(tmp_path: Path) -> None:
    with a_world(tmp_path, pool_min=1, pool_max=4, magazine=1) as world:
        first = world.client(0)
        leg = world.take(first)
        far_end = world.far.leg_at(leg)
        hold_session(leg)
        first.close()
        second = world.client(1)
        legs = [world.take(second)]
        while world.far.leg_at(legs[-1]) is not far_end:
            legs.append(world.take(second))
        hold_session(legs.pop())
        assert far_end.state.session == 2
        for leg in legs:
            leg.close()


def test_one_that_retires_keeps_no_leg_but_those_of_sessions(world: World) -> None:
    client = world.client()
    lent = world.take(client)
    wait_until(lambda: world.cache(client).idle)
    client.retire()
    assert (world.cache(client).idle, client.take(NAME)) == ((), None)
    dialled = client.dial(NAME, limit_s=LIMIT_S)
    for leg in (lent, dialled):
        hold_session(leg)
        assert leg.fd < 0
    assert world.cache(client).lent_count == 0
    wait_until(lambda: world.broker.shows(LinkCell.LENT) == 0, "no leg that a worker has")
    client.close()


def test_a_miss_dials_and_the_leg_stays(world: World) -> None:
    client = world.client()
    wait_until(lambda: world.broker.shows(LinkCell.FILLED_TOTAL))
    taken = []
    while leg := client.take(NAME):
        taken.append(leg)
    leg = client.dial(NAME, limit_s=LIMIT_S)
    hold_session(leg)
    assert client.take(NAME) is leg
    leg.close()
    world.shown(LinkCell.LENT, len(taken))
    for leg in taken:
        leg.close()
    world.shown(LinkCell.LENT, 0)


def test_a_dial_that_fails_leaves_nothing(world: World) -> None:
    client = world.client()
    world.far.leave()
    with pytest.raises(LegError, match="ECONNREFUSED"):
        client.dial(NAME, limit_s=LIMIT_S)
    world.shown(LinkCell.DIALLING, 0)


def test_a_broker_that_is_killed_costs_no_leg_and_its_successor_learns_of_all(world: World) -> None:
    client = world.client()
    lent = world.take(client)
    wait_until(lambda: world.broker.shows(LinkCell.FILLED_TOTAL) and world.cache(client).idle)
    world.broker.kill()
    hold_session(lent)
    again = client.take(NAME)
    assert again is lent
    wait_until(lambda: "alone" in repr(client), "the client to notice")
    dialled = client.dial(NAME, limit_s=LIMIT_S)
    world.broker.start()
    client.connect(world.broker.line(0))
    world.shown(LinkCell.LENT, 2)
    wait_until(lambda: world.broker.shows(LinkCell.FILLED_TOTAL), "a pool that is filled again")
    hold_session(again)
    hold_session(dialled)
    world.shown(LinkCell.LENT, 0)


def test_brokers_that_come_and_go_leave_no_descriptor(world: World) -> None:
    client = world.client()
    idle = world.cache(client)

    def ours_apart_from_legs() -> int:
        return sockets(os.getpid()) - len(world.far.legs) - len(idle.idle)

    def is_at_rest() -> bool:
        client.beat()
        depot = world.broker.shows(LinkCell.IDLE_DEPOT)
        is_whole = depot + len(idle.idle) == len(world.far.legs) - 1 >= 4
        return is_whole and sockets(world.broker.pid) == depot + 3  # the probe's leg, two channels

    wait_until(is_at_rest, "legs in the worker and the depot")
    before = ours_apart_from_legs()
    for _ in range(3):
        world.broker.kill()
        world.broker.start()
        client.connect(world.broker.line(0))
        wait_until(is_at_rest, "legs in the worker and the depot, and no socket more")
        assert ours_apart_from_legs() == before


def test_a_worker_that_dies_is_struck_out_and_its_legs_are_replaced(world: World) -> None:
    client = world.client()
    world.take(client)
    world.shown(LinkCell.LENT, 1)
    gone = world.lose(client)
    wait_until(lambda: world.broker.shows(LinkCell.CLOSED_TOTAL) >= gone)
    wait_until(lambda: world.broker.shows(LinkCell.IDLE_DEPOT) == 4, "a depot filled again")
    assert (world.broker.shows(LinkCell.LENT), world.broker.shows(LinkCell.IDLE_WORKERS)) == (0, 0)


def test_a_peer_that_falls_silent_is_soon_down(world: World) -> None:
    client = world.client()
    wait_until(lambda: client.state(NAME).rtt_s, "a round-trip time")
    idle = world.cache(client)
    wait_until(lambda: idle.idle)
    world.far.is_silent = True
    with gevent.Timeout(10.0):  # 5 s are promised, see test_link_health; the rest is for a busy machine
        wait_until(lambda: world.downs, "word that the peer is down")
    assert world.downs == [NAME]
    assert not client.state(NAME).is_up
    assert not idle.idle
    assert client.take(NAME) is None


def test_a_peer_that_comes_back_is_up_again(world: World) -> None:
    client = world.client()
    wait_until(lambda: client.state(NAME).rtt_s)
    world.far.leave()
    wait_until(lambda: not client.state(NAME).is_up, "a peer that is down")
    world.far.come_back()
    wait_until(lambda: client.state(NAME).is_up, "a peer that is up")
    hold_session(world.take(client))
    assert world.downs == [NAME]
    assert "is down" in world.broker.said()


def test_legs_of_a_gateway_that_restarts_are_dropped_before_they_are_lent(world: World) -> None:
    client = world.client()
    cache = world.cache(client)
    wait_until(lambda: cache.idle)
    wait_until(lambda: len(world.far.legs) == 5)
    stale = set(cache.idle)
    world.far.drop(len(world.far.legs))
    wait_until(lambda: not stale.intersection(cache.idle), "stale legs to leave")
    leg = world.take(client)
    assert leg not in stale
    hold_session(leg)
    wait_until(lambda: world.broker.shows(LinkCell.IDLE_DEPOT) + len(cache.idle) >= 4)


def test_nothing_is_known_of_a_peer_before_a_broker_speaks(world: World) -> None:
    client = world.client()
    assert client.state(NAME) == PathSample(is_up=True)
    wait_until(lambda: client.state(NAME).rtt_s)
    assert client.state(NAME).is_up

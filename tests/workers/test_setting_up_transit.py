"""A gateway between two others: what comes from one goes on to the other as it came."""

import errno
import gc
from collections import Counter

import pytest

from pools.frame_bodies import Opened, Refused, Reset, Where, encode
from pools.frames import FrameType
from tests.far_end import OPEN, plain
from tests.floor import reset, rest_of, send_all
from tests.workers.crossroads import ASKER, Crossroads, Far, crossroads, reset_of
from workers.crossing import Crossing
from workers.session import Session
from workers.setting_up import SettingUp

EARLY = b"hello"


def ends(world: Crossroads) -> list[list[str]]:
    """Give end, errno and path of each session that was logged."""
    return [[*line[7:9], line[13]] for line in world.logged()]


def test_a_transit_passes_everything_on() -> None:
    with crossroads() as world:
        far = world.legs.ready("mumbai")
        asker = world.ask("mumbai", "pune", then=EARLY)
        message = far.opened()
        assert (message.via, message.client, message.trace_id) == (("pune",), OPEN.client, OPEN.trace_id)
        assert far.hear_data(len(EARLY)) == EARLY
        far.tell(Opened("pune", 41))
        assert asker.hear_body() == Opened("pune", 41)
        far.say_data(b"answer")
        assert asker.hear_data(6) == b"answer"
        asker.fin()
        far.hear_fin()
        far.fin()
        asker.hear_fin()
        world.lets_go()
        (line,) = world.logged()
        assert line[13:] == [
            f"via={ASKER}/mumbai,pune",
            "far=pune/opened/41",
            f"trace={OPEN.trace_id.hex()}",
            "early=-",
        ]
        assert (len(world.legs.idle), len(world.asking.idle)) == (1, 1)
        assert world.counts == {"OPENS": 1}


def test_a_transit_passes_a_refusal_on_as_it_came_and_both_legs_are_used_again() -> None:
    refused = Refused("pune", errno.ENETUNREACH, 12, Where.CONNECT)
    with crossroads() as world:
        far = world.legs.ready("mumbai")
        asker = world.ask("mumbai", "pune", then=EARLY)
        far.opened()
        far.hear_data(len(EARLY))
        far.tell(refused)
        far.hear_fin()
        assert asker.hear_body() == refused
        asker.fin()
        world.lets_go()
        assert world.counts == {"OPENS": 1}
        world.ask_again(asker, "mumbai")
        far.opened()
        far.grant()
        assert asker.hear_body() == Opened("mumbai", 7)


def test_a_transit_that_does_not_know_the_next_gateway_says_so() -> None:
    with crossroads() as world:
        asker = world.ask("tokyo")
        refused = asker.hear_body()
        assert isinstance(refused, Refused)
        assert (refused.gateway, refused.errno, refused.where) == ("oregon", errno.EHOSTUNREACH, Where.PATH)
        assert world.counts == {"OPENS": 1, "OPENS_REFUSED": 1}


def test_a_transit_whose_next_gateway_cannot_be_reached_says_so() -> None:
    with crossroads() as world:
        refused = world.ask("mumbai").hear_body()
        assert isinstance(refused, Refused)
        assert (refused.gateway, refused.errno, refused.where) == ("oregon", errno.ECONNREFUSED, Where.CONNECT)
        assert world.counts == {"OPENS": 1}


@pytest.mark.parametrize("ends_first", [False, True])
def test_a_reset_crosses_a_transit_before_the_answer(ends_first: bool) -> None:
    with crossroads() as world:
        far = world.legs.ready("mumbai")
        asker = world.ask("mumbai")
        far.opened()
        if ends_first:
            asker.fin()
            far.hear_fin()
        asker.tell(Reset(errno.EPIPE))
        assert reset_of(far.rest()) == errno.EPIPE
        assert asker.rest()[0] == []
        world.lets_go()
        assert ends(world) == [["CC", "EPIPE", f"via={ASKER}/mumbai"]]


def test_an_end_and_a_reset_in_one_go_cross_a_transit() -> None:
    with crossroads() as world:
        far = world.legs.ready("mumbai")
        asker = world.ask("mumbai")
        far.opened()
        asker.send(plain(FrameType.FIN, 1), encode(Reset(errno.EPIPE), session=1))
        assert reset_of(far.rest()) == errno.EPIPE
        asker.rest()


@pytest.mark.parametrize("answered", [False, True])
def test_a_killed_transit_tells_both_sides(answered: bool) -> None:
    with crossroads() as world:
        far = world.legs.ready("mumbai")
        asker = world.ask("mumbai")
        far.opened()
        if answered:
            far.grant()
            asker.hear_body()
        world.floor.in_hub(world.sessions.kill_all)
        assert reset_of(far.rest()) == reset_of(asker.rest()) == errno.ECONNABORTED


@pytest.mark.parametrize("how", ["served", "refused", "refused everywhere", "left"])
def test_what_was_needed_to_open_a_session_is_freed_without_the_collector(how: str) -> None:
    """A session, its crossing and its pump led to one another, and a worker, which collects seldom, grew by 4 KiB."""
    paths = (("mumbai",),) * (2 if how == "refused everywhere" else 1)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with crossroads(paths=paths) as world:
                _have_session(world, world.legs.ready("mumbai"), how)
                world.lets_go()
        kinds = Counter(type(each) for each in gc.get_objects() if isinstance(each, Session | SettingUp | Crossing))
        assert max(kinds.values(), default=0) <= 1, "the last one may be known to who was called last"
    finally:
        gc.enable()


def _have_session(world: Crossroads, far: Far, how: str) -> None:
    client = world.begin()
    send_all(client, EARLY)
    _hear_begin(far)
    if how == "served":
        far.grant()
        far.fin()
        client.shutdown(1)
        far.hear_fin()
    elif how == "left":
        reset(client)
        far.rest()
        return
    else:
        _refuse(far)
    if how == "refused everywhere":
        _hear_begin(far)
        _refuse(far)
    rest_of(client)


def _hear_begin(far: Far) -> None:
    far.opened()
    assert far.hear_data(len(EARLY)) == EARLY


def _refuse(far: Far) -> None:
    far.refuse()
    far.hear_fin()

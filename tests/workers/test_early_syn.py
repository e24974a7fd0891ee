"""SYNs, accepts and limits: what is begun, for whom, and what becomes of it when nobody comes."""

import gc
import logging
import socket
from collections import Counter
from contextlib import closing

import pytest

from pools.net.scoreboard import Cell
from tests.floor import rest_of, settle, turn_until
from tests.workers.early_world import EarlyWorld, early_world
from workers.head_start import DialAhead, OpenAhead
from workers.session import Session
from workers.settings import Limits
from workers.source_limit import SourceTable
from workers.syn_packet import Syn

HERE = ((),)
FEW = Limits(early_syn_pending=2, early_syn_rate=0)
LIFETIME_S = 0.01


def crowd(world: EarlyWorld, count: int, *, host: str = "198.51.100.{}") -> None:
    """Have the SYNs of so many clients seen that will never come, each from an address of its own."""
    local = world.syn_of(world.newcomer()).local
    syns = [Syn((host.format(number), 40_000 + number), local) for number in range(1, count + 1)]

    def see() -> None:
        for syn in syns:
            world.early.seen(syn)

    world.floor.in_hub(see)


def let_time_pass(world: EarlyWorld) -> None:
    """Look until nothing waits for its client any more."""

    def is_over() -> bool:
        world.early.look()
        return not world.early._pairing

    turn_until(is_over)


def test_a_repeated_syn_begins_nothing_more() -> None:
    with early_world() as world:
        far = world.legs.ready()
        client = world.announced()
        world.announce(client)
        world.let_in(client)
        far.opened()
        assert (world.early_counts, world.legs.misses) == ({"started": 1, "joined": 1}, 0)


def test_a_client_whose_syn_was_not_seen_takes_the_usual_way() -> None:
    with early_world() as world:
        far = world.legs.ready()
        client = world.newcomer()
        world.let_in(client)
        far.opened()
        far.grant()
        assert world.early_counts == {}


def test_a_syn_that_waits_unread_while_its_client_is_accepted_is_not_left_behind() -> None:
    with early_world() as world:
        far = world.legs.ready()
        client = world.newcomer()
        world.capture.unread.append(world.syn_of(client))
        world.let_in(client)
        far.opened()
        far.grant()
        assert world.early_counts == {"started": 1, "joined": 1}
        assert len(world.early) == 0


def test_a_syn_for_somebody_else_is_none_of_ours() -> None:
    with early_world() as world:
        world.legs.ready()
        other = ("127.0.0.1", world.origin.getsockname()[1])
        world.floor.in_hub(lambda: world.early.seen(Syn(("192.0.2.1", 1), other)))
        assert (world.early_counts, len(world.early)) == ({}, 0)


def test_a_client_that_never_comes_costs_a_session_and_no_leg() -> None:
    with early_world(early_syn=LIFETIME_S) as world:
        far = world.legs.ready()
        world.announced()
        far.opened()
        let_time_pass(world)
        assert world.row[Cell.EARLY_PENDING] == len(world.early)
        far.hear_fin()
        far.grant()
        far.fin()
        turn_until(lambda: len(world.legs.idle) == 1)
        world.look()
        assert world.row[Cell.EARLY_PENDING] == 0
        assert world.early_counts == {"started": 1, "cancelled": 1}


def test_from_here_a_client_that_never_comes_is_a_reset_for_the_destination() -> None:
    with early_world(paths=HERE, early_syn=LIFETIME_S) as world:
        world.announced()
        accepted = world.accept()
        let_time_pass(world)
        assert rest_of(accepted) == (b"", "reset")


def test_a_leg_that_is_dialled_for_nobody_goes_to_the_pool() -> None:
    with early_world(early_syn=LIFETIME_S) as world:
        going_on = world.legs.dial_is_slow()
        world.announced()
        let_time_pass(world)
        far = going_on()
        turn_until(lambda: len(world.legs.idle) == 1)
        assert far.is_quiet


def test_a_client_that_comes_too_late_takes_the_usual_way() -> None:
    with early_world(early_syn=LIFETIME_S) as world:
        second, first = world.legs.ready(), world.legs.ready()
        first, second = second, first
        client = world.announced()
        first.opened()
        let_time_pass(world)
        world.let_in(client)
        second.opened()
        first.hear_fin()
        first.refuse()
        assert world.early_counts == {"started": 1, "cancelled": 1}


def test_a_path_that_is_no_more_the_first_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = (("mumbai",), ("singapore",))
    with early_world(paths=paths) as world:
        mumbai, singapore = world.legs.ready("mumbai"), world.legs.ready("singapore")
        client = world.announced()
        mumbai.opened()
        monkeypatch.setattr(world.sessions.routes, "paths", lambda _: paths[::-1])
        world.let_in(client)
        singapore.opened()
        mumbai.hear_fin()
        mumbai.refuse()
        assert world.early_counts == {"started": 1, "cancelled": 1}


def test_where_no_session_would_be_accepted_none_is_begun() -> None:
    with early_world() as world:
        world.legs.ready()
        world.early.takes = lambda *_: False
        world.announced()
        world.early.takes = lambda *_: True
        world.early.welcomes = lambda _: False
        world.announced()
        assert (world.early_counts, len(world.early)) == ({}, 0)


def test_a_client_that_its_source_s_limit_refuses_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with early_world() as world, closing(SourceTable.create(room=1, seed=7)) as table:
        sources = table.of(0, workers=1, limit=1)
        monkeypatch.setattr(world.sessions, "_sources", sources)
        far = world.legs.ready()
        client = world.announced()
        far.opened()
        assert sources.admit("127.0.0.1")  # another one was quicker
        world.let_in(client)
        assert rest_of(client)[1] == "reset"
        far.hear_fin()
        far.refuse()
        turn_until(lambda: len(world.legs.idle) == 1)
        world.announced()
        assert world.early_counts == {"started": 1, "joined": 1}


def test_above_the_limit_it_pauses_says_so_once_and_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.pairing._PAUSE_MIN_S", LIFETIME_S)
    with early_world(limits=FEW, paths=HERE) as world:
        with caplog.at_level(logging.WARNING):
            crowd(world, 10)
        assert world.early_counts == {"started": 2, "skipped": 1, "pauses": 1}
        reason = "2 sessions wait for their clients, as many as may"
        shown = f"begins no session at its SYN for 0.01 s: {reason} (0 such pauses not shown)"
        assert [each.message for each in caplog.records] == [shown]
        assert world.capture.calls == ["pause"]
        client = world.newcomer()
        world.let_in(client)  # as usual
        turn_until(lambda: world.session.relay is not None)

        def goes_on() -> bool:
            world.early.look()
            return world.capture.calls == ["pause", "resume"]

        turn_until(goes_on)


def test_those_that_wait_when_it_pauses_still_join_their_clients() -> None:
    with early_world(limits=FEW) as world:
        far = world.legs.ready()
        client = world.announced()
        far.opened()
        world.legs.ready()
        crowd(world, 3)
        assert world.capture.calls == ["pause"]
        world.let_in(client)
        far.grant()
        assert world.early_counts["joined"] == 1


def test_what_a_pause_had_not_yet_read_away_is_not_heeded() -> None:
    with early_world(limits=FEW, paths=HERE) as world:
        crowd(world, 3)
        client = world.newcomer()
        world.capture.unread.append(world.syn_of(client))
        world.let_in(client)
        assert world.early_counts == {"started": 2, "skipped": 1, "pauses": 1}


def test_cancelled_sessions_count_until_their_legs_are_free() -> None:
    with early_world(limits=FEW, early_syn=LIFETIME_S) as world:
        world.early._partings._patience_s = 60.0
        fars = [world.legs.ready() for _ in range(2)]
        crowd(world, 2)
        let_time_pass(world)
        for far in fars:
            far.opened()
            far.hear_fin()
        world.legs.ready()
        crowd(world, 1)
        assert world.early_counts == {"started": 2, "cancelled": 2, "skipped": 1, "pauses": 1}
        for far in fars:
            far.refuse()


def test_one_source_cannot_make_it_pause() -> None:
    with early_world(limits=Limits(early_syn_per_source=2, early_syn_rate=0), paths=HERE) as world:
        crowd(world, 5, host="198.51.100.1")
        assert world.early_counts == {"started": 2, "skipped": 3}
        world.announced()
        assert world.early_counts == {"started": 3, "skipped": 3}


def test_more_syns_a_second_than_it_may_heed_make_it_pause() -> None:
    with early_world(limits=Limits(early_syn_rate=5), paths=HERE) as world:
        crowd(world, 10)
        assert world.early_counts == {"started": 5, "skipped": 1, "pauses": 1}


def test_only_so_many_legs_are_dialled_at_once() -> None:
    with early_world() as world:
        events = [world.legs.dial_hangs() for _ in range(40)]
        crowd(world, 40)
        assert len(world.legs.dialled) == 32
        assert world.early_counts == {"started": 40, "failed": 8}
        for event in events:
            event.set()
        turn_until(lambda: world.floor.at_work == 0)
        world.look()
        assert world.early_counts == {"started": 40, "failed": 40}
        assert len(world.early) == 0


def test_the_end_of_the_worker_cancels_all() -> None:
    with early_world() as world:
        far = world.legs.ready()
        world.announced()
        far.opened()
        world.floor.in_hub(world.early.close)
        assert far.rest()[2] == "reset"
        assert world.capture.calls == ["close"]
        assert world.early_counts == {"started": 1, "cancelled": 1}
        client: socket.socket = world.newcomer()
        world.floor.in_hub(lambda: world.early.seen(world.syn_of(client)))
        settle()
        assert len(world.early) == 0


@pytest.mark.parametrize("paths", [HERE, (("mumbai",),)])
@pytest.mark.parametrize("comes", [True, False])
def test_what_was_begun_is_freed_without_the_collector(
    paths: tuple[tuple[str, ...], ...], comes: bool
) -> None:  # a worker collects seldom
    gc.collect()
    gc.disable()
    try:
        with early_world(paths=paths, early_syn=60.0 if comes else LIFETIME_S) as world:
            for _ in range(5):
                _have_one(world, comes=comes)
            kinds = Counter(
                type(each) for each in gc.get_objects() if isinstance(each, OpenAhead | DialAhead | Session)
            )
        assert max(kinds.values(), default=0) <= 1, "the last one may be known to who was called last"
    finally:
        gc.enable()


def _have_one(world: EarlyWorld, *, comes: bool) -> None:
    far = world.legs.ready()
    client = world.announced()
    if comes:
        world.let_in(client)
        turn_until(lambda: world.sessions.live)
        world.floor.in_hub(world.sessions.kill_all)
    else:
        let_time_pass(world)
    world.floor.in_hub(world.early._partings.close)
    turn_until(lambda: not (world.sessions.live or len(world.early) or world.legs.lent))
    far.sock.close()
    for leg in world.legs.idle:
        leg.keeper = None
        leg.close()
    world.legs.idle.clear()

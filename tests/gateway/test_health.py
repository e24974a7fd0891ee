"""The verdict on a gateway, from numbers alone."""

from dataclasses import replace

import pytest

from gateway.health import Level, Thresholds, Verdict, is_ready, judge
from gateway.link_status import LinkStatus, read_links
from gateway.processes import Memory
from gateway.status import ChildStatus, GatewayStatus
from pools.link_health import LinkState
from pools.net.link_board import LINK_WORDS, LinkBoard, LinkCell
from pools.net.scoreboard import ChildState


def child(slot: int, state: ChildState = ChildState.READY) -> ChildStatus:
    return ChildStatus(
        slot=slot,
        core=slot,
        pid=1000 + slot,
        state=state,
        uptime_s=60.0,
        heartbeat_age_s=0.1,
        loop_lag_us=50,
        sessions=10,
        sessions_limit=100,
        sessions_total=1000,
        sessions_per_second=5,
        legs_inbound=0,
        accept_paused=False,
        moved_bytes=3,
        forward_bytes=1,
        backward_bytes=2,
        cpu_percent=3.0,
        cpu_s=1.0,
        rss_bytes=30_000_000,
        descriptors=50,
        descriptors_limit=1024,
        restarts=0,
    )


def well(workers: int = 2) -> GatewayStatus:
    return GatewayStatus(
        supervisor_pid=999,
        is_supervisor_alive=True,
        uptime_s=61.0,
        heartbeat_limit_s=10.0,
        workers=tuple(child(slot) for slot in range(workers)),
        broker=child(workers),
        admin=child(workers + 1),
        links=(),
        memory=None,
    )


def with_first(**changes: object) -> GatewayStatus:
    status = well()
    return replace(status, workers=(replace(status.workers[0], **changes), status.workers[1]))  # type: ignore[arg-type]


def test_a_gateway_without_a_reason_is_well() -> None:
    verdict = judge(well())
    assert (verdict.level, verdict.reasons, verdict.ok) == (Level.WELL, (), True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": ChildState.ABSENT}, "worker 0 is absent"),
        ({"state": ChildState.DRAINING}, "worker 0 is draining"),
        ({"heartbeat_age_s": 12.34}, "worker 0 gave its last heartbeat 12.3 s ago"),
        ({"loop_lag_us": 300_000}, "worker 0 has a loop that is 300000 us late"),
        ({"accept_paused": True}, "worker 0 takes no new sessions for now, at 10 of 100"),
        ({"descriptors": 1000}, "worker 0 is near its limit of descriptors: 1000 of 1024"),
    ],
)
def test_one_ill_worker_of_two_degrades(changes: dict[str, object], reason: str) -> None:
    verdict = judge(with_first(**changes))
    assert (verdict.level, verdict.reasons, verdict.ok) == (Level.DEGRADED, (reason,), True)


def test_numbers_that_nobody_may_read_are_no_reason() -> None:
    assert judge(with_first(descriptors=None, descriptors_limit=None, rss_bytes=None)).level is Level.WELL
    assert judge(with_first(descriptors_limit=None)).level is Level.WELL


def test_a_supervisor_that_is_gone_is_fatal_while_workers_still_turn() -> None:
    verdict = judge(replace(well(), is_supervisor_alive=False))
    assert (verdict.level, verdict.ok) == (Level.DEAD, False)
    assert verdict.reasons == ("the supervisor, process 999, is gone",)


@pytest.mark.parametrize(
    "changes", [{"state": ChildState.ABSENT}, {"state": ChildState.BOOTING}, {"heartbeat_age_s": 11.0}]
)
def test_no_worker_that_accepts_is_fatal_and_each_says_why(changes: dict[str, object]) -> None:
    status = well()
    ill = tuple(replace(worker, **changes) for worker in status.workers)  # type: ignore[arg-type]
    verdict = judge(replace(status, workers=ill))
    assert verdict.level is Level.DEAD
    assert verdict.reasons[0] == "no worker takes new sessions"
    assert len(verdict.reasons) == 3


def test_an_admin_child_that_hangs_degrades_and_one_that_is_off_does_not() -> None:
    status = well()
    assert judge(replace(status, admin=replace(status.admin, heartbeat_age_s=20.0))).level is Level.DEGRADED
    off = replace(status.admin, state=ChildState.ABSENT, pid=0, heartbeat_age_s=None)
    assert judge(replace(status, admin=off)).level is Level.WELL


def link(state: LinkState = LinkState.UP, *, was_filled: bool = True) -> LinkStatus:
    board = LinkBoard(memoryview(bytearray(LINK_WORDS * 8)).cast("Q"))
    board.use([0])
    board.link(0)[LinkCell.STATE] = state.number
    return replace(read_links(board, now_ns=1)[0], was_filled=was_filled)


def with_links(*links: LinkStatus, **of_broker: object) -> GatewayStatus:
    status = well()
    return replace(status, links=links, broker=replace(status.broker, **of_broker))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": ChildState.ABSENT, "heartbeat_age_s": None}, "the broker is absent, so sessions to peers dial"),
        ({"state": ChildState.BOOTING}, "the broker is booting, so sessions to peers dial"),
        ({"heartbeat_age_s": 20.0}, "the broker gave its last heartbeat 20.0 s ago"),
    ],
)
def test_a_broker_that_is_gone_or_hangs_degrades_where_there_are_peers(changes: dict[str, object], reason: str) -> None:
    assert judge(with_links(link())).level is Level.WELL
    assert judge(with_links(link(), **changes)) == Verdict(Level.DEGRADED, (reason,))
    assert judge(with_links(**changes)).level is Level.WELL


def test_links_degrade_once_all_of_them_are_down() -> None:
    assert judge(with_links(link(LinkState.DOWN), link())).level is Level.WELL
    assert judge(with_links(link(LinkState.DOWN), link(LinkState.UNKNOWN))).level is Level.WELL
    verdict = judge(with_links(link(LinkState.DOWN), link(LinkState.DOWN)))
    assert verdict == Verdict(Level.DEGRADED, ("the links to all peers are down",))


def test_ready_may_mean_that_pools_were_filled() -> None:
    filled, empty = link(), link(was_filled=False)
    down, unknown = link(LinkState.DOWN, was_filled=False), link(LinkState.UNKNOWN, was_filled=False)
    assert is_ready(with_links(filled, down), when_filled=True)
    assert not is_ready(with_links(filled, empty), when_filled=True)
    assert not is_ready(with_links(filled, unknown), when_filled=True)
    assert is_ready(with_links(empty, unknown))
    assert not is_ready(replace(with_links(filled), is_supervisor_alive=False), when_filled=True)


def test_memory_near_the_cgroups_limit_degrades() -> None:
    assert judge(replace(well(), memory=Memory(used_bytes=89, limit_bytes=100))).level is Level.WELL
    verdict = judge(replace(well(), memory=Memory(used_bytes=91, limit_bytes=100)))
    assert verdict.reasons == ("memory is near its limit: 91 of 100 bytes",)


def draining(*workers: dict[str, object]) -> GatewayStatus:
    status = well(len(workers))
    told = (replace(child(slot, ChildState.DRAINING), **changes) for slot, changes in enumerate(workers))  # type: ignore[arg-type]
    return replace(status, workers=tuple(told))


@pytest.mark.parametrize("second", [{}, {"state": ChildState.ABSENT, "heartbeat_age_s": None}])
def test_an_orderly_drain_degrades_and_is_the_only_reason(second: dict[str, object]) -> None:
    status = draining({}, second)
    assert judge(status) == Verdict(Level.DEGRADED, ("draining",))
    assert not is_ready(status)


def test_a_drain_in_which_a_worker_hangs_names_it_and_one_in_which_all_hang_is_fatal() -> None:
    hangs: dict[str, object] = {"heartbeat_age_s": 11.0}
    assert judge(draining({}, hangs)).reasons == ("draining", "worker 1 gave its last heartbeat 11.0 s ago")
    assert judge(draining(hangs, hangs)).level is Level.DEAD


def test_a_drain_without_its_supervisor_is_fatal() -> None:
    assert judge(replace(draining({}), is_supervisor_alive=False)).level is Level.DEAD


def test_the_limit_on_heartbeats_is_the_gateways_own_and_may_be_none() -> None:
    late = with_first(heartbeat_age_s=2.0)
    assert judge(replace(late, heartbeat_limit_s=1.0)).level is Level.DEGRADED
    assert judge(replace(late, heartbeat_limit_s=3.0)).level is Level.WELL
    assert judge(replace(late, heartbeat_limit_s=0.0)).level is Level.WELL


def test_thresholds_are_the_callers() -> None:
    assert judge(with_first(loop_lag_us=60), Thresholds(loop_lag_us=55)).level is Level.DEGRADED


def test_ready_means_every_worker_and_the_supervisor() -> None:
    assert is_ready(well())
    assert not is_ready(with_first(state=ChildState.BOOTING))
    assert not is_ready(with_first(state=ChildState.DRAINING))
    assert not is_ready(replace(well(), is_supervisor_alive=False))

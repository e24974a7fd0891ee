"""The verdict on a gateway, from numbers alone."""

from dataclasses import replace

import pytest

from gateway.health import USUAL, is_ready, judge
from gateway.link_status import LinkStatus, read_links
from gateway.processes import Memory
from gateway.reasons import FATAL, Code, Level, Reason, Thresholds
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
        loop_lag_us=900_000,  # this instant's, which is no reason
        loop_lag_lately_us=50,
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
        restarted_ago_s=None,
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


def only(status: GatewayStatus, thresholds: Thresholds = USUAL) -> Reason:
    """Judge, and give the only reason that there is."""
    (reason,) = judge(status, thresholds, peers={0: "mumbai"}).reasons
    return reason


def test_a_gateway_without_a_reason_is_well() -> None:
    verdict = judge(well())
    assert (verdict.level, verdict.reasons, verdict.ok) == (Level.WELL, (), True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": ChildState.ABSENT}, Reason(Code.WORKER_MISSING, "worker 0", "worker 0 is absent")),
        ({"state": ChildState.DRAINING}, Reason(Code.WORKER_NOT_READY, "worker 0", "worker 0 is draining")),
        (
            {"heartbeat_age_s": 12.34},
            Reason(Code.WORKER_SILENT, "worker 0", "worker 0 gave its last heartbeat 12.3 s ago", 12.34, 10.0, "s"),
        ),
        (
            {"loop_lag_lately_us": 300_000},
            Reason(Code.WORKER_LAGGING, "worker 0", "worker 0 has a loop that is 0.3 s late", 0.3, 0.2, "s"),
        ),
        (
            {"restarted_ago_s": 12.0, "restarts": 3},
            Reason(
                Code.WORKER_REPLACED,
                "worker 0",
                "worker 0 died or hung 12 s ago and was replaced, 3 times since the start",
                12.0,
                60.0,
                "s",
            ),
        ),
        (
            {"accept_paused": True},
            Reason(
                Code.WORKER_PAUSED,
                "worker 0",
                "worker 0 takes no new sessions for now, at 10 of 100",
                10,
                100,
                "sessions",
            ),
        ),
        (
            {"sessions": 91},
            Reason(
                Code.SESSIONS_NEAR_LIMIT,
                "worker 0",
                "worker 0 is near its limit of sessions: 91 of 100",
                91,
                90.0,
                "sessions",
            ),
        ),
        (
            {"descriptors": 1000},
            Reason(
                Code.DESCRIPTORS_NEAR_LIMIT,
                "worker 0",
                "worker 0 is near its limit of descriptors: 1000 of 1024",
                1000,
                0.9 * 1024,
                "descriptors",
            ),
        ),
    ],
    ids=lambda value: str(value.code) if isinstance(value, Reason) else "",
)
def test_one_ill_worker_of_two_degrades(changes: dict[str, object], reason: Reason) -> None:
    verdict = judge(with_first(**changes))
    assert (verdict.level, verdict.reasons, verdict.ok) == (Level.DEGRADED, (reason,), True)


def test_numbers_that_nobody_may_read_are_no_reason() -> None:
    assert judge(with_first(descriptors=None, descriptors_limit=None, rss_bytes=None)).level is Level.WELL
    assert judge(with_first(descriptors_limit=None)).level is Level.WELL


def test_a_supervisor_that_is_gone_is_fatal_while_workers_still_turn() -> None:
    verdict = judge(replace(well(), is_supervisor_alive=False))
    assert (verdict.level, verdict.ok) == (Level.DEAD, False)
    assert list(map(str, verdict.reasons)) == ["supervisor_gone: the supervisor, process 999, is gone"]


@pytest.mark.parametrize(
    "changes", [{"state": ChildState.ABSENT}, {"state": ChildState.BOOTING}, {"heartbeat_age_s": 11.0}]
)
def test_no_worker_that_accepts_is_fatal_and_each_says_why(changes: dict[str, object]) -> None:
    status = well()
    ill = tuple(replace(worker, **changes) for worker in status.workers)  # type: ignore[arg-type]
    verdict = judge(replace(status, workers=ill))
    assert verdict.level is Level.DEAD
    assert verdict.reasons[0].code is Code.NO_WORKER
    assert [reason.of for reason in verdict.reasons[1:]] == ["worker 0", "worker 1"]


def test_an_admin_child_that_hangs_degrades_and_one_that_is_off_does_not() -> None:
    status = well()
    assert only(replace(status, admin=replace(status.admin, heartbeat_age_s=20.0))).code is Code.ADMIN_SILENT
    off = replace(status.admin, state=ChildState.ABSENT, pid=0, heartbeat_age_s=None)
    assert judge(replace(status, admin=off)).level is Level.WELL


def test_a_worker_that_retires_after_a_reload_is_no_reason_and_no_worker_that_serves() -> None:
    retiring = replace(child(0, ChildState.DRAINING), retires=True, restarted_ago_s=1.0, accept_paused=True)
    status = replace(well(), workers=(retiring, child(1)))
    assert judge(status).level is Level.WELL
    assert is_ready(status)
    assert judge(replace(status, workers=(replace(retiring, heartbeat_age_s=11.0), child(1)))).level is Level.DEGRADED
    alone = replace(status, workers=(retiring,))
    assert judge(alone).level is Level.DEAD
    assert not is_ready(alone)


def test_a_reload_that_failed_degrades_and_says_since_when_which_configuration_holds() -> None:
    reason = only(replace(well(), reload_failed=True, reloaded_age_s=75.0, config_generation=4))
    assert (reason.code, reason.of, reason.value, reason.unit) == (Code.RELOAD_FAILED, "gateway", 75.0, "s")
    assert reason.text == "the last reload failed, so the configuration of 75 s ago holds; its number is 4"


def link(state: LinkState = LinkState.UP, *, was_filled: bool = True, **changes: object) -> LinkStatus:
    board = LinkBoard(memoryview(bytearray(LINK_WORDS * 8)).cast("Q"))
    board.use(range(1))
    board.link(0)[LinkCell.STATE] = state.number
    return replace(read_links(board, now_ns=1)[0], was_filled=was_filled, **changes)  # type: ignore[arg-type]


def with_links(*links: LinkStatus, **of_broker: object) -> GatewayStatus:
    status = well()
    return replace(status, links=links, broker=replace(status.broker, **of_broker))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        (
            {"state": ChildState.ABSENT, "heartbeat_age_s": None},
            Code.BROKER_MISSING,
            "the broker is absent, so sessions to peers dial",
        ),
        ({"state": ChildState.BOOTING}, Code.BROKER_MISSING, "the broker is booting, so sessions to peers dial"),
        ({"heartbeat_age_s": 20.0}, Code.BROKER_SILENT, "the broker gave its last heartbeat 20.0 s ago"),
        (
            {"restarted_ago_s": 5.0, "restarts": 1},
            Code.BROKER_REPLACED,
            "the broker died or hung 5 s ago and was replaced, 1 times since the start",
        ),
        (
            {"descriptors": 1000},
            Code.DESCRIPTORS_NEAR_LIMIT,
            "the broker is near its limit of descriptors: 1000 of 1024",
        ),
    ],
)
def test_a_broker_that_is_gone_or_ill_degrades_where_there_are_peers(
    changes: dict[str, object], code: Code, text: str
) -> None:
    assert judge(with_links(link())).level is Level.WELL
    reason = only(with_links(link(), **changes))
    assert (reason.code, reason.of, reason.text) == (code, "broker", text)
    assert judge(with_links(**changes)).level is Level.WELL


def test_each_peer_that_is_down_degrades_by_its_name_or_else_its_number() -> None:
    assert judge(with_links(link(LinkState.UNKNOWN))).level is Level.WELL
    status = with_links(link(LinkState.DOWN), replace(link(), number=1), replace(link(LinkState.DOWN), number=2))
    verdict = judge(status, peers={0: "mumbai", 1: "madrid"})
    assert [(reason.code, reason.of) for reason in verdict.reasons] == [
        (Code.PEER_DOWN, "peer mumbai"),
        (Code.PEER_DOWN, "peer 2"),
    ]
    assert verdict.level is Level.DEGRADED


@pytest.mark.parametrize(
    ("hits", "misses", "is_reason"),
    [(50, 50, False), (49, 51, True), (0, 20, True), (0, 19, False), (0, 0, False)],
)
def test_a_pool_in_which_few_sessions_find_a_leg_degrades(hits: int, misses: int, is_reason: bool) -> None:
    status = with_links(link(hits_lately=hits, misses_lately=misses))
    assert [reason.code for reason in judge(status).reasons] == [Code.POOL_MISSES] * is_reason
    if is_reason:
        reason = only(status)
        assert (reason.of, reason.value, reason.threshold) == ("peer mumbai", hits / (hits + misses), 0.5)
    assert judge(status, Thresholds(hit_rate=0)).level is Level.WELL


def test_a_pool_that_is_short_for_long_degrades() -> None:
    reason = only(with_links(link(short_s=61.0, idle_depot=3)))
    assert (reason.code, reason.value, reason.threshold) == (Code.POOL_SHORT, 61.0, 60.0)
    assert reason.text == "peer mumbai has had fewer than pool_min idle legs for 61 s; 3 now"
    assert judge(with_links(link(short_s=59.0))).level is Level.WELL
    assert judge(with_links(link(short_s=6100.0)), Thresholds(pool_short=0)).level is Level.WELL


def test_of_a_peer_that_is_down_the_pool_is_no_further_reason() -> None:
    lacking = link(LinkState.DOWN, misses_lately=100, short_s=1000.0)
    assert only(with_links(lacking)).code is Code.PEER_DOWN


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
    reason = only(replace(well(), memory=Memory(used_bytes=91, limit_bytes=100)))
    assert (reason.code, reason.of, reason.value, reason.threshold) == (Code.MEMORY_NEAR_LIMIT, "cgroup", 91, 90.0)
    assert reason.text == "memory of the cgroup is near its limit: 91 of 100 bytes"


def test_memory_near_the_operators_own_limit_degrades_with_or_without_a_cgroup() -> None:
    status = well()  # four children of 30 MB
    assert judge(status, Thresholds(memory_limit=134_000_000)).level is Level.WELL
    reason = only(status, Thresholds(memory_limit=133_000_000))
    assert (reason.code, reason.of, reason.value) == (Code.MEMORY_NEAR_LIMIT, "gateway", 120_000_000)
    unseen = replace(status, admin=replace(status.admin, rss_bytes=None), memory=Memory(1, 100))
    assert judge(unseen, Thresholds(memory_limit=133_000_000)).level is Level.WELL


def draining(*workers: dict[str, object]) -> GatewayStatus:
    status = well(len(workers))
    told = (replace(child(slot, ChildState.DRAINING), **changes) for slot, changes in enumerate(workers))  # type: ignore[arg-type]
    return replace(status, workers=tuple(told))


@pytest.mark.parametrize("second", [{}, {"state": ChildState.ABSENT, "heartbeat_age_s": None}])
def test_an_orderly_drain_degrades_and_is_the_only_reason(second: dict[str, object]) -> None:
    status = draining({}, second)
    assert only(status) == Reason(Code.DRAINING, "gateway", "it takes no new sessions, and lets the others end")
    assert not is_ready(status)


def test_a_drain_in_which_a_worker_hangs_names_it_and_one_in_which_all_hang_is_fatal() -> None:
    hangs: dict[str, object] = {"heartbeat_age_s": 11.0}
    found = [(reason.code, reason.of) for reason in judge(draining({}, hangs)).reasons]
    assert found == [(Code.DRAINING, "gateway"), (Code.WORKER_SILENT, "worker 1")]
    assert judge(draining(hangs, hangs)).level is Level.DEAD


def test_a_drain_without_its_supervisor_is_fatal() -> None:
    assert judge(replace(draining({}), is_supervisor_alive=False)).level is Level.DEAD


def test_the_limit_on_heartbeats_is_the_gateways_own_and_may_be_none() -> None:
    late = with_first(heartbeat_age_s=2.0)
    assert judge(replace(late, heartbeat_limit_s=1.0)).level is Level.DEGRADED
    assert judge(replace(late, heartbeat_limit_s=3.0)).level is Level.WELL
    assert judge(replace(late, heartbeat_limit_s=0.0)).level is Level.WELL


@pytest.mark.parametrize(
    ("changes", "thresholds"),
    [
        ({"loop_lag_lately_us": 60}, Thresholds(loop_lag=0.000055)),
        ({"restarted_ago_s": 70.0}, Thresholds(replaced=71)),
        ({"sessions": 51}, Thresholds(sessions=0.5)),
        ({"descriptors": 513}, Thresholds(descriptors=0.5)),
    ],
)
def test_thresholds_are_the_callers(changes: dict[str, object], thresholds: Thresholds) -> None:
    assert judge(with_first(**changes)).level is Level.WELL
    assert judge(with_first(**changes), thresholds).level is Level.DEGRADED


def test_no_deaths_are_of_interest_where_the_operator_says_so() -> None:
    assert judge(with_first(restarted_ago_s=0.0), Thresholds(replaced=0)).level is Level.WELL


def test_ready_means_every_worker_and_the_supervisor() -> None:
    assert is_ready(well())
    assert not is_ready(with_first(state=ChildState.BOOTING))
    assert not is_ready(with_first(state=ChildState.DRAINING))
    assert not is_ready(replace(well(), is_supervisor_alive=False))


def test_a_reason_is_told_to_programs_with_all_that_it_is_made_of() -> None:
    verdict = judge(with_first(loop_lag_lately_us=300_000))
    assert verdict.as_dict() == {
        "ok": True,
        "level": "degraded",
        "reasons": [
            {
                "code": "worker_lagging",
                "object": "worker 0",
                "level": "degraded",
                "value": 0.3,
                "threshold": 0.2,
                "unit": "s",
                "text": "worker 0 has a loop that is 0.3 s late",
            }
        ],
    }


def test_fatal_reasons_alone_make_a_gateway_dead() -> None:
    assert {code for code in Code if Reason(code, "", "").level is Level.DEAD} == FATAL

"""The page's numbers over time, from a real scoreboard and a clock that the test turns."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.page.facts import Facts, ListenerFacts, PeerFacts
from gateway.page.live import INTERVAL_S, MINUTES, Live
from gateway.reasons import Code, Reason, Verdict
from gateway.status import GatewayStatus
from pools.net.clock import monotonic_ns
from pools.net.link_board import LinkCell
from pools.net.scoreboard import Cell, Layout, ListenCell, Scoreboard

FACTS = Facts(
    "oregon",
    "0.1.0",
    (ListenerFacts(1, "orders", "mixed", "127.0.0.1:1"),),
    (PeerFacts(0, "mumbai", "192.0.2.1:1", 1, 2),),
)
STEP_NS = int(INTERVAL_S * 1e9)


class World:
    """A scoreboard, what shows it, and a clock."""

    def __init__(self, path: Path) -> None:
        self.now_ns = monotonic_ns()
        self.board = Scoreboard.create(path, Layout(1, 2, 1), supervisor_pid=os.getpid(), started_ns=self.now_ns)
        self.judged = 0
        self.verdict = Verdict()
        self.live = Live(self.board, FACTS, judge=self.judge)

    def judge(self, _status: GatewayStatus) -> Verdict:
        self.judged += 1
        return self.verdict

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.live.turn(self.now_ns)
            self.now_ns += STEP_NS

    def document(self, after_ms: int = -1) -> dict[str, Any]:
        return self.live.document(after_ms=after_ms, now_ns=self.now_ns)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path / "board")
    yield found
    found.board.close()


def test_a_page_that_asks_before_the_first_turn_gets_what_there_is(world: World) -> None:
    found = world.document()
    assert (found["name"], found["points"], found["incidents"]) == ("oregon", [], [])
    assert found["peers"][0]["name"] == "mumbai"


def test_points_go_back_so_many_minutes_and_no_further(world: World) -> None:
    world.turn(round(MINUTES * 60 / INTERVAL_S) + 20)
    found = world.document()["points"]
    assert len(found) == MINUTES * 60 / INTERVAL_S
    assert found[-1][0] - found[0][0] == MINUTES * 60_000 - INTERVAL_S * 1000


def test_a_page_gets_only_what_it_does_not_have(world: World) -> None:
    world.turn(5)
    last_ms = world.document()["points"][-1][0]
    assert world.document(last_ms)["points"] == []
    world.turn()
    assert [point[0] for point in world.document(last_ms)["points"]] == [last_ms + 1000 * INTERVAL_S]


def test_what_moved_is_among_the_points_and_the_incidents(world: World) -> None:
    world.turn()
    world.board.row(0).add(Cell.SPLICED_BYTES, 4000)
    world.board.row(0).add(Cell.CONNECT_REFUSED, 2)
    world.board.links.link(0).add(LinkCell.WENT_DOWN_TOTAL)
    world.turn()
    found = world.document()
    assert dict(zip(found["columns"], found["points"][-1], strict=True))["bytes_per_s"] == 2000
    told = {(each["text"], each["count"], each["at_ms"]) for each in found["incidents"]}
    assert told == {("destination refused", 2, 2000), ("mumbai: link went down", 1, 2000)}


def test_a_listener_is_read_by_its_number(world: World) -> None:
    world.board.row(0).set_listener(0, ListenCell.SESSIONS, 9)
    world.board.row(0).set_listener(1, ListenCell.SESSIONS, 4)
    assert [each["sessions"] for each in world.document()["listeners"]] == [4]


def test_processes_are_read_once_a_second_however_many_ask_and_seldom_where_nobody_does(world: World) -> None:
    for _ in range(50):
        world.document()
    assert world.judged == 1
    world.now_ns += 10**9
    world.document()
    assert world.judged == 2
    world.turn(11)  # 20 s
    assert world.judged == 2 + 2


def test_a_change_of_health_that_nobody_watched_has_its_time(world: World) -> None:
    world.turn()
    world.verdict = Verdict((Reason(Code.POOL_SHORT, "peer mumbai", "too few legs"),))
    world.turn(6)
    assert [(each["text"], each["at_ms"]) for each in world.document()["incidents"]] == [("too few legs", 10_000)]


def test_times_are_the_gateways_own_so_that_another_admin_child_goes_on_where_this_one_ended(world: World) -> None:
    world.turn(3)
    last_ms = world.document()["points"][-1][0]
    world.live = Live(world.board, FACTS, judge=world.judge)
    world.turn(3)
    assert [point[0] for point in world.document(last_ms)["points"]] == [last_ms + 4000, last_ms + 6000]
    assert world.document()["life"] == str(world.board.started_ns)

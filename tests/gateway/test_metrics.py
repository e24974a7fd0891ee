"""Every number of the scoreboard reaches Prometheus under a name that keeps its promises."""

import os
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import GAUGES, LISTENER_TOTALS, TOTALS, ScoreboardCollector, render
from gateway.release import version
from pools.net.clock import monotonic_ns
from pools.net.scoreboard import GAUGES as GAUGE_CELLS
from pools.net.scoreboard import Cell, ChildState, Layout, ListenCell, Row, Scoreboard

WORKERS = 2
LISTENERS = ("orders", 'odd"name\\')
NUMBERED = dict(enumerate(LISTENERS))
SHOWN_PER_WORKER = {Cell.LOOP_LAG_LATELY_US}
OF_AN_INSTANT = {Cell.LOOP_LAG_US, Cell.SESSIONS_PER_SECOND}


@pytest.fixture
def scoreboard(tmp_path: Path) -> Scoreboard:
    return Scoreboard.create(
        tmp_path / "scoreboard",
        Layout(WORKERS, len(LISTENERS)),
        supervisor_pid=os.getpid(),
        started_ns=monotonic_ns(),
    )


def samples(scoreboard: Scoreboard) -> dict[tuple[str, tuple[str, ...]], float]:
    return samples_of(ScoreboardCollector(scoreboard, NUMBERED))


def samples_of(collector: ScoreboardCollector) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(render(collector).decode())
    return {(s.name, tuple(sorted(s.labels.values()))): s.value for family in families for s in family.samples}


def test_no_total_is_forgotten() -> None:
    assert set(TOTALS) == {cell for cell in Cell if cell >= Cell.SESSIONS_TOTAL}
    assert set(LISTENER_TOTALS) == set(ListenCell) - {ListenCell.SESSIONS}


def test_no_gauge_is_forgotten() -> None:
    assert set(GAUGES) | SHOWN_PER_WORKER | OF_AN_INSTANT == {cell for cell in Cell if cell in GAUGE_CELLS}


@pytest.mark.parametrize("cell", TOTALS)
def test_each_total_is_the_sum_over_the_rows_in_its_own_sample(scoreboard: Scoreboard, cell: Cell) -> None:
    collector = ScoreboardCollector(scoreboard, NUMBERED)
    before = samples_of(collector)
    for slot in range(WORKERS):
        scoreboard.row(slot).add(cell, 10 + slot)
    after = samples_of(collector)
    family, value = TOTALS[cell]
    changed = {key: number for key, number in after.items() if before.get(key) != number and "worker" not in key[0]}
    assert changed == {(f"{family.name}_total", (value,) if value else ()): 21.0}


@pytest.mark.parametrize("cell", LISTENER_TOTALS)
def test_each_total_of_a_listener_carries_its_name(scoreboard: Scoreboard, cell: ListenCell) -> None:
    scoreboard.row(1).set_listener(1, cell, 5)
    family, value = LISTENER_TOTALS[cell]
    key = tuple(sorted(filter(None, (LISTENERS[1], value))))
    assert samples(scoreboard)[f"{family.name}_total", key] == 5.0


def test_totals_go_on_when_a_worker_is_replaced(scoreboard: Scoreboard) -> None:
    row = scoreboard.row(0)
    row[Cell.SESSIONS], row[Cell.SESSIONS_TOTAL] = 3, 40
    row.clear_gauges()
    row.add(Cell.SESSIONS_TOTAL)
    found = samples(scoreboard)
    assert found["midmile_sessions_total", ()] == 41.0
    assert found["midmile_sessions_open", ()] == 0.0


def test_a_living_worker_shows_its_process_and_a_missing_one_only_that_it_is_down(scoreboard: Scoreboard) -> None:
    _inhabit(scoreboard.row(0))
    found = samples(scoreboard)
    assert found["midmile_worker_up", ("0",)] == 1.0
    assert found["midmile_worker_up", ("1",)] == 0.0
    assert found["midmile_worker_resident_memory_bytes", ("0",)] > 1_000_000
    assert found["midmile_worker_loop_lag_seconds", ("0",)] == 0.0015
    assert ("midmile_worker_heartbeat_age_seconds", ("1",)) not in found


def test_with_peers_the_broker_and_the_links_are_told_of(tmp_path: Path) -> None:
    board = Scoreboard.create(tmp_path / "with peers", Layout(1, 1, 1), supervisor_pid=1, started_ns=1)
    _inhabit(board.broker)
    found = samples_of(ScoreboardCollector(board, {0: LISTENERS[0]}, {0: "mumbai"}))
    assert found["midmile_broker_up", ()] == 1.0
    assert 0 <= found["midmile_broker_heartbeat_age_seconds", ()] < 60
    assert found["midmile_link_up", ("mumbai",)] == 0.0
    board.broker.clear_gauges()
    found = samples_of(ScoreboardCollector(board, {0: LISTENERS[0]}, {0: "mumbai"}))
    assert found["midmile_broker_up", ()] == 0.0
    assert ("midmile_broker_heartbeat_age_seconds", ()) not in found
    board.close()


def test_without_peers_neither_is(scoreboard: Scoreboard) -> None:
    assert not {name for name, _ in samples(scoreboard) if name.startswith(("midmile_broker", "midmile_link"))}


def test_the_verdict_is_told_with_each_of_its_reasons(scoreboard: Scoreboard) -> None:
    found = samples(scoreboard)
    assert found["midmile_health_level", ()] == 2.0
    assert found["midmile_health_reason", ("gateway", "no_worker")] == 1.0
    assert found["midmile_health_reason", ("worker 1", "worker_missing")] == 1.0
    for slot in range(WORKERS):
        _inhabit(scoreboard.row(slot))
    found = samples(scoreboard)
    assert found["midmile_health_level", ()] == 0.0
    assert not [name for name, _ in found if name == "midmile_health_reason"]


def test_names_are_those_of_the_numbers_that_a_reload_left(scoreboard: Scoreboard) -> None:
    scoreboard.row(0).set_listener(1, ListenCell.SESSIONS_TOTAL, 5)
    found = samples_of(ScoreboardCollector(scoreboard, {1: "moved"}))
    assert found["midmile_listener_sessions_total", ("moved",)] == 5.0


def test_the_last_reload_is_told_of(scoreboard: Scoreboard) -> None:
    words = ("generation", "last_reload_successful", "last_reload_success_timestamp_seconds")

    def told() -> list[float]:
        found = samples(scoreboard)
        return [found[f"midmile_config_{word}", ()] for word in words]

    generation, successful, taken_s = told()
    assert (generation, successful, taken_s > 1.6e9) == (1, 1, True)
    scoreboard.note_reload_failed()
    assert told() == [1, 0, pytest.approx(taken_s, abs=1)]
    scoreboard.note_reload(scoreboard.started_ns + 90 * 10**9, heartbeat_limit_ns=0)
    assert told() == [2, 1, pytest.approx(taken_s + 90, abs=1)]


def test_every_name_has_the_prefix_and_counters_alone_end_in_total(scoreboard: Scoreboard) -> None:
    text = render(ScoreboardCollector(scoreboard, NUMBERED)).decode()
    families = list(text_string_to_metric_families(text))
    assert len(families) > 20
    assert all(family.name.startswith("midmile_") for family in families)
    assert all(family.documentation for family in families)
    counters = {s.name for family in families if family.type == "counter" for s in family.samples}
    others = {s.name for family in families if family.type != "counter" for s in family.samples}
    assert all(name.endswith("_total") for name in counters)
    assert not any(name.endswith("_total") for name in others)


def test_what_runs_and_since_when(scoreboard: Scoreboard) -> None:
    found = samples(scoreboard)
    (labels,) = (labels for name, labels in found if name == "midmile_build_info")
    assert version() in labels
    assert found["midmile_start_time_seconds", ()] > 1.6e9
    assert found["midmile_supervisor_up", ()] == 1.0


def _inhabit(row: Row) -> None:
    row[Cell.PID], row[Cell.STATE], row[Cell.LOOP_LAG_LATELY_US] = os.getpid(), ChildState.READY, 1500
    row[Cell.BOOTED_NS] = row[Cell.HEARTBEAT_NS] = monotonic_ns()

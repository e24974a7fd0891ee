"""What each column says, from lines made by hand."""

import re
from typing import Any

import pytest
from rich.text import Text

from gateway.top import tables
from gateway.top.glyphs import ASCII, UNICODE
from gateway.top.recent import CELLS, Rates
from gateway.top.table import Table
from gateway.top.view import LinkLine, ListenerLine, WorkerLine
from pools.link_health import LinkState
from pools.net.scoreboard import ChildState
from tests.gateway.top.samples import link, listener, worker

RATES = Rates(sessions=20.0, failed=0.5, moved_bytes=117.6e6, forward_bytes=1.5375e6, backward_bytes=None)


def cells(table: Table[Any]) -> dict[str, str]:
    """Give the columns of the first line by their titles; a title with a blank has its columns apart."""
    head, line = (text.plain for text in table.draw(ASCII, width=None, height=99)[:2])
    return dict(
        zip(re.sub("([<>]) MBIT", r"\1_MBIT", head).replace("LEGS IN", "LEGS_IN").split(), line.split(), strict=False)
    )


def workers(rates: Rates | None = RATES, **facts: Any) -> Table[WorkerLine]:
    return tables.workers([WorkerLine(worker(**facts), rates, (1.0,) * CELLS)], ASCII)


def style_of(table: Table[Any], text: str) -> str:
    """Give the style of `text` in the first line."""
    line: Text = table.draw(UNICODE, width=None, height=99)[1]
    start = line.plain.index(text)
    return next((str(span.style) for span in line.spans if span.start <= start < span.end), "")


def test_a_worker_has_its_numbers() -> None:
    facts: dict[str, Any] = {"slot": 7, "cpu_percent": 45.4, "loop_lag_us": 1234, "sessions": 12, "rss_bytes": 36 << 20}
    found = cells(workers(**facts, descriptors=40, legs_inbound=3, restarts=1))
    assert found == {
        "WORKER": "7",
        "STATE": "ready",
        "CORE": "7",
        "PID": "1007",
        "UP": "1m00s",
        "CPU": "45%",
        "LAG": "1.2ms",
        "SESSIONS": "12",
        "NEW/S": "20",
        "MBIT/S": "941",
        ">": "12.3",
        "<": "-",
        "MEM": "36M",
        "FDS": "40",
        "LEGS_IN": "3",
        "RESTARTS": "1",
        "LAST": "#" * 15,
    }


def test_what_is_not_known_yet_is_not_nothing() -> None:
    found = cells(workers(rates=None, core=None))
    assert [found[title] for title in ("CORE", "CPU", "NEW/S", "MBIT/S", "MEM", "FDS")] == ["-"] * 6


@pytest.mark.parametrize(
    ("facts", "word", "style"),
    [
        ({}, "ready", ""),
        ({"accept_paused": True}, "paused", tables.ODD),
        ({"state": ChildState.DRAINING}, "draining", tables.ODD),
        ({"state": ChildState.DRAINING, "retires": True}, "retiring", tables.ODD),
        ({"state": ChildState.ABSENT}, "absent", tables.BAD),
    ],
)
def test_a_worker_that_takes_nothing_new_stands_out(facts: dict[str, Any], word: str, style: str) -> None:
    assert style_of(workers(**facts), word) == style


def test_a_worker_that_fills_its_core_stands_out() -> None:
    assert [style_of(workers(cpu_percent=share), f"{share}%") for share in (89, 97)] == ["", tables.ODD]


def test_of_many_workers_those_in_trouble_are_shown_and_then_the_busiest() -> None:
    absent = WorkerLine(worker(9, state=ChildState.ABSENT), None, ())
    lines = [WorkerLine(worker(slot, cpu_percent=10.0 * slot), None, ()) for slot in range(9)]
    drawn = tables.workers([*lines, absent], UNICODE).draw(UNICODE, width=80, height=5)
    assert [line.plain.split()[0] for line in drawn[1:-1]] == ["7", "8", "9"]
    assert drawn[-1].plain == "… 7 more"


def test_a_listener_has_its_numbers_and_failures_stand_out() -> None:
    table = tables.listeners([ListenerLine(listener("orders", sessions=4), RATES)], ASCII)
    assert cells(table) == {
        "LISTENER": "orders",
        "MODE": "forward",
        "ADDRESS": "127.0.0.1:8443",
        "SESSIONS": "4",
        "NEW/S": "20",
        ">_MBIT/S": "12.3",
        "<_MBIT/S": "-",
        "FAILED/S": "0.5",
    }
    assert style_of(table, "0.5") == tables.ODD


def links(**facts: Any) -> Table[LinkLine]:
    return tables.links([LinkLine(link(**facts), RATES)], UNICODE)


def test_a_link_has_its_numbers() -> None:
    facts = {"rtt_us": 120_000, "rtt_variation_us": 1500, "loss_ppm": 12_000, "idle_depot": 6, "idle_workers": 4}
    found = cells(
        links(**facts, lent=9, is_crowded=True, dialling=2, hits_lately=3, misses_lately=1, window_segments=80)
    )
    assert found == {
        "PEER": "mumbai",
        "STATE": "up",
        "RTT": "120ms",
        "±": "1.5ms",
        "LOSS": "1.2%",
        "IDLE": "10",
        "LENT": "9!",
        "DIALLING": "2",
        "POOL": "16-512",
        "NEW/S": "20",
        "HITS": "75.0%",
        "WINDOW": "80",
        "ADDRESS": "192.0.2.9:7400",
    }


@pytest.mark.parametrize(
    ("facts", "word", "style"),
    [
        ({}, "up", ""),
        ({"state": LinkState.DOWN}, "down", tables.BAD),
        ({"state": LinkState.UNKNOWN}, "unknown", tables.ODD),
        ({"state": LinkState.UNKNOWN, "age_s": None}, "unknown", tables.ODD),
        ({"age_s": 9.0}, "stale", tables.ODD),
    ],
)
def test_a_link_that_is_not_up_or_not_reported_stands_out(facts: dict[str, Any], word: str, style: str) -> None:
    assert style_of(links(**facts), word) == style


def test_at_80_columns_each_table_keeps_what_matters_most() -> None:
    widths: dict[str, Table[Any]] = {
        "WORKER STATE CPU LAG SESSIONS NEW/S MBIT/S": tables.workers([WorkerLine(worker(), RATES, ())], UNICODE),
        "LISTENER ADDRESS SESSIONS NEW/S": tables.listeners([ListenerLine(listener(), RATES)], UNICODE),
        "PEER STATE RTT LOSS IDLE LENT NEW/S HITS": links(),
    }
    for titles, table in widths.items():
        head, *_ = table.draw(UNICODE, width=80, height=9)
        assert len(head.plain) <= 80
        assert set(titles.split()) <= set(head.plain.split())


def test_charts_of_workers_are_drawn_to_one_scale() -> None:
    lines = [WorkerLine(worker(slot), RATES, (rate,) * CELLS) for slot, rate in enumerate((7.0, 700.0))]
    drawn = tables.workers(lines, UNICODE).draw(UNICODE, width=None, height=9)
    assert [line.plain[-1] for line in drawn[1:]] == ["▂", "█"]

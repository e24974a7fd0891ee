"""Whole pictures, as text."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.processes import Memory
from gateway.top.glyphs import ASCII, UNICODE
from gateway.top.picture import Size, picture, plain, waiting
from gateway.top.recent import Recent
from gateway.top.sample import Sample
from gateway.top.view import View
from pools.link_health import LinkState
from pools.net.scoreboard import ChildState
from tests.gateway.top.samples import link, listener, sample, worker


def view(workers: int = 2, listeners: int = 2, links: int = 2, **facts: Any) -> View:
    """Give a gateway that moves 8 Mbit/s, the sixteenth of it forward."""
    recent = Recent(every_s=1.0)
    for second in range(3):
        totals = {"moved_bytes": second * 1_000_000, "sessions_total": second * 30}
        divided = {"forward_bytes": second * 62_500, "backward_bytes": second * 937_500}
        busy = [worker(cpu_percent=20.0, rss_bytes=36 << 20, **totals, **divided)]
        found = sample(
            *busy,
            *(worker(slot) for slot in range(1, workers)),
            at_s=100.0 + second,
            listeners=tuple(listener(f"listener-{place}") for place in range(listeners)),
            links=tuple(link(f"peer-{place}", rtt_us=1000 * place, number=place) for place in range(links)),
            **facts,
        )
        recent.add(found)
    told = Sample(found.taken_s, 1, found.status, found.listeners, found.links, {"name": "oregon", "version": "1.2"})
    return View.of(told, recent)


def text(view: View, columns: int, lines: int) -> list[str]:
    return plain(picture(view, UNICODE, Size(columns, lines))).splitlines()


def test_the_heading_says_who_how_well_and_how_much() -> None:
    head = text(view(), 80, 24)[:5]
    assert head[0] == "oregon  midmile 1.2  pid 999  up 1m05s  configuration 3                  q quits"
    assert head[1] == "well"
    assert head[2] == "sessions 0  new/s 30  → forward 0.50  ← backward 7.50 Mbit/s  cpu 20%  memory 36M"[:80]
    assert head[3] == "Mbit/s  8.00  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁█  last minute, peak 8.00"
    assert head[4] == ""


def test_of_many_reasons_the_first_are_shown() -> None:
    assert text(view(reload_failed=True), 80, 24)[1].startswith("degraded  the last reload")
    bad: dict[str, Any] = {
        "is_supervisor_alive": False,
        "reload_failed": True,
        "broker": worker(63, state=ChildState.ABSENT),
    }
    many = text(view(**bad, memory=Memory(used_bytes=99, limit_bytes=100)), 120, 24)
    assert many[1] == "dead  the supervisor, process 999, is gone"
    assert many[2].startswith("  the last reload")
    assert many[3].endswith("  … 1 more: gateway health")
    assert many[4].startswith("sessions")
    short = text(view(**bad), 120, 10)
    assert short[1] == "dead  the supervisor, process 999, is gone  … 2 more: gateway health"
    assert short[2].startswith("sessions")


def test_all_tables_are_there_at_80_by_24_with_the_slowest_link_first() -> None:
    lines = text(view(), 80, 24)
    heads = [line.split()[0] for line in lines if line and line.split()[0].isupper()]
    assert heads == ["WORKER", "LISTENER", "PEER"]
    assert [line.split()[0] for line in lines[-2:]] == ["peer-1", "peer-0"]


def test_a_large_gateway_is_cut_to_what_there_is_room_for() -> None:
    lines = text(view(workers=64, listeners=20, links=30), 80, 24)
    assert len(lines) <= 24
    assert sum(line.endswith(" more") for line in lines) == 3


def test_a_short_terminal_keeps_workers_and_links_and_a_very_short_one_workers() -> None:
    assert [line.split()[0] for line in text(view(), 80, 12) if line.isupper() or "STATE" in line] == ["WORKER", "PEER"]
    assert [line.split()[0] for line in text(view(), 80, 8) if "STATE" in line] == ["WORKER"]


@settings(max_examples=15)
@given(st.integers(1, 220), st.integers(1, 70), st.integers(1, 64), st.integers(0, 20))
def test_nothing_is_ever_wider_or_longer_than_the_terminal_but_the_heading(
    columns: int, lines: int, workers: int, others: int
) -> None:
    drawn = picture(view(workers, others, others), UNICODE, Size(columns, lines))
    assert max(line.cell_len for line in drawn) <= columns
    assert len(drawn) <= max(lines, 5)


def test_a_page_without_limits_has_every_line_and_column() -> None:
    page = plain(picture(view(workers=64, links=30), ASCII))
    assert page.isascii()
    assert " more" not in page
    assert "RESTARTS" in page
    assert "q quits" not in page
    assert len(page.splitlines()) > 64 + 30


def test_without_links_and_names_there_is_a_picture_too() -> None:
    recent = Recent(every_s=1.0)
    bare = sample()
    recent.add(bare)
    view = View.of(Sample(1.0, 1, bare.status), recent)
    lines = text(view, 80, 24)
    assert lines[0].startswith("gateway  pid 999  ")
    assert "PEER" not in "".join(lines)
    assert not any(line.startswith("Mbit/s") for line in lines)


def test_down_is_down_and_the_reason_says_so() -> None:
    recent = Recent(every_s=1.0)
    down = sample(links=(link(state=LinkState.DOWN),))
    recent.add(down)
    lines = text(View.of(down, recent), 80, 24)
    assert "mumbai" in lines[1]
    assert lines[-1].split()[:2] == ["mumbai", "down"]


def test_while_there_is_no_gateway_the_picture_says_so() -> None:
    assert plain(waiting("no gateway runs in /run/midmile", UNICODE)).splitlines() == [
        "no gateway runs in /run/midmile",
        "waiting for one… q quits",
    ]

"""The list of what went wrong lately: like things together, newest first, never longer than it may be."""

from gateway.page.incidents import Incident, Incidents
from gateway.page.troubles import Weight


def test_what_happens_again_soon_is_one_entry_with_a_count() -> None:
    incidents = Incidents(calm_ms=60_000)
    incidents.add(Weight.WARNING, "destination refused", at_ms=1_000, count=3)
    incidents.add(Weight.WARNING, "destination refused", at_ms=61_000, count=2)
    assert incidents.newest_first() == (Incident(Weight.WARNING, "destination refused", 1_000, 61_000, 5),)


def test_after_a_calm_it_is_another_entry() -> None:
    incidents = Incidents(calm_ms=60_000)
    incidents.add(Weight.WARNING, "destination refused", at_ms=1_000, count=3)
    incidents.add(Weight.WARNING, "destination refused", at_ms=61_001, count=2)
    assert [(each.at_ms, each.count) for each in incidents.newest_first()] == [(61_001, 2), (1_000, 3)]


def test_what_has_no_count_is_an_entry_each_time() -> None:
    incidents = Incidents()
    for at_ms in (1, 2):
        incidents.add(Weight.ERROR, "no worker takes new sessions", at_ms=at_ms)
    assert [(each.at_ms, each.count) for each in incidents.newest_first()] == [(2, 0), (1, 0)]


def test_the_one_that_moved_last_comes_first() -> None:
    incidents = Incidents()
    incidents.add(Weight.NOTE, "bad request", at_ms=1, count=1)
    incidents.add(Weight.ERROR, "process replaced", at_ms=2, count=1)
    incidents.add(Weight.NOTE, "bad request", at_ms=3, count=1)
    assert [each.text for each in incidents.newest_first()] == ["bad request", "process replaced"]


def test_the_one_that_is_quiet_for_longest_goes_first() -> None:
    incidents = Incidents(keep=2)
    for at_ms, text in enumerate(("first", "second", "first", "third")):
        incidents.add(Weight.NOTE, text, at_ms=at_ms, count=1)
    assert [each.text for each in incidents.newest_first()] == ["third", "first"]

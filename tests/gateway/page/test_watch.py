"""What is noted when one look differs from the one before."""

from gateway.metrics import TOTALS
from gateway.page.incidents import Incidents
from gateway.page.reading import LinkReading, Reading
from gateway.page.troubles import Weight
from gateway.page.watch import Watch
from gateway.reasons import Code, Reason, Verdict
from pools.link_health import LinkState
from pools.net.scoreboard import Cell

UP, DOWN, UNKNOWN = LinkState.UP, LinkState.DOWN, LinkState.UNKNOWN
SHORT = Reason(Code.POOL_SHORT, "peer mumbai", "the pool of mumbai is short for 61 s", 61, 60, "s")
STILL_SHORT = Reason(Code.POOL_SHORT, "peer mumbai", "the pool of mumbai is short for 71 s", 71, 60, "s")
GONE = Reason(Code.SUPERVISOR_GONE, "supervisor", "the supervisor, process 7, is gone")
PEER_DOWN = Reason(Code.PEER_DOWN, "peer mumbai", "mumbai is down")


def reading(at_ms: int, *links: LinkReading, **totals: int) -> Reading:
    return Reading(at_ms, 0, dict.fromkeys(TOTALS, 0) | {Cell[name]: total for name, total in totals.items()}, links)


def noted(*readings: Reading, peers: tuple[str, ...] = ()) -> list[tuple[str, str, int]]:
    incidents = Incidents()
    watch = Watch(incidents, peers)
    for each in readings:
        watch.see(each)
    return [(each.weight.value, each.text, each.count) for each in incidents.newest_first()]


def judged(*verdicts: Verdict) -> list[tuple[str, str]]:
    incidents = Incidents()
    watch = Watch(incidents, ())
    for at_ms, verdict in enumerate(verdicts):
        watch.judge(verdict, at_ms=at_ms)
    return [(each.weight.value, each.text) for each in incidents.newest_first()]


def test_what_was_before_the_first_look_is_no_news() -> None:
    assert noted(reading(0, CONNECT_REFUSED=5)) == []


def test_a_counter_that_moved_is_noted_with_how_far() -> None:
    before, after = reading(0, CONNECT_REFUSED=5), reading(2000, CONNECT_REFUSED=8, SESSIONS_TOTAL=900)
    assert noted(before, after) == [("warning", "destination refused", 3)]
    assert noted(before, after, after) == [("warning", "destination refused", 3)]


def test_a_link_that_went_down_is_noted_even_if_it_is_up_again_at_the_next_look() -> None:
    looks = reading(0, LinkReading(UP, 0, 1)), reading(2000, LinkReading(UP, 0, 2))
    assert noted(*looks, peers=("mumbai",)) == [("error", "mumbai: link went down", 1)]


def test_a_link_that_comes_up_is_noted_and_legs_that_could_not_be_dialled() -> None:
    looks = (
        reading(0, LinkReading(DOWN, 4, 0), LinkReading(UNKNOWN, 0, 0)),
        reading(2000, LinkReading(UP, 9, 0), LinkReading(UNKNOWN, 0, 0)),
    )
    assert noted(*looks, peers=("mumbai", "madrid")) == [
        ("note", "mumbai: link is up", 1),
        ("warning", "mumbai: leg could not be dialled", 5),
    ]


def test_a_new_reason_is_noted_once_however_its_number_grows_and_again_when_it_is_none() -> None:
    verdicts = Verdict(), Verdict((SHORT,)), Verdict((STILL_SHORT,)), Verdict()
    assert judged(*verdicts) == [("note", "peer mumbai: pool_short is over"), ("warning", SHORT.text)]


def test_a_reason_that_makes_it_dead_weighs_more() -> None:
    assert judged(Verdict(), Verdict((GONE,))) == [(Weight.ERROR.value, GONE.text)]


def test_reasons_at_the_first_look_and_those_that_counters_tell_are_not_noted() -> None:
    assert judged(Verdict((SHORT,)), Verdict((SHORT, PEER_DOWN))) == []

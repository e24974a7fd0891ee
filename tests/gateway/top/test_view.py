import json

from gateway.top.recent import Recent
from gateway.top.sample import Sample
from gateway.top.view import View
from pools.link_health import LinkState
from tests.gateway.top.samples import link, listener, sample, worker


def viewed(*samples: Sample) -> View:
    recent = Recent(every_s=1.0)
    for each in samples:
        recent.add(each)
    return View.of(samples[-1], recent)


def test_links_that_are_down_come_first_then_the_slowest_and_the_unknown_last() -> None:
    links = (
        link("near", rtt_us=2000),
        link("new", state=LinkState.UNKNOWN),
        link("far", rtt_us=200_000),
        link("gone", state=LinkState.DOWN),
    )
    assert [line.link.name for line in viewed(sample(links=links)).links] == ["gone", "far", "near", "new"]


def test_the_verdict_names_peers_and_keeps_to_the_gateways_own_thresholds() -> None:
    (reason,) = viewed(sample(links=(link(state=LinkState.DOWN),))).verdict.reasons
    assert "mumbai" in reason.text
    lagging = sample(worker(loop_lag_lately_us=300_000))
    strict = Sample(lagging.taken_s, 1, lagging.status, told={"health": {"loop_lag": 0.2}})
    easy = Sample(lagging.taken_s, 1, lagging.status, told={"health": {"loop_lag": 0.5}})
    assert [len(viewed(each).verdict.reasons) for each in (strict, easy)] == [1, 0]


def test_a_supervisor_that_does_not_answer_is_a_reason_unless_it_is_gone_anyway() -> None:
    alive, gone = sample(), sample(is_supervisor_alive=False)
    codes = [
        [reason.code for reason in viewed(Sample(1.0, 1, each.status, is_told=False)).verdict.reasons]
        for each in (alive, gone)
    ]
    assert codes == [["supervisor_silent"], ["supervisor_gone"]]


def test_json_has_names_rates_and_the_verdict() -> None:
    before = sample(worker(sessions_total=4), at_s=10.0, listeners=(listener(),), links=(link(),))
    moved = worker(sessions_total=6, moved_bytes=3000, forward_bytes=1000, backward_bytes=2000)
    after = sample(moved, at_s=12.0, listeners=(listener(sessions_total=2, failed=1),), links=(link(hits=3, misses=1),))
    facts = json.loads(json.dumps(viewed(before, after).as_dict(time_s=1e9)))
    assert (facts["time_s"], facts["interval_s"], facts["running"]) == (1e9, 2.0, True)
    assert (facts["gateway"], facts["config_generation"]) == ({"name": "oregon"}, 3)
    assert facts["health"]["level"] == "well"
    rates = {"sessions_per_s": 1.0, "failed_per_s": 0.0, "moved_bytes_per_s": 1500.0}
    assert facts["rates"] == rates | {"forward_bytes_per_s": 500.0, "backward_bytes_per_s": 1000.0}
    assert facts["workers"][0]["rates"] == facts["rates"]
    (told,) = facts["listeners"]
    assert (told["name"], told["mode"], told["rates"]["failed_per_s"]) == ("orders", "forward", 0.5)
    assert "moved_bytes_per_s" not in told["rates"]
    (told,) = facts["links"]
    assert (told["name"], told["state"], told["hit_rate"]) == ("mumbai", "up", 0.75)
    assert told["rates"] == {"sessions_per_s": 2.0}


def test_json_of_one_sample_has_no_rates() -> None:
    facts = viewed(sample(listeners=(listener(),), links=(link(),))).as_dict(time_s=1.0)
    assert facts["interval_s"] is None
    parts = [facts, *facts["workers"], *facts["listeners"], *facts["links"]]
    assert [part["rates"] for part in parts] == [None] * 4

from gateway.top.counters import GATEWAY, Counters, Flow, counters, flow, of_link, of_listener, of_worker
from tests.gateway.top.samples import link, listener, sample, worker


def test_each_thing_that_counts_has_its_totals_and_the_gateway_those_of_its_workers() -> None:
    found = counters(
        sample(
            worker(0, sessions_total=3, moved_bytes=100, forward_bytes=30, backward_bytes=60),
            worker(4, sessions_total=4, moved_bytes=1000, forward_bytes=300, backward_bytes=600),
            listeners=(listener("orders", sessions_total=7, failed=2, forward_bytes=330, backward_bytes=660),),
            links=(link("mumbai", hits=5, misses=1),),
        )
    )
    assert found[of_worker(4)] == Counters(4, 0, 1000, 300, 600)
    assert found[GATEWAY] == Counters(7, 0, 1100, 330, 660)
    assert found[of_listener("orders")] == Counters(7, 2, 0, 330, 660)
    assert found[of_link("mumbai")] == Counters(6)
    assert len(found) == 5


def test_a_flow_is_what_was_added_in_a_second() -> None:
    assert flow(Counters(1, 1, 10, 2, 4), Counters(5, 2, 30, 8, 10), 2.0) == Flow(2.0, 0.5, 10.0, 3.0, 3.0)
    assert Flow(0.0, 0.0, 9.0, 3.0, 4.0).counted_bytes == 7.0


def test_without_time_or_with_totals_that_fell_nothing_is_known() -> None:
    assert flow(Counters(1), Counters(2), 0.0) is None
    assert flow(Counters(5), Counters(2), 1.0) is None

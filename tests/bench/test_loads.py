import json

import pytest

from tests.bench.catalogue import MEASURES
from tests.bench.configurations import RelayName
from tests.bench.crowd import describe, percentile
from tests.bench.figures import Metric, Sample
from tests.bench.loads import Requests, Transfer, read_iperf3, read_wrk
from tests.bench.processes import BenchError
from tests.bench.run import Outcome, steps
from tests.bench.session import expected_size

WRK = """\
Running 5s test @ http://127.0.0.1:80/
  1 threads and 50 connections
  136012 requests in 5.02s, 33.20MB read
Requests/sec:  27093.55
Transfer/sec:      6.61MB
"""
ANSWER = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 100\r\n\r\n"


def test_wrk_tells_count_and_rate() -> None:
    assert read_wrk(WRK) == Requests(136012, 27093.55)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unable to connect to 127.0.0.1:80 Connection refused",
        WRK + "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
        WRK + "  Non-2xx or 3xx responses: 7\n",
    ],
)
def test_a_wrk_that_met_errors_gives_no_figure(text: str) -> None:
    with pytest.raises(BenchError, match="without errors"):
        read_wrk(text)


def test_iperf3_is_believed_about_what_arrived() -> None:
    ends = {"sum_sent": {"bytes": 9, "bits_per_second": 9.0}, "sum_received": {"bytes": 8, "bits_per_second": 7.0}}
    assert read_iperf3(json.dumps({"end": ends})) == Transfer(8, 7.0)


@pytest.mark.parametrize("report", [{"end": {}}, {"end": {"sum_received": {}}, "error": "control socket has closed"}])
def test_an_iperf3_without_a_transfer_gives_no_figure(report: dict[str, object]) -> None:
    with pytest.raises(BenchError, match="report of a transfer"):
        read_iperf3(json.dumps(report))


def test_the_size_of_an_answer_counts_head_and_body() -> None:
    assert expected_size(ANSWER) == len(ANSWER) + 100
    assert expected_size(ANSWER + b"x" * 100) == len(ANSWER) + 100


@pytest.mark.parametrize("cut", range(len(ANSWER)))
def test_an_answer_cut_in_its_head_asks_for_more(cut: int) -> None:
    assert expected_size(ANSWER[:cut]) > len(ANSWER)


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100)) == (50.0, 99.0, 100.0)
    assert percentile([3.0], 99) == 3.0


def test_a_drive_is_described_by_latency_and_lateness_apart() -> None:
    told = describe([1.0, 2.0], [10.0, 30.0], elapsed_s=0.5)
    assert (told["messages"], told["elapsed_s"]) == (2, 0.5)
    assert (told["p50_us"], told["p99_us"], told["max_us"]) == (10.0, 30.0, 30.0)
    assert (told["late_p50_us"], told["late_p99_us"]) == (1.0, 2.0)


def test_lateness_is_a_fault_of_figures_but_not_of_a_smoke() -> None:
    nought = Sample(1, RelayName.HAPROXY, Metric("bulk", "Gbit/s"), 0.0)
    outcome = Outcome([nought], ["round 1, bulk, nginx: ended"], ["round 1, wan, Midmile: late"])
    assert outcome.faults(smoke=False) == ["round 1, bulk, nginx: ended", "round 1, wan, Midmile: late"]
    assert outcome.faults(smoke=True) == ["round 1, bulk, nginx: ended", f"{nought}, expected more than 0"]


def test_relays_take_turns_and_nobody_is_left_out() -> None:
    order = list(steps(MEASURES[:2], list(RelayName), rounds=2))
    assert [str(step.relay) for step in order[:4]] == ["direct", "HAProxy", "nginx", "Midmile"]
    assert [str(step.relay) for step in order[-4:]] == ["HAProxy", "nginx", "Midmile", "direct"]
    assert len({str(step) for step in order}) == 2 * 2 * 4


def test_a_long_measurement_is_not_taken_in_every_round() -> None:
    wan = [measure for measure in MEASURES if measure.name == "wan"]
    assert {step.round for step in steps(wan, list(RelayName), rounds=3)} == {1}


def test_measures_without_the_direct_row_leave_it_out() -> None:
    crowd = [measure for measure in MEASURES if measure.name == "crowd"]
    assert RelayName.DIRECT not in {step.relay for step in steps(crowd, list(RelayName), rounds=1)}

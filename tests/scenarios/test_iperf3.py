"""iperf3 loads the gateway each way, with parallel streams, and both ways at once."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.programs import require, run
from tests.scenarios.harness.servers import iperf3

TOTAL = 256 << 20
STREAMS = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with iperf3(tmp_path_factory.mktemp("iperf3")) as port:
        yield port


def measured(port: int, *words: str) -> dict[str, Any]:
    """Run a test to its end and give what iperf3 counted; it fails itself when a stream breaks."""
    where = ["--client", "127.0.0.1", "--port", str(port), "--json"]
    done = run([require("iperf3"), *where, "--bytes", str(TOTAL), *words])
    ended: dict[str, Any] = json.loads(done.stdout)["end"]
    return ended


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_one_direction_with_parallel_streams(start_gateway: StartGateway, server: int, direction: str) -> None:
    gateway = start_gateway(forward(server))
    reverse = ["--reverse"] if direction == "backward" else []
    ended = measured(gateway.port("forward"), "--parallel", str(STREAMS), *reverse)
    assert len(ended["streams"]) == STREAMS
    assert all(stream["receiver"]["bytes"] > 0 for stream in ended["streams"])
    received = ended["sum_received"]["bytes"]
    assert received > 0.2 * TOTAL  # what is under way in the buffers when iperf3 has sent enough is not counted
    lines = gateway.sessions_logged("forward", count=STREAMS + 1)
    column = 0 if direction == "forward" else 1
    assert sum(int(line["bytes"].split("/")[column]) for line in lines) >= received


def test_both_directions_at_once(start_gateway: StartGateway, server: int) -> None:
    # iperf3 tells its two streams apart by the order in which they arrive. Two workers dial independently, and when the
    # second stream overtakes the first both ends send on one and listen on the other, for ever. One worker keeps order.
    gateway = start_gateway(forward(server), gateway={"workers": 1})
    ended = measured(gateway.port("forward"), "--bidir")
    assert ended["sum_received"]["bytes"] > 0
    assert ended["sum_received_bidir_reverse"]["bytes"] > 0
    assert len(gateway.sessions_logged("forward", count=3)) == 3

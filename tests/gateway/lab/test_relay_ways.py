import os
from collections.abc import Iterator

import pytest

from gateway.lab.relay_ways import COPY, DIRECT, SOCKMAP, SPLICE, RelayWays
from gateway.lab.sockmap import SockmapUnavailable

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a network namespace")

SIZE = 20 << 20


@pytest.fixture(scope="module")
def ways() -> Iterator[RelayWays]:
    with RelayWays() as made:
        yield made


@pytest.mark.parametrize("how", [DIRECT, COPY, SPLICE, SOCKMAP])
def test_every_way_carries_a_stream_whole_twice(ways: RelayWays, how: str) -> None:
    for _ in range(2):
        try:
            with ways.open(how) as ends:
                ends.carry(SIZE)
        except SockmapUnavailable:
            assert how == SOCKMAP


def test_only_gateways_have_processes_that_cost_something(ways: RelayWays) -> None:
    assert [ways.own_cpu_s(how) for how in (DIRECT, SOCKMAP)] == [None, None]
    before_s = ways.own_cpu_s(COPY)
    with ways.open(COPY) as ends:
        ends.carry(10 * SIZE)
    after_s = ways.own_cpu_s(COPY)
    assert before_s is not None
    assert after_s is not None
    assert after_s > before_s


@pytest.mark.parametrize("how", [COPY, SPLICE])
def test_a_gateway_takes_in_little_for_a_reader_that_reads_nothing(ways: RelayWays, how: str) -> None:
    with ways.open(how) as ends:
        assert ends.taken_in(at_most_bytes=150_000_000) < 150_000_000

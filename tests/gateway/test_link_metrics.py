"""Every number of a link reaches Prometheus under a name that keeps its promises, with its peer's name."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gateway.link_metrics import GAUGES, TOTALS, collect
from pools.link_health import LinkState
from pools.net.link_board import LINK_GAUGES, LINK_WORDS, LinkBoard, LinkCell

PEERS = ("mumbai", 'odd"name\\')
ELSEWHERE = {LinkCell.STATE, LinkCell.UPDATED_NS, LinkCell.HITS_LATELY, LinkCell.MISSES_LATELY}


class Links(Collector):
    def __init__(self, board: LinkBoard) -> None:
        self.board = board

    def collect(self) -> list[Metric]:
        return list(collect(self.board, dict(enumerate(PEERS))))


@pytest.fixture
def board() -> LinkBoard:
    return LinkBoard(memoryview(bytearray(len(PEERS) * LINK_WORDS * 8)).cast("Q"))


def samples(board: LinkBoard) -> dict[tuple[str, tuple[str, ...]], float]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Links(board))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


def test_no_cell_is_forgotten() -> None:
    assert set(TOTALS) == {cell for cell in LinkCell if cell not in LINK_GAUGES}
    assert set(GAUGES) | ELSEWHERE == {cell for cell in LinkCell if cell in LINK_GAUGES}


@pytest.mark.parametrize("cell", [*TOTALS, *GAUGES])
def test_each_cell_is_one_sample_in_base_units(board: LinkBoard, cell: LinkCell) -> None:
    before = samples(board)
    board.link(0)[cell], board.link(1)[cell] = 2_000_000, 3_000_000
    after = samples(board)
    family, value = (TOTALS | GAUGES)[cell]  # type: ignore[operator]
    name = f"{family.name}_total" if cell in TOTALS else family.name
    labels = [{peer, value} - {""} for peer in PEERS]
    changed = {key: number for key, number in after.items() if before[key] != number}
    assert {key[0] for key in changed} == {name}
    assert {frozenset(key[1]): number for key, number in changed.items()} == {
        frozenset(labels[0]): 2_000_000 / family.scale,
        frozenset(labels[1]): 3_000_000 / family.scale,
    }


def test_times_are_seconds_and_loss_is_a_ratio(board: LinkBoard) -> None:
    link = board.link(0)
    link[LinkCell.RTT_US], link[LinkCell.LOSS_PPM] = 152_300, 10_000
    found = samples(board)
    assert found["midmile_link_rtt_seconds", ("mumbai",)] == pytest.approx(0.1523)
    assert found["midmile_link_loss_ratio", ("mumbai",)] == pytest.approx(0.01)


@pytest.mark.parametrize(("state", "up"), [(LinkState.UP, 1.0), (LinkState.DOWN, 0.0), (LinkState.UNKNOWN, 0.0)])
def test_a_link_is_up_only_while_it_is_known_to_be(board: LinkBoard, state: LinkState, up: float) -> None:
    board.link(1)[LinkCell.STATE] = state.number
    assert samples(board)["midmile_link_up", (PEERS[1],)] == up


def test_without_peers_there_is_nothing() -> None:
    assert list(collect(LinkBoard(memoryview(b"").cast("Q")), {})) == []

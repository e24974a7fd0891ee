"""What a peer's row says, from events alone. That a real broker writes it is in test_broker."""

import pytest

from pools import idle_leg
from pools.broker_messages import Stats
from pools.leg import PoolLeg
from pools.link_health import LinkHealth, LinkState
from pools.link_report import LinkReport
from pools.net.clock import monotonic_ns
from pools.net.link_board import LINK_WORDS, LinkBoard, LinkCell, LinkRow
from pools.peer_pool import PeerPool
from pools.refill import PoolLimits


@pytest.fixture
def row() -> LinkRow:
    return LinkBoard(memoryview(bytearray(LINK_WORDS * 8)).cast("Q")).link(0)


def pool(pool_min: int) -> PeerPool[PoolLeg]:
    return PeerPool(PoolLimits(pool_min, 8, max_age_s=60.0), size=2, largest=4, card_of=idle_leg.card_of)


def write_until(report: LinkReport, row: LinkRow, *, short_ms: int) -> None:
    """Write, as the broker does a few times a second, until the row says that legs have lacked for so long."""
    deadline_ns = monotonic_ns() + 20 * 10**9
    while row[LinkCell.SHORT_MS] < short_ms:
        report.write(pool(1), LinkHealth(LinkState.UP), is_crowded=False)
        assert monotonic_ns() < deadline_ns


def test_a_pool_that_is_short_says_for_how_long_and_a_filled_one_says_nothing(row: LinkRow) -> None:
    report = LinkReport(row)
    write_until(report, row, short_ms=5)
    report.write(pool(0), LinkHealth(LinkState.UP), is_crowded=False)
    assert row[LinkCell.SHORT_MS] == 0
    write_until(report, row, short_ms=5)


@pytest.mark.parametrize("state", [LinkState.DOWN, LinkState.UNKNOWN])
def test_nobody_expects_legs_to_a_peer_that_does_not_answer(row: LinkRow, state: LinkState) -> None:
    report = LinkReport(row)
    write_until(report, row, short_ms=5)
    report.write(pool(1), LinkHealth(state), is_crowded=False)
    assert row[LinkCell.SHORT_MS] == 0


def test_the_last_minute_counts_from_when_the_broker_began(row: LinkRow) -> None:
    row[LinkCell.HITS_TOTAL], row[LinkCell.MISSES_TOTAL] = 1000, 100  # an earlier broker's
    report = LinkReport(row)
    report.write(pool(1), LinkHealth(), is_crowded=False)
    assert (row[LinkCell.HITS_LATELY], row[LinkCell.MISSES_LATELY]) == (0, 0)
    report.worker_said(0, Stats("mumbai", lent=0, lent_peak=0, dialling=0, hits=50, misses=5, unfit=0))
    report.worker_said(0, Stats("mumbai", lent=0, lent_peak=0, dialling=0, hits=57, misses=8, unfit=0))
    report.write(pool(1), LinkHealth(), is_crowded=False)
    assert (row[LinkCell.HITS_LATELY], row[LinkCell.MISSES_LATELY]) == (7, 3)
    assert (row[LinkCell.HITS_TOTAL], row[LinkCell.MISSES_TOTAL]) == (1007, 103)

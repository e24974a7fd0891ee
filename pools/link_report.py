"""What the broker shows of one peer: its row of the link board, kept up from what it and the workers count."""

from collections.abc import Iterable
from statistics import median_low
from typing import Any

from pools.broker_messages import Stats
from pools.last_minute import LastMinute
from pools.leg import PoolLeg
from pools.leg_account import median_window
from pools.link_health import LinkHealth, LinkState
from pools.net.clock import monotonic_ns
from pools.net.link_board import LinkCell, LinkRow
from pools.net.socket_buffers import send_room_bytes
from pools.net.tcp_info import TcpInfo, tcp_info
from pools.peer_pool import PeerPool

_COUNTED = {
    "hits": LinkCell.HITS_TOTAL,
    "misses": LinkCell.MISSES_TOTAL,
    "unfit": LinkCell.UNFIT_TOTAL,
    "dial_failures": LinkCell.DIAL_FAILED_TOTAL,
}


class LinkReport:
    """Writes one peer's row.

    Args:
        row: the peer's; totals go on from what an earlier broker left there.
    """

    def __init__(self, row: LinkRow) -> None:
        self._row = row
        self._heard: dict[int, Stats] = {}
        self._was_filled = False
        self._lately = LastMinute()
        self._filled_ns = monotonic_ns()  # when pool_min legs were last idle, or nobody could expect that

    def worker_said(self, slot: int, stats: Stats) -> None:
        """Add what a worker has counted since its last report on this channel; the first is where it counts from."""
        before = self._heard.get(slot, stats)
        self._heard[slot] = stats
        for name, cell in _COUNTED.items():
            self.add(cell, max(0, getattr(stats, name) - getattr(before, name)))

    def worker_holds(self, slot: int, legs: int) -> None:
        """Count legs that a worker dialled. What it names before its first report is from an earlier broker's time."""
        if slot in self._heard:
            self.add(LinkCell.DIALLED_TOTAL, legs)

    def worker_left(self, slot: int) -> None:
        """Forget a worker whose channel has ended."""
        self._heard.pop(slot, None)

    def add(self, cell: LinkCell, amount: int = 1) -> None:
        """Add to a total."""
        self._row.add(cell, amount)

    def end(self, *, legs: int) -> None:
        """Count legs that end now, all that there are, and say that nothing is known of the link any more."""
        self.add(LinkCell.CLOSED_TOTAL, legs)
        self._row.clear_gauges()

    def write(self, pool: PeerPool[Any], health: LinkHealth, *, is_crowded: bool) -> bool:
        """Write what is, and tell whether idle legs have risen to pool_min just now."""
        row = self._row
        row[LinkCell.STATE] = health.state.number
        if health.round_trip is not None:
            row[LinkCell.RTT_US] = round(health.round_trip.smoothed_s * 1e6)
            row[LinkCell.RTT_VARIATION_US] = round(health.round_trip.variation_s * 1e6)
        row[LinkCell.LOSS_PPM] = round(health.loss * 1e6)
        row[LinkCell.IDLE_DEPOT] = len(pool.depot)
        row[LinkCell.IDLE_WORKERS] = pool.with_workers - pool.lent
        row[LinkCell.LENT] = pool.lent
        row[LinkCell.DIALLING] = pool.dialling + pool.worker_dialling
        row[LinkCell.MAGAZINE_ROUNDS] = pool.depot.size
        row[LinkCell.CROWDED] = int(is_crowded)
        row[LinkCell.UPDATED_NS] = now_ns = monotonic_ns()
        is_filled = len(pool.ledger) - pool.lent >= pool.limits.pool_min
        self._write_lately(now_ns, is_short=health.state is LinkState.UP and not is_filled)
        return self._note_filled(is_filled)

    def write_window(self, legs: Iterable[PoolLeg]) -> None:
        """Write the median congestion window of idle legs: the median of what the workers and the depot have."""
        windows = [median_window(legs), *(stats.window for stats in self._heard.values())]
        known = [window for window in windows if window]
        self._row[LinkCell.WINDOW_SEGMENTS] = median_low(known) if known else 0

    def write_first_window(self, leg: PoolLeg | None) -> None:
        """Write what bounds the window of a leg that has carried nothing yet, as the probe's has not."""
        row = self._row
        info = TcpInfo.parse(b"") if leg is None else tcp_info(leg.socket)
        row[LinkCell.FIRST_WINDOW_SEGMENTS] = info.snd_cwnd_segments
        row[LinkCell.FIRST_ADVERTISED_BYTES] = info.snd_wnd_bytes
        row[LinkCell.FIRST_RECEIVE_BYTES] = info.rcv_wnd_bytes
        row[LinkCell.FIRST_SEND_BYTES] = 0 if leg is None else send_room_bytes(leg.socket)

    def _write_lately(self, now_ns: int, *, is_short: bool) -> None:
        """Write what an operator could tell only by several looks: how the last minute went, how long legs lack."""
        row = self._row
        totals = row[LinkCell.HITS_TOTAL], row[LinkCell.MISSES_TOTAL]
        row[LinkCell.HITS_LATELY], row[LinkCell.MISSES_LATELY] = self._lately.growth(*totals, now_s=now_ns / 1e9)
        if not is_short:
            self._filled_ns = now_ns
        row[LinkCell.SHORT_MS] = (now_ns - self._filled_ns) // 1_000_000

    def _note_filled(self, is_filled: bool) -> bool:
        has_risen = is_filled and not self._was_filled
        self._was_filled = is_filled
        self._row.add(LinkCell.FILLED_TOTAL, int(has_risen))
        return has_risen

"""The scoreboard's numbers about links in Prometheus's words, each with the name of its peer. Serves nothing itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pools.link_health import LinkState
from pools.net.link_board import LinkBoard, LinkCell


@dataclass(frozen=True, slots=True)
class LinkFamily:
    """One metric of all peers, which several cells may share under different labels.

    Attributes:
        name: without `_total`, which Prometheus's client adds to counters.
        label: what tells its cells apart besides the peer; empty where it has but one.
        scale: how many of the cell's units are one of the metric's.
    """

    name: str
    help: str
    label: str = ""
    scale: int = 1


_LEGS = LinkFamily("midmile_pool_legs", "Pool legs now, by where they are.", "place")
_TAKES = LinkFamily("midmile_pool_takes", "Sessions that wanted a pool leg, by whether one was ready.", "result")
_DIALLED = LinkFamily("midmile_pool_dialled", "Pool legs that came to be, also those that a session had to dial.")
_DIAL_FAILED = LinkFamily("midmile_pool_dials_failed", "Attempts to dial a pool leg that made none.")
_FIRST = LinkFamily("midmile_link_first_window_bytes", "What else bounds a leg's window at first.", "bound")
_SHORT = LinkFamily(
    "midmile_pool_short_seconds",
    "For how long fewer than pool_min legs have been idle though the link was up.",
    scale=1000,
)
_RTT = LinkFamily("midmile_link_rtt_seconds", "Smoothed round-trip time of probes.", scale=1_000_000)
_VARIATION = LinkFamily("midmile_link_rtt_variation_seconds", "Its smoothed variation.", scale=1_000_000)
_LOSS = LinkFamily("midmile_link_loss_ratio", "Part of the recent probes that was lost.", scale=1_000_000)

GAUGES: Final[Mapping[LinkCell, tuple[LinkFamily, str]]] = {
    LinkCell.RTT_US: (_RTT, ""),
    LinkCell.RTT_VARIATION_US: (_VARIATION, ""),
    LinkCell.LOSS_PPM: (_LOSS, ""),
    LinkCell.IDLE_DEPOT: (_LEGS, "depot"),
    LinkCell.IDLE_WORKERS: (_LEGS, "workers"),
    LinkCell.LENT: (_LEGS, "lent"),
    LinkCell.DIALLING: (_LEGS, "dialling"),
    LinkCell.WINDOW_SEGMENTS: (
        LinkFamily("midmile_pool_window_segments", "Median congestion window of the depot's legs."),
        "",
    ),
    LinkCell.FIRST_WINDOW_SEGMENTS: (
        LinkFamily("midmile_link_first_window_segments", "Congestion window that a leg to the peer begins with."),
        "",
    ),
    LinkCell.FIRST_ADVERTISED_BYTES: (_FIRST, "advertised"),
    LinkCell.FIRST_SEND_BYTES: (_FIRST, "send_buffer"),
    LinkCell.FIRST_RECEIVE_BYTES: (_FIRST, "receive"),
    LinkCell.MAGAZINE_ROUNDS: (LinkFamily("midmile_pool_magazine_rounds", "Size of a magazine."), ""),
    LinkCell.SHORT_MS: (_SHORT, ""),
    LinkCell.CROWDED: (LinkFamily("midmile_pool_crowded", "1 while there are more legs than pool_max."), ""),
}
"""Every gauge of a link, its metric, and its label's value there.

State has a metric of its own; age is of use to nobody, and Prometheus has its own way to look at the last minute.
"""

TOTALS: Final[Mapping[LinkCell, tuple[LinkFamily, str]]] = {
    LinkCell.HITS_TOTAL: (_TAKES, "hit"),
    LinkCell.MISSES_TOTAL: (_TAKES, "miss"),
    LinkCell.UNFIT_TOTAL: (LinkFamily("midmile_pool_unfit", "Idle pool legs that were found dead or too old."), ""),
    LinkCell.DIALLED_TOTAL: (_DIALLED, ""),
    LinkCell.DIAL_FAILED_TOTAL: (_DIAL_FAILED, ""),
    LinkCell.CLOSED_TOTAL: (LinkFamily("midmile_pool_closed", "Pool legs that ended."), ""),
    LinkCell.EXCHANGES_TOTAL: (LinkFamily("midmile_pool_exchanges", "Magazines that changed hands."), ""),
    LinkCell.WENT_DOWN_TOTAL: (LinkFamily("midmile_link_went_down", "Times that the link went down."), ""),
    LinkCell.FILLED_TOTAL: (LinkFamily("midmile_pool_filled", "Times that idle legs rose to pool_min."), ""),
}
"""Every total of a link, likewise."""


def collect(board: LinkBoard, peers: Mapping[int, str]) -> Iterator[Metric]:
    """Give every metric of the links with its current values; none where there are no peers.

    Args:
        peers: names by number.
    """
    if peers:
        yield _up(board, peers)
        yield from _collect(GAUGES, GaugeMetricFamily, board, peers)
        yield from _collect(TOTALS, CounterMetricFamily, board, peers)


def _up(board: LinkBoard, peers: Mapping[int, str]) -> Metric:
    up = GaugeMetricFamily("midmile_link_up", "1 while the peer answers probes.", labels=["peer"])
    for number, name in peers.items():
        up.add_metric([name], board.link(number)[LinkCell.STATE] == LinkState.UP.number)
    return up


def _collect(
    cells: Mapping[LinkCell, tuple[LinkFamily, str]],
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
    board: LinkBoard,
    peers: Mapping[int, str],
) -> Iterator[Metric]:
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for cell, (family, value) in cells.items():
        labels = ["peer", family.label] if family.label else ["peer"]
        if family.name not in families:
            families[family.name] = kind(family.name, family.help, labels=labels)
        for number, name in peers.items():
            amount = board.link(number)[cell] / family.scale
            families[family.name].add_metric([name, value][: len(labels)], amount)
    return iter(families.values())

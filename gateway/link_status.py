"""How the links to peers are, as numbers: what the broker wrote on the scoreboard. Judging them is gateway.health's.

Names and addresses of peers are not on the scoreboard; whoever shows them has them from the configuration.
"""

from dataclasses import dataclass

from pools.link_health import LinkState
from pools.net.link_board import LinkBoard, LinkCell, LinkRow


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One peer's link and the pool of legs over it. Numbers of gauges are 0 while there is no broker.

    Attributes:
        state: UNKNOWN, too, while there is no broker.
        rtt_us: smoothed round-trip time of probes; 0 before the first answer.
        loss_ppm: lost probes in a million, of the recent ones.
        window_segments: median congestion window of the depot's legs.
        first_window_segments: congestion window that a leg begins with; 0, as the next three, while nothing is known.
        first_advertised_bytes: window that the peer advertises from the first.
        first_send_bytes: payload that the send buffer has room for from the first.
        first_receive_bytes: window that we advertise from the first; 0, too, where the kernel is older than 6.2.
        idle_depot: legs that wait in the broker.
        idle_workers: legs that wait in workers.
        lent: legs that carry a session.
        is_crowded: there are more legs than pool_max.
        was_filled: there have once been pool_min idle legs.
        hits: sessions that found a leg ready.
        misses: sessions that had to dial.
        unfit: idle legs that were found dead or too old.
        dialled: legs that came to be.
        closed: legs that ended.
        went_down: times that the link went down.
        hits_lately: hits of about the last minute.
        misses_lately: misses of that minute.
        short_s: for how long there have been fewer than pool_min idle legs though the link was up; 0 where there are
            enough.
        age_s: since the broker wrote all this; None while there is none.
        number: the peer's, the same over reloads.
    """

    state: LinkState
    rtt_us: int
    rtt_variation_us: int
    loss_ppm: int
    window_segments: int
    first_window_segments: int
    first_advertised_bytes: int
    first_send_bytes: int
    first_receive_bytes: int
    idle_depot: int
    idle_workers: int
    lent: int
    dialling: int
    magazine_rounds: int
    is_crowded: bool
    was_filled: bool
    hits: int
    misses: int
    unfit: int
    dialled: int
    dial_failed: int
    closed: int
    exchanges: int
    went_down: int
    hits_lately: int
    misses_lately: int
    short_s: float
    age_s: float | None
    number: int = 0

    @property
    def idle(self) -> int:
        """Legs that wait for a session, in all processes."""
        return self.idle_depot + self.idle_workers

    @property
    def hit_rate(self) -> float | None:
        """Part of the sessions that found a leg ready, 0.0 to 1.0; None before the first session."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None


def read_links(board: LinkBoard, *, now_ns: int) -> tuple[LinkStatus, ...]:
    """Read how all links are, in the configuration's order.

    Args:
        now_ns: monotonic clock.
    """
    return tuple(_read_link(number, board.link(number), now_ns) for number in board.numbers)


def _read_link(number: int, link: LinkRow, now_ns: int) -> LinkStatus:
    updated_ns = link[LinkCell.UPDATED_NS]
    return LinkStatus(
        number=number,
        state=LinkState.of_number(link[LinkCell.STATE]),
        rtt_us=link[LinkCell.RTT_US],
        rtt_variation_us=link[LinkCell.RTT_VARIATION_US],
        loss_ppm=link[LinkCell.LOSS_PPM],
        window_segments=link[LinkCell.WINDOW_SEGMENTS],
        first_window_segments=link[LinkCell.FIRST_WINDOW_SEGMENTS],
        first_advertised_bytes=link[LinkCell.FIRST_ADVERTISED_BYTES],
        first_send_bytes=link[LinkCell.FIRST_SEND_BYTES],
        first_receive_bytes=link[LinkCell.FIRST_RECEIVE_BYTES],
        idle_depot=link[LinkCell.IDLE_DEPOT],
        idle_workers=link[LinkCell.IDLE_WORKERS],
        lent=link[LinkCell.LENT],
        dialling=link[LinkCell.DIALLING],
        magazine_rounds=link[LinkCell.MAGAZINE_ROUNDS],
        is_crowded=bool(link[LinkCell.CROWDED]),
        was_filled=link[LinkCell.FILLED_TOTAL] > 0,
        hits=link[LinkCell.HITS_TOTAL],
        misses=link[LinkCell.MISSES_TOTAL],
        unfit=link[LinkCell.UNFIT_TOTAL],
        dialled=link[LinkCell.DIALLED_TOTAL],
        dial_failed=link[LinkCell.DIAL_FAILED_TOTAL],
        closed=link[LinkCell.CLOSED_TOTAL],
        exchanges=link[LinkCell.EXCHANGES_TOTAL],
        went_down=link[LinkCell.WENT_DOWN_TOTAL],
        hits_lately=link[LinkCell.HITS_LATELY],
        misses_lately=link[LinkCell.MISSES_LATELY],
        short_s=link[LinkCell.SHORT_MS] / 1000,
        age_s=max(0, now_ns - updated_ns) / 1e9 if updated_ns else None,
    )

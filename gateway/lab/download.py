"""Measures a download: how fast a large answer comes end to end, split and with everything on; with loss and without.

All lines have the same rate. Loss strikes the client's line, where clients have it: a radio, a crowded network.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from math import ceil
from typing import Final

from gateway.lab import model
from gateway.lab.delay_line import LineTerms
from gateway.lab.ladder import since
from gateway.lab.model import Bound, Path, Transfer
from gateway.lab.results import Curve, DownloadResult, DownloadWay, Stage, Way
from gateway.lab.scene import Progress, Scene

STAGES: Final = {Way.END_TO_END: Stage.END_TO_END, Way.SPLIT: Stage.SPLIT, Way.EVERYTHING: Stage.TURBO_START}
"""The ways on which all hosts and gateways have CUBIC, and what each has of the ladder."""

LOSSES: Final = (0.0, 0.001)  # in this order: once a line has lost packets, its site sends each by itself

_QUEUE_S: Final = 0.1  # of sending at full rate: what a router's port may hold
_POINTS: Final = 1_000  # of a curve
_LEAST_WINDOW, _MOST_WINDOW = 200, 65_535
_MARGIN: Final = 1.1
_BITS: Final = 8
_BBR: Final = "bbr"

# On all hosts, clients and servers too: what is on the way must not be bounded by buffers, or nobody reaches the rate.
# 64 MiB are 200 Mbit/s over more than 2 s. Source: ip-sysctl.rst.
_BUFFERS: Final = {"ipv4.tcp_rmem": "4096 131072 67108864", "ipv4.tcp_wmem": "4096 16384 67108864"}


def run_download(rtts_s: Sequence[float], transfer: Transfer, *, repeats: int, progress: Progress) -> DownloadResult:
    """Download by each way without loss, then with it, `repeats` times each and in turns.

    Args:
        rtts_s: round-trip times of the lines, the client's first; two at least.
        transfer: of a rate.
        progress: is told of each download.

    Raises:
        StartError: it needs root, or something of the system; the message says what.
        FetchError: an answer did not come.
    """
    build = partial(
        Scene,
        [_line(rtt_s, transfer) for rtt_s in rtts_s],
        progress=progress,
        initial_window=turbo_window(rtts_s, transfer),
        sysctls=_BUFFERS,
    )
    measure = partial(_measured, size_bytes=transfer.size_bytes, repeats=repeats, progress=progress)
    with build(STAGES.values()) as scene:
        before = scene.wan.traffic()
        curves = measure(scene, STAGES)
        punctuality = since(before, scene.wan.traffic())
    with build([Stage.TURBO_START], client_congestion=_BBR) as scene:
        curves |= measure(scene, {Way.BBR: Stage.TURBO_START})
    ways = [DownloadWay(*key, found, _predicted_s(*key, rtts_s, transfer)) for key, found in curves.items()]
    ways.sort(key=lambda each: each.loss)
    allowed_s = model.predict(Path.of(Bound.PROPAGATION, rtts_s), transfer).all_bytes_s
    size_bytes, rate_bits_s = transfer.size_bytes, transfer.rate_bits_s
    return DownloadResult(rtts_s, size_bytes, rate_bits_s, ways, allowed_s, punctuality, punctuality.warnings)


def _predicted_s(way: Way, loss: float, rtts_s: Sequence[float], transfer: Transfer) -> float:
    """Give what the model says; to BBR losses are nothing, as long as they are few."""
    path = Path.of(Stage.TURBO_START, rtts_s) if way is Way.BBR else Path.of(STAGES[way], rtts_s, loss=loss)
    return model.predict(path, transfer).all_bytes_s


def _line(rtt_s: float, transfer: Transfer) -> LineTerms:
    queue_bytes = round(transfer.rate_bits_s * _QUEUE_S / _BITS)
    return LineTerms(delay_s=rtt_s / 2, rate_bits_s=transfer.rate_bits_s, queue_bytes=queue_bytes)


def turbo_window(rtts_s: Sequence[float], transfer: Transfer) -> int:
    """Give the window, in segments, that fills the longest leg between gateways from the first packet on."""
    filled = max(rtts_s[1:-1], default=0.0) / transfer.spacing_s
    return min(max(ceil(filled * _MARGIN), _LEAST_WINDOW), _MOST_WINDOW)


def _measured(
    scene: Scene, stages: Mapping[Way, Stage], *, size_bytes: int, repeats: int, progress: Progress
) -> dict[tuple[Way, float], list[Curve]]:
    curves: dict[tuple[Way, float], list[Curve]] = {(way, loss): [] for loss in LOSSES for way in stages}
    scene.fetch(Stage.END_TO_END, size_bytes)  # the origin makes its answer once, which takes it up to half a second
    for loss in LOSSES:
        for turn in range(1, repeats + 1):
            for way, stage in stages.items():
                scene.lose(loss, seed=turn)  # so that no way has more luck than another
                curve = scene.fetch(stage, size_bytes).curve
                curves[way, loss].append(curve.thinned(_POINTS))
                mbit_s = size_bytes * _BITS / curve.took_s / 1e6
                progress(f"{turn}/{repeats} {way}, loss {loss:.1%}: {curve.took_s:.2f} s, {mbit_s:.0f} Mbit/s")
    return curves

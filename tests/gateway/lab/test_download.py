"""The download in small; `make lab` shows what it gains."""

import os

import pytest

from gateway.lab.download import run_download, turbo_window
from gateway.lab.model import Transfer
from gateway.lab.results import DownloadResult, Way

RTTS_S = (0.008, 0.02, 0.006)
TRANSFER = Transfer(1_000_000, rate_bits_s=100e6)


def test_the_window_fills_the_longest_leg_between_gateways() -> None:
    window = turbo_window((0.028, 0.214, 0.032), Transfer(50_000_000, 200e6))
    assert window * 1_500 * 8 == pytest.approx(200e6 * 0.214, rel=0.11)
    assert window * 1_500 * 8 >= 200e6 * 0.214


@pytest.mark.parametrize(
    ("rtts_s", "window"), [((0.1, 0.1), 200), ((0.1, 0.001, 0.1), 200), ((0.1, 10.0, 0.1), 65_535)]
)
def test_the_window_is_one_that_can_be_configured(rtts_s: tuple[float, ...], window: int) -> None:
    assert turbo_window(rtts_s, Transfer(50_000_000, 200e6)) == window


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def result(told: list[str]) -> DownloadResult:
    return run_download(RTTS_S, TRANSFER, repeats=1, progress=told.append)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")
def test_each_way_is_measured_at_each_loss_and_none_is_faster_than_light(
    result: DownloadResult, told: list[str]
) -> None:
    assert [(each.way, each.loss) for each in result.ways] == [(way, loss) for loss in (0.0, 0.001) for way in Way]
    assert all(len(way.curves) == 1 for way in result.ways)
    assert all(curve.points[-1][1] == TRANSFER.size_bytes for way in result.ways for curve in way.curves)
    assert min(way.typical.took_s for way in result.ways) >= result.allowed_s
    assert result.allowed_s > sum(RTTS_S) + TRANSFER.size_bytes * 8 / TRANSFER.rate_bits_s
    assert any(text.startswith("1/1 split, loss 0.1%: ") for text in told)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces and TUN devices")
def test_the_model_knows_of_loss(result: DownloadResult) -> None:
    assert result.found(Way.END_TO_END, 0.001).model_s > result.found(Way.END_TO_END, 0.0).model_s
    assert result.found(Way.BBR, 0.001).model_s == result.found(Way.EVERYTHING, 0.0).model_s

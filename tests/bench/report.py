"""What is shown of a run: a table for people, and all of it for programs. Pure: text and plain data in and out."""

from collections.abc import Sequence
from typing import Any

from tests.bench.configurations import RelayName
from tests.bench.figures import Metric, Sample, Spread, by_round, ratio, rows, spread, verdict

_RATIO = "Midmile / HAProxy"
_HEADS = ["", "unit", *RelayName, _RATIO, "target", ""]
_VERDICTS = {True: "met", False: "missed", None: ""}
_TEXT_COLUMNS = 2
Grid = list[list[str]]


def grid(samples: Sequence[Sample]) -> Grid:
    """Give the table's cells, heads first: medians over the rounds, and the ratio with its lowest and highest round."""
    return [list(_HEADS), *(_row(samples, metric) for metric in rows(samples))]


def _row(samples: Sequence[Sample], metric: Metric) -> list[str]:
    medians = [_median(spread(list(by_round(samples, metric, name).values()))) for name in RelayName]
    target = f"{metric.target}{' itself' if metric.target.own else ''}" if metric.target else ""
    compared = _ratio(ratio(samples, metric, RelayName.MIDMILE))
    return [metric.title, metric.unit, *medians, compared, target, _VERDICTS[verdict(samples, metric)]]


def _median(values: Spread | None) -> str:
    return number(values.middle) if values else "–"


def _ratio(values: Spread | None) -> str:
    return f"{values.middle:.2f} ({values.low:.2f}–{values.high:.2f})" if values else "–"


def number(value: float) -> str:
    """Write a figure with the three digits or so that a measurement is good for."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def text(cells: Grid) -> str:
    """Align the cells for a terminal: words to the left, figures to the right."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(_aligned(row, widths)).rstrip() for row in cells)


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    pairs = list(zip(row, widths, strict=True))
    words = [cell.ljust(width) for cell, width in pairs[:_TEXT_COLUMNS]]
    return words + [cell.rjust(width) for cell, width in pairs[_TEXT_COLUMNS:]]


def markdown(cells: Grid) -> str:
    """Write the cells as a Markdown table."""
    heads, *body = cells
    rule = ["---"] * _TEXT_COLUMNS + ["--:"] * (len(heads) - _TEXT_COLUMNS)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *body))


def document(samples: Sequence[Sample], *, about: dict[str, Any], failures: Sequence[str]) -> dict[str, Any]:
    """Give all of a run for JSON: what it ran on, every sample of every round, what is made of them, what failed."""
    return {
        "about": about,
        "samples": [_sample(sample) for sample in samples],
        "summary": [_summary(samples, metric) for metric in rows(samples)],
        "failures": list(failures),
    }


def _sample(sample: Sample) -> dict[str, str | int | float]:
    metric = sample.metric
    return {
        "round": sample.round,
        "relay": str(sample.relay),
        "title": metric.title,
        "unit": metric.unit,
        "value": sample.value,
    }


def _summary(samples: Sequence[Sample], metric: Metric) -> dict[str, Any]:
    medians = {str(name): spread(list(by_round(samples, metric, name).values())) for name in RelayName}
    ratios = {str(name): ratio(samples, metric, name) for name in RelayName}
    return {
        "title": metric.title,
        "unit": metric.unit,
        "relays": {name: _plain(values) for name, values in medians.items() if values},
        "to_haproxy": {name: _plain(values) for name, values in ratios.items() if values},
        "target": str(metric.target) if metric.target else None,
        "met": verdict(samples, metric),
    }


def _plain(values: Spread) -> dict[str, float]:
    return {"median": values.middle, "low": values.low, "high": values.high}

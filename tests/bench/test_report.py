import json

from tests.bench import report
from tests.bench.configurations import RelayName
from tests.bench.figures import Metric, Sample, Target

COST = Metric("bulk", "CPU s/GB", Target(0.80))
RUN = [
    Sample(number, relay, COST, value)
    for relay, values in {RelayName.HAPROXY: (0.30, 0.32, 0.31), RelayName.MIDMILE: (0.24, 0.24, 0.31)}.items()
    for number, value in enumerate(values, 1)
]


def test_a_row_shows_medians_and_the_ratio_with_its_range() -> None:
    assert report.grid(RUN)[1] == [
        "bulk", "CPU s/GB", "–", "0.310", "–", "0.240", "0.80 (0.75–1.00)", "≤ 0.80", "met",
    ]  # fmt: skip


def test_text_is_aligned() -> None:
    heads, row = report.text(report.grid(RUN)).splitlines()
    assert heads.index("HAProxy") + len("HAProxy") == row.index("0.310") + len("0.310")
    assert row.startswith("bulk  CPU s/GB")


def test_markdown_has_as_many_cells_in_each_line() -> None:
    lines = report.markdown(report.grid(RUN)).splitlines()
    assert [line.count("|") for line in lines] == [len(report.grid(RUN)[0]) + 1] * 3
    assert lines[1].startswith("| --- | --- | --:")


def test_figures_show_no_more_digits_than_were_measured() -> None:
    assert [report.number(value) for value in (0.2654, 2.654, 26.54, 26543.2, -560.4)] == [
        "0.265", "2.65", "26.5", "26,543", "-560",
    ]  # fmt: skip


def test_the_document_survives_json_with_every_round_and_failure() -> None:
    made = report.document(RUN, about={"kernel": "6.1"}, failures=["round 2, bulk, nginx: ended"])
    assert json.loads(json.dumps(made)) == made
    assert [sample["value"] for sample in made["samples"]] == [0.30, 0.32, 0.31, 0.24, 0.24, 0.31]
    assert made["summary"][0]["to_haproxy"]["Midmile"]["median"] == 0.24 / 0.30
    assert made["summary"][0]["met"] is True
    assert made["failures"] == ["round 2, bulk, nginx: ended"]

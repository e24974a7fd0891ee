"""Alerts, recordings and the dashboard say what they should, as far as that can be told without Prometheus and Grafana.

That they name only metrics that a gateway exports is in tests/scenarios/test_behind_haproxy.py, where one runs.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.reasons import Code
from tests.scenarios.harness.programs import LIMIT_S, ROOT, require

MONITORING: Final = ROOT / "deploy/monitoring"
RULES: Final = (MONITORING / "midmile.rules.yml").read_text()
RULE_TESTS: Final = (MONITORING / "midmile.rules.test.yml").read_text()
DASHBOARD: Final[dict[str, Any]] = json.loads((MONITORING / "midmile-dashboard.json").read_text())
HEALTH_PAGE: Final = (ROOT / "docs/health.md").read_text()
ALERTS: Final = dict(re.findall(r"^ +- alert: (\w+)\n((?:(?! +- |  - name).*\n?)+)", RULES, re.MULTILINE))
GRID: Final = 24
VARIABLES: Final = {"$gateway": ".*", "$instance": ".*", "$__rate_interval": "1m"}


def promtool(*words: str) -> str:
    done = subprocess.run(
        [require("promtool"), *words], cwd=MONITORING, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def anchors() -> set[str]:
    heads = re.findall(r"^#+ (.*)$", HEALTH_PAGE, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_rules_and_the_example_that_loads_them_are_right() -> None:
    assert f"{len(ALERTS) + RULES.count('- record: ')} rules found" in promtool("check", "rules", "midmile.rules.yml")
    assert "is valid" in promtool("check", "config", "prometheus.yml")


def test_each_alert_is_raised_when_it_should_and_only_then() -> None:
    promtool("test", "rules", "midmile.rules.test.yml")


def test_each_alert_and_each_recording_has_a_test() -> None:
    records = re.findall(r"- record: (\S+)", RULES)
    assert len(ALERTS) > 15
    assert [name for name in [*ALERTS, *records] if not re.search(rf"\b{name}\b", RULE_TESTS)] == []


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for name, rest in ALERTS.items():
        assert re.search(r"severity: (critical|warning|info)\b", rest), name
        assert re.findall(r"^ +(\w+): \S", rest.partition("annotations:")[2], re.MULTILINE) == [
            "summary",
            "description",
            "runbook",
        ], name


def test_each_runbook_and_each_reason_is_a_place_in_the_docs() -> None:
    places = set(re.findall(r"runbook: docs/health\.md#(\S+.*)", RULES)) - {"{{ $labels.code }}"}
    assert places | {code.value for code in Code} <= anchors()


def test_each_alert_is_described() -> None:
    assert [name for name in ALERTS if not re.search(rf"`{name}`|^#+ {name}$", HEALTH_PAGE, re.MULTILINE)] == []


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DASHBOARD["panels"]
    return found


def targets() -> Iterator[dict[str, Any]]:
    for panel in panels():
        yield from panel.get("targets", [])


def test_each_expression_of_the_dashboard_is_one_of_prometheus(tmp_path: Path) -> None:
    rules = []
    for number, target in enumerate(targets()):
        expression = target["expr"]
        for name, value in VARIABLES.items():
            expression = expression.replace(name, value)
        assert "$" not in expression, target["expr"]
        rules.append({"record": f"panel:{number}", "expr": expression})
    assert len(rules) > 25
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))  # JSON is YAML, too
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


def test_panels_have_a_place_of_their_own_within_the_page() -> None:
    spots = [panel["gridPos"] for panel in panels()]
    assert all(spot["x"] >= 0 and spot["x"] + spot["w"] <= GRID for spot in spots)
    for one, other in combinations(spots, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or apart, (one, other)


def test_panels_and_their_queries_can_be_told_apart_and_ask_the_chosen_prometheus() -> None:
    numbers = [panel["id"] for panel in panels()]
    assert len(set(numbers)) == len(numbers)
    for panel in panels():
        references = [target["refId"] for target in panel.get("targets", [])]
        assert len(set(references)) == len(references), panel["title"]
        assert bool(references) != (panel["type"] == "row"), panel["title"]
    sources = [panel["datasource"] for panel in panels() if panel["type"] != "row"]
    sources += [target["datasource"] for target in targets()]
    assert sources == [{"type": "prometheus", "uid": "${datasource}"}] * len(sources)


def test_each_variable_that_is_used_is_defined_and_filters_every_query() -> None:
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert defined == {"datasource", "gateway", "instance"}
    for target in targets():
        selectors = re.findall(r"midmile_\w+", target["expr"])
        filters = re.findall(r'\{gateway=~"\$gateway", instance=~"\$instance"', target["expr"])
        assert len(filters) == len(selectors) > 0, target["expr"]


@pytest.mark.parametrize("script", sorted((ROOT / "deploy/load-balancers").glob("*.sh")), ids=lambda path: path.name)
def test_what_is_asked_of_a_cloud_is_shell(script: Path) -> None:
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")

"""The pages say what the product does: each key, metric, command, column and code is there, and each example works."""

import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from prometheus_client.core import Metric
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperGroup

from gateway.cli import app
from gateway.config import configuration
from gateway.config.schema import Document, ListenTable
from gateway.config.surroundings import Surroundings
from gateway.exit_codes import ExitCode
from gateway.metrics import TOTALS, ScoreboardCollector
from gateway.overlay_key import create
from gateway.reasons import Level
from pools.net.clock import monotonic_ns
from pools.net.endpoint import Endpoint
from pools.net.errors import Phase
from pools.net.scoreboard import Cell, Layout, Scoreboard
from workers.access_log import EndedBy, SessionRecord, as_json, as_text

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()
OPERATING = (ROOT / "docs/operating.md").read_text()
COMMAND_LINE = re.compile(r"^(?:\$ |\w+=)?(?:/\S*/)?gateway (.*)$", re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def tables() -> Iterator[tuple[str, type[BaseModel]]]:
    """Give the schema's tables, by name."""
    for name, field in Document.model_fields.items():
        yield name, _model(field.annotation)


def _model(annotation: Any) -> type[BaseModel]:
    found = [each for each in (annotation, *get_args(annotation)) if isinstance(each, type)]
    return next(each for each in found if issubclass(each, BaseModel))


KEYS = [(name, key, field) for name, model in tables() for key, field in model.model_fields.items()]


def section(page: str, heading: str) -> str:
    """Give what stands under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"no heading {heading!r}"
    return found[1]


def rows(text: str) -> dict[str, list[str]]:
    """Give the rows of all tables in `text`, by their first cell without its backquotes."""
    lines = [re.split(r"(?<!\\)\|", line.strip("|")) for line in text.splitlines() if line.startswith("| ")]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in lines}


def table_heading(name: str) -> str:
    return f"`[[{name}]]`" if name in {"listen", "peer"} else f"`[{name}]`"


def as_written(default: object) -> str | None:
    """Write a default as a file has it; None for one that stands for something else."""
    if isinstance(default, Endpoint | StrEnum):
        default = str(default)
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return None if default is None else f"`{json.dumps(default)}`"


def bounds(field: FieldInfo) -> set[str]:
    found = [getattr(each, name, None) for each in field.metadata for name in ("ge", "gt", "le")]
    return {str(bound) for bound in found if bound is not None}


def test_each_key_is_described_with_its_default_and_range() -> None:
    for table, key, field in KEYS:
        _, default, allowed, meaning = rows(section(CONFIGURATION, table_heading(table)))[key]
        assert as_written(field.default) in (None, default), (table, key)
        assert bounds(field) <= set(re.findall(r"\d+(?:\.\d+)?", allowed)), (table, key)
        assert meaning.endswith((".", ")")), (table, key)


def test_no_page_describes_a_key_that_does_not_exist() -> None:
    for name, model in tables():
        described = set(rows(section(CONFIGURATION, table_heading(name)))) - {"key"}
        assert described <= set(model.model_fields), name


def test_each_mode_is_named() -> None:
    annotation = str(ListenTable.model_fields["mode"].annotation)
    assert [mode for mode in re.findall(r"'(\w+)'", annotation) if f"`{mode}`" not in CONFIGURATION] == []


def test_the_example_names_each_key() -> None:
    example = configuration.example()
    missing = []
    for name, model in tables():
        found = re.findall(rf"^(?:# )?\[+{name}\]+.*\n((?:(?!(?:# )?\[).*\n?)*)", example, re.MULTILINE)
        part = "\n".join(found)
        missing += [
            f"{name}.{key}" for key in model.model_fields if not re.search(rf"^(# )?{key} = ", part, re.MULTILINE)
        ]
    assert missing == []


@pytest.fixture
def families(tmp_path: Path) -> Iterator[list[Metric]]:
    """All that /metrics tells about one worker and the broker, which are this process, so that no gauge is left out."""
    board = Scoreboard.create(tmp_path / "scoreboard", Layout(1, 1, 1), supervisor_pid=1, started_ns=monotonic_ns())
    for row in (board.row(0), board.broker):
        row[Cell.PID], row[Cell.BOOTED_NS] = os.getpid(), monotonic_ns()
    yield list(ScoreboardCollector(board, {0: "orders"}, {0: "mumbai"}).collect())
    board.close()


def exposed(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_each_metric_is_described_with_its_type_and_labels(families: list[Metric]) -> None:
    described = {
        name: cells for name, cells in rows(section(OPERATING, "Metrics")).items() if name.startswith("midmile_")
    }
    assert set(described) == {exposed(family) for family in families}
    for family in families:
        kind, labels, *_ = described[exposed(family)]
        assert kind == family.type, family.name
        assert set(re.findall(r"`(\w+)`", labels)) == {label for sample in family.samples for label in sample.labels}


def test_each_reason_for_a_failure_is_described() -> None:
    reasons = {value for family, value in TOTALS.values() if family.label == "reason"}
    assert set(rows(section(OPERATING, "Reasons"))) - {"reason"} == reasons


def test_each_column_of_the_access_log_is_described() -> None:
    record = SessionRecord(began_s=0.0, session="0-1", listener="orders", client="192.0.2.1:1")
    described = rows(section(OPERATING, "Access log"))
    columns = [number for number in described if number.isdigit()]
    assert columns == [str(number + 1) for number, _ in enumerate(as_text(record).split())]
    told = [name for number in columns for name in re.findall(r"`(\w+)`", described[number][-1])]
    assert told == list(json.loads(as_json(record)))


def test_each_letter_of_the_end_code_is_described() -> None:
    parts = section(OPERATING, "End codes").split("\n\n")
    who, phase = (next(rows(part) for part in parts if f"{nth} letter" in part) for nth in ("first", "second"))
    assert set(who) - {"first letter"} == {each.value for each in EndedBy}
    assert set(phase) - {"second letter"} == {each.value for each in Phase}


def test_exit_codes_and_levels_of_health_are_described() -> None:
    codes = {code for code in rows(section(OPERATING, "Commands")) if code.isdigit()}
    assert codes == {str(int(code)) for code in ExitCode}
    assert set(rows(section(OPERATING, "Health"))) >= {level.value for level in Level}


def group() -> TyperGroup:
    found = typer.main.get_command(app)
    assert isinstance(found, TyperGroup)
    return found


def subcommands(name: str) -> dict[str, Any]:
    """Give the commands of a group such as lab; none where `name` is a command by itself."""
    return dict(getattr(group().commands[name], "commands", {}))


def command_names() -> Iterator[str]:
    for name in group().commands:
        yield from (f"{name} {word}" for word in subcommands(name)) if subcommands(name) else [name]


def addressed(words: list[str]) -> Any:
    """Give the command that `words` begin with."""
    name, *rest = words
    return subcommands(name)[rest[0]] if rest and subcommands(name) else group().commands[name]


def spoken(page: Path) -> Iterator[list[str]]:
    """Give the words of each `gateway` command on a page, in blocks and in sentences."""
    text = page.read_text()
    in_blocks = [line for _, block in BLOCK.findall(text) for line in re.findall(COMMAND_LINE, block)]
    for line in [*in_blocks, *re.findall(r"`gateway ([a-z][^`]*)`", text)]:
        yield shlex.split(line, comments=True)


def test_each_command_is_described() -> None:
    named = [name.split()[1:] for name in rows(section(OPERATING, "Commands")) if name.startswith("gateway ")]
    described = [" ".join(word for word in words if word.islower()) for words in named]
    assert sorted(described) == sorted(command_names())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_that_is_shown_exists_with_its_options(page: Path) -> None:
    for words in spoken(page):
        known = {option for parameter in addressed(words).params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_target_of_make_that_is_shown_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)) <= targets


def anchors(page: Path) -> set[str]:
    """Give the anchors that GitHub makes of a page's headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        to = page.parent / path if path else page
        assert to.exists(), target
        assert not anchor or anchor in anchors(to), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_in_toml_are_right(page: Path, tmp_path: Path) -> None:
    (tmp_path / "users").touch(mode=0o600)
    (tmp_path / "users").write_text("ann:secret\n")
    create(tmp_path / "overlay.key")
    for kind, block in BLOCK.findall(page.read_text()):
        if kind == "toml" and tomllib.loads(block).keys() & {"gateway", "listen"}:
            file = tmp_path / "gateway.toml"
            file.write_text(block)
            assert configuration.load(
                file, surroundings=Surroundings(uid=os.geteuid(), xdg_runtime_dir="/run/user/1")
            ).listens


def test_the_readme_stays_short() -> None:
    assert len(PAGES[0].read_text().splitlines()) < 150

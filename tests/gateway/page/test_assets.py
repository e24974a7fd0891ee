"""The page's files: all of them are there, each refers only to others of them, and nothing stands in line."""

import re
import tomllib
from importlib.metadata import PackagePath
from pathlib import Path
from typing import Any

import pytest

from gateway.page import assets

FILES = assets.load()
POLICY = dict(assets.HEADERS)["Content-Security-Policy"]


def text(path: str) -> str:
    return FILES[path].body.decode()


def test_the_page_stands_at_the_root_and_its_parts_below_page() -> None:
    assert "/" in FILES
    assert {path.rpartition("/")[0] for path in FILES if path != "/"} == {"/page"}
    assert FILES["/"].type == "text/html; charset=utf-8"
    assert FILES["/page/page.js"].type == "text/javascript; charset=utf-8"
    assert FILES["/page/page.css"].type == "text/css; charset=utf-8"


def test_what_a_file_refers_to_is_there() -> None:
    found = re.findall(r'(?:href|src)="([^"]+)"', text("/"))
    assert len(found) == 3
    imported = {name for path in FILES if path.endswith(".js") for name in re.findall(r'from "\./([^"]+)"', text(path))}
    assert imported
    assert {f"/{path}" for path in found} | {f"/page/{name}" for name in imported} | {"/"} == set(FILES)


def test_the_policy_lets_nothing_in_but_these_files() -> None:
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules.pop("default-src") == "'none'"
    assert set(rules.values()) == {"'self'", "'none'"}


@pytest.mark.parametrize("path", [path for path in FILES if path != "/page/icon.svg"])
def test_nothing_is_written_as_markup_or_comes_from_elsewhere(path: str) -> None:
    banned = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\son\w+=|style=|https?://(?!www\.w3\.org/)"
    )
    assert not banned.search(text(path))


def test_they_belong_to_the_package(pytestconfig: pytest.Config) -> None:
    project: dict[str, Any] = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["gateway.page"]
    files = [file for file in Path(assets.__file__).with_name("static").iterdir() if file.is_file()]
    assert len(files) == len(FILES)
    assert all(any(PackagePath("static", file.name).match(pattern) for pattern in patterns) for file in files)

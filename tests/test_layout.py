"""The house's own rules that no linter knows: every module has its test, none grows too long, no test sleeps."""

import ast
from pathlib import Path

from tests.conftest import LONG

ROOT = Path(__file__).parents[1]
LONGEST = 350  # lines

# Commands print what other modules found out; tests/gateway/test_cli.py runs them all as an operator does.
EXEMPT_FOLDERS = {"gateway/commands"}
# Not one decision in them: values with names.
EXEMPT_MODULES = {
    "gateway/exit_codes.py",
    "gateway/top/sample.py",
    "pools/broker_post.py",
    "pools/net/clock.py",
    "pools/net/keepalive.py",
    "pools/peer.py",
    "workers/post.py",
    "workers/settings.py",
}

# Parts of one mechanism that only work together; most of their tests run whole gateways in processes of their own.
TESTED_WITH = {
    "gateway/answers.py": "tests/gateway/test_control.py",
    "gateway/control_client.py": "tests/gateway/test_control.py",
    "gateway/child.py": "tests/gateway/test_supervisor.py",
    "gateway/crew.py": "tests/gateway/test_supervisor.py",
    "gateway/lab/programs_process.py": "tests/gateway/lab/test_programs.py",
    "gateway/upgrading/estate.py": "tests/gateway/upgrading/test_inheritance.py",
    "gateway/upgrading/generations.py": "tests/gateway/upgrading/test_upgrade.py",
    "gateway/upgrading/handover_channel.py": "tests/gateway/upgrading/test_predecessors.py",
    "gateway/introduction.py": "tests/gateway/test_supervisor.py",
    "gateway/sockets/holdings_change.py": "tests/gateway/sockets/test_holdings.py",
    "gateway/launch.py": "tests/gateway/test_supervisor.py",
    "gateway/reasons.py": "tests/gateway/test_health.py",
    "gateway/roles.py": "tests/gateway/test_supervisor.py",
    "gateway/config/settings.py": "tests/gateway/config/test_configuration.py",
    "gateway/upgrading/succession.py": "tests/gateway/upgrading/test_upgrade.py",
    "gateway/slot.py": "tests/gateway/test_supervisor.py",
    "pools/broker_line.py": "tests/pools/test_broker_client.py",
    "pools/idle_leg.py": "tests/pools/test_channel.py",
    "pools/leg_account.py": "tests/pools/test_broker_client.py",
    "pools/peer_desk.py": "tests/pools/test_broker.py",
    "pools/peer_legs.py": "tests/pools/test_broker_client.py",
    "pools/worker_lines.py": "tests/pools/test_broker.py",
}


def python_files(*folders: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py"))


PRODUCT = python_files("gateway", "workers", "pools")
TESTS = python_files("tests")


def is_exempt(module: Path) -> bool:
    return module.name == "__init__.py" or str(module) in EXEMPT_MODULES or str(module.parent) in EXEMPT_FOLDERS


def sleeps(tree: ast.AST) -> list[int]:
    """Give the lines on which something called sleep is called."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {ast.Name: "id", ast.Attribute: "attr"}
    return [call.lineno for call in calls if getattr(call.func, names.get(type(call.func), ""), "") == "sleep"]


def test_there_is_something_to_judge() -> None:
    assert len(PRODUCT) > 50
    assert len(TESTS) > 50


def test_each_module_has_its_test() -> None:
    expected = {name: expected_test(Path(name)) for name in PRODUCT if not is_exempt(Path(name))}
    assert {name: str(test) for name, test in expected.items() if not (ROOT / test).is_file()} == {}


def expected_test(module: Path) -> Path:
    return Path(TESTED_WITH.get(str(module), Path("tests") / module.parent / f"test_{module.name}"))


def test_what_is_exempt_exists() -> None:
    names = EXEMPT_MODULES | EXEMPT_FOLDERS | TESTED_WITH.keys()
    assert [name for name in sorted(names) if not (ROOT / name).exists()] == []


def test_each_module_is_short_enough_to_be_one_idea() -> None:
    lengths = {name: len((ROOT / name).read_text().splitlines()) for name in PRODUCT}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_each_long_story_exists() -> None:
    assert sorted(LONG - set(TESTS)) == []


def test_no_test_sleeps() -> None:
    found = {name: sleeps(ast.parse((ROOT / name).read_text())) for name in TESTS}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_sleep_would_be_found() -> None:
    assert sleeps(ast.parse("import time\ntime.sleep(1)\nsleep(2)\nasleep(3)")) == [2, 3]

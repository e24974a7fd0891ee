import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from gateway.cli import app
from gateway.exit_codes import ExitCode

ROOT = Path(__file__).parents[2]
Start = Callable[..., Any]


def gateway_command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"},
    )


def gateway_process(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def commands() -> dict[str, Any]:
    """Give all commands by their words: those of a group, such as lab, have two."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    nested = {name: getattr(command, "commands", {}) for name, command in group.commands.items()}
    return dict(group.commands) | {f"{name} {word}": each for name in nested for word, each in nested[name].items()}


def test_each_option_is_explained_and_each_command_has_them_in_the_same_order() -> None:
    order = ["--config", "--runtime-dir", "--listen", "--to", "--workers", "--now", "--limit", "--wait", "--rotate"]
    order += ["--rtt", "--size", "--rate", "--repeats", "--picture", "--every", "--once", "--strict", "--json"]
    for name, command in commands().items():
        options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
        assert all(getattr(option, "help", None) for option in options), name
        places = [order.index(option.opts[0]) for option in options]
        assert places == sorted(places), name
        assert all(f"{int(code)} " in (command.epilog or "") for code in ExitCode), name


def test_the_version_can_be_asked_for_as_an_option() -> None:
    asked, told = CliRunner().invoke(app, ["--version"]), CliRunner().invoke(app, ["version"])
    assert (asked.exit_code, asked.output) == (ExitCode.OK, told.output)
    assert told.output.startswith("midmile ")


@pytest.mark.parametrize("words", ["", *commands()])
def test_each_command_has_its_help_by_two_names(words: str) -> None:
    short, long = (CliRunner().invoke(app, [*words.split(), name]) for name in ("-h", "--help"))
    assert (short.exit_code, short.output) == (ExitCode.OK, long.output)
    assert f"Usage: root {words}".rstrip() in short.output


@pytest.mark.parametrize(
    ("words", "said", "light"),
    [
        (["version"], "midmile ", ("psutil", "msgpack")),
        (["--version"], "midmile ", ("psutil", "msgpack")),
        (
            ["health", "--runtime-dir", "/nowhere"],
            "no gateway runs in /nowhere",
            ("workers.settings", "pools.handshake"),
        ),
        (
            ["status", "--runtime-dir", "/nowhere"],
            "no gateway runs in /nowhere",
            ("workers.settings", "pools.handshake"),
        ),
    ],
    ids=lambda words: words[0],
)
def test_what_is_asked_often_loads_neither_servers_nor_the_rules_of_configurations(
    words: list[str], said: str, light: tuple[str, ...]
) -> None:
    probe = f"import sys; sys.argv[1:] = {words}; from gateway import cli\ntry: cli.main()\nexcept SystemExit: pass\n"
    heavy = (
        "gevent",
        "prometheus_client",
        "pyroute2",
        "rich",
        "gateway.config.configuration",
        "gateway.config.schema",
        *light,
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{probe}print([name for name in {heavy} if name in sys.modules])"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.stderr + done.stdout).startswith(said)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "words",
    [
        ["start", "--workers", "0"],
        ["start", "--workers", "many"],
        ["start", "--listen", "8080"],
        ["start", "--to", "192.0.2.1:443"],
        ["start", "--config", "a.toml", "--listen", "127.0.0.1:8080"],
        ["top", "--every", "0.1"],
        ["completion", "tcsh"],
        ["dance"],
        ["check"],
    ],
)
def test_wrong_command_line_is_a_usage_error(words: list[str]) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == ExitCode.USAGE
    assert "Usage" in done.stderr


@pytest.mark.parametrize("command", ["status", "health", "sessions", "links", "stop"])
def test_nothing_runs_is_one_line_and_not_well(command: str, tmp_path: Path) -> None:
    done = gateway_command(command, "--runtime-dir", str(tmp_path))
    assert done.returncode == ExitCode.UNWELL
    assert done.stderr == f"no gateway runs in {tmp_path}\n"
    assert done.stdout == ""


def test_init_writes_a_file_that_check_accepts_and_never_writes_over_one(tmp_path: Path) -> None:
    file = tmp_path / "midmile.toml"
    assert gateway_command("init", str(file)).returncode == ExitCode.OK
    assert gateway_command("check", str(file)).stdout == f"{file}: correct\n"
    file.write_text("mine")
    done = gateway_command("init", str(file))
    assert done.returncode == ExitCode.USAGE
    assert "File exists" in done.stderr
    assert file.read_text() == "mine"


def test_wrong_file_shows_every_problem_for_people_and_for_programs(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text('[gateway]\nworkers = -1\ncolour = "red"\n')
    for words in (["check", str(file)], ["start", "--config", str(file)], ["status", "--config", str(file)]):
        done = gateway_command(*words)
        assert done.returncode == ExitCode.CONFIGURATION
        assert "gateway.workers" in done.stderr
        assert "gateway.colour" in done.stderr
    done = gateway_command("check", "--json", str(file))
    assert done.returncode == ExitCode.CONFIGURATION
    keys = {problem["key"] for problem in json.loads(done.stdout)["problems"]}
    assert {"gateway.workers", "gateway.colour"} <= keys


def test_status_shows_listeners_and_each_worker_within_120_columns(start: Start) -> None:
    gateway = start(workers=2).wait_ready()
    _, pid = gateway.who()
    done = gateway_command("status", "--runtime-dir", str(gateway.runtime_dir))
    assert done.returncode == ExitCode.OK
    assert f"127.0.0.1:{gateway.port}" in done.stdout
    assert any(str(pid) in line and "ready" in line for line in done.stdout.splitlines())
    assert max(map(len, done.stdout.splitlines())) <= 120
    facts = json.loads(gateway_command("status", "--json", "--runtime-dir", str(gateway.runtime_dir)).stdout)
    assert facts["gateway"]["listeners"][0]["address"] == f"127.0.0.1:{gateway.port}"
    assert pid in [worker["pid"] for worker in facts["workers"]]


def test_without_the_right_to_capture_one_line_and_status_say_that_early_syn_is_off(start: Start) -> None:
    gateway = start(early_syn=True, may_capture=False)
    lack = r"cannot capture packets: EPERM \(needs CAP_NET_RAW [^)]*\)"
    gateway.wait_for(f"early_syn is off, sessions begin when they are accepted: {lack}\n")
    gateway.wait_ready().who()
    where = ["--runtime-dir", str(gateway.runtime_dir)]
    assert re.search(f"^early_syn off: {lack}$", gateway_command("status", *where).stdout, re.MULTILINE)
    facts = json.loads(gateway_command("status", "--json", *where).stdout)
    assert facts["gateway"]["early_syn"]["on"] is False


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: captures packets")
def test_with_the_right_status_says_that_early_syn_is_on(start: Start) -> None:
    gateway = start(early_syn=True).wait_ready()
    where = ["--runtime-dir", str(gateway.runtime_dir)]
    assert "\nearly_syn on\n" in gateway_command("status", *where).stdout


def test_with_a_peer_status_shows_the_broker_and_links_shows_the_peer(start: Start) -> None:
    gateway = start(peers=1).wait_ready()
    where = ["--runtime-dir", str(gateway.runtime_dir)]
    status = gateway_command("status", *where)
    facts = json.loads(gateway_command("status", "--json", *where).stdout)
    (line,) = (line for line in status.stdout.splitlines() if line.startswith("broker"))
    assert line.split()[1:3] == [str(facts["broker"]["pid"]), "ready"]
    assert len(facts["links"]) == 1
    done = gateway_command("links", *where)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert done.stdout.splitlines()[1].split()[:3] == ["mumbai", "127.0.0.1:1", "unknown"]


def test_a_broker_that_is_stopped_is_named_by_health(start: Start) -> None:
    gateway = start(peers=1, heartbeat_s=1.0).wait_ready()
    where = ["--runtime-dir", str(gateway.runtime_dir)]
    gateway.process.send_signal(signal.SIGSTOP)  # or it would have replaced the broker before we looked
    broker = json.loads(gateway_command("status", "--json", *where).stdout)["broker"]["pid"]
    os.kill(broker, signal.SIGSTOP)
    deadline_s = time.monotonic() + 20.0
    while "the broker gave its last heartbeat" not in (done := gateway_command("health", *where)).stdout:
        assert time.monotonic() < deadline_s
    assert done.returncode == ExitCode.OK
    assert done.stdout.startswith("degraded\n")


def test_status_still_shows_workers_while_the_supervisor_hangs(start: Start) -> None:
    gateway = start().wait_ready()
    _, pid = gateway.who()
    gateway.process.send_signal(19)  # SIGSTOP
    done = gateway_command("status", "--runtime-dir", str(gateway.runtime_dir))
    assert done.returncode == ExitCode.OK
    assert "the supervisor does not answer" in done.stderr
    assert str(pid) in done.stdout


def test_health_says_well(start: Start) -> None:
    gateway = start().wait_ready()
    assert gateway_command("health", "--runtime-dir", str(gateway.runtime_dir)).returncode == ExitCode.OK


def test_health_holds_the_gateway_to_its_own_thresholds_and_degraded_is_not_well_to_who_is_strict(start: Start) -> None:
    gateway = start(memory_limit=1000).wait_ready()
    where = ["--runtime-dir", str(gateway.runtime_dir)]
    done = gateway_command("health", *where)
    assert done.returncode == ExitCode.OK
    assert re.search(r"^  memory_near_limit: memory of the gateway .* of 1000 bytes$", done.stdout, re.MULTILINE)
    strict = gateway_command("health", "--strict", "--json", *where)
    found = json.loads(strict.stdout)
    (reason,) = (reason for reason in found["reasons"] if reason["code"] == "memory_near_limit")
    assert (strict.returncode, found["ok"], found["level"]) == (ExitCode.UNWELL, True, "degraded")
    assert (reason["object"], reason["threshold"], reason["unit"]) == ("gateway", 900.0, "bytes")


def test_health_says_that_the_supervisor_is_silent(start: Start) -> None:
    gateway = start().wait_ready()
    gateway.process.send_signal(signal.SIGSTOP)
    done = gateway_command("health", "--runtime-dir", str(gateway.runtime_dir))
    assert done.returncode == ExitCode.OK
    assert "  supervisor_silent: the supervisor does not answer, so nobody is replaced\n" in done.stdout


def test_health_judges_by_the_running_gateways_limit_while_its_supervisor_hangs(start: Start) -> None:
    gateway = start(heartbeat_s=1.0).wait_ready()
    gateway.process.send_signal(19)  # SIGSTOP
    gateway.hang()
    where = ["--runtime-dir", str(gateway.runtime_dir)]
    deadline_s = time.monotonic() + 30.0
    while (done := gateway_command("health", *where)).returncode == ExitCode.OK:
        assert time.monotonic() < deadline_s
    assert done.returncode == ExitCode.UNWELL
    assert "worker 0 gave its last heartbeat" in done.stdout


def test_health_of_a_draining_gateway_is_degraded_and_drain_says_for_how_long(start: Start) -> None:
    gateway = start().wait_ready()
    where = ["--runtime-dir", str(gateway.runtime_dir)]
    with gateway.stay() as session, gateway_process("drain", *where) as draining:
        gateway.wait_for(r"told to drain by pid \d+ of user \d+\n")
        gateway.wait_for(r"draining: sessions left 1, up to 30 s")
        session.sendall(b"x")
        assert session.recv(100) == b"x"
        told = gateway_command("health", *where)
        session.close()
        _, said = draining.communicate(timeout=60)
    assert told.returncode == ExitCode.OK
    assert told.stdout.startswith("degraded\n  draining: ")  # and on a busy machine perhaps of a loop that is late
    assert "draining: sessions left 1, up to 30 s" in said


def test_sessions_are_a_table_or_json(start: Start) -> None:
    gateway = start(workers=2).wait_ready()
    where = ["--runtime-dir", str(gateway.runtime_dir)]
    lines = gateway_command("sessions", *where).stdout.splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:4] == ["small", "192.0.2.1:50000", "192.0.2.2:443", "1m01s"]
    assert max(map(len, lines)) <= 120
    listed = json.loads(gateway_command("sessions", "--json", *where).stdout)
    assert [session["outbound_rtt_us"] for session in listed["sessions"]] == [90_000, 90_000]
    assert listed["silent_workers"] == {}


def test_hung_worker_is_named_and_the_others_sessions_are_shown(start: Start) -> None:
    gateway = start(workers=2, heartbeat_s=600.0).wait_ready()  # or a successor would answer
    gateway.hang()
    done = gateway_command("sessions", "--runtime-dir", str(gateway.runtime_dir))
    assert done.returncode == ExitCode.UNWELL
    assert len(done.stdout.splitlines()) == 2
    assert "is missing: no answer within" in done.stderr


def test_stop_waits_for_the_end(start: Start) -> None:
    gateway = start().wait_ready()
    done = gateway_command("stop", "--runtime-dir", str(gateway.runtime_dir))
    assert done.returncode == ExitCode.OK
    assert done.stdout == f"stopped, pid {gateway.process.pid}\n"
    assert gateway.end() == 0


def test_stop_now_does_not_wait_for_sessions(start: Start) -> None:
    gateway = start().wait_ready()
    with gateway.stay():
        assert gateway_command("stop", "--now", "--runtime-dir", str(gateway.runtime_dir)).returncode == ExitCode.OK
        assert gateway.end() == 0

"""What the README tells a newcomer to type works as it says, and wrong turns end with words and the right exit code."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bench.processes import free_ports
from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import at, forward, proxy
from tests.scenarios.harness.gateways import Gateway, command
from tests.scenarios.harness.origins import hello
from tests.scenarios.harness.programs import LIMIT_S, require, run

OK, UNWELL, USAGE, CANNOT_START, CONFIGURATION = range(5)
DEFAULT_PORTS = (1080, 9900)

StartWith = Callable[..., Gateway]


@pytest.fixture
def start_with(tmp_path: Path) -> Iterator[StartWith]:
    """Give a function that runs `gateway start WORDS` with a runtime directory of its own."""
    with ExitStack() as endings:

        def start(*words: str) -> Gateway:
            gateway = Gateway([*words, "--runtime-dir", str(tmp_path / "run")], tmp_path / "run")
            endings.callback(gateway.abandon)
            return gateway

        yield start


def press_ctrl_c(gateway: Gateway) -> None:
    """Do what a terminal does: interrupt every process of the foreground, workers too."""
    os.killpg(gateway.process.pid, signal.SIGINT)


def refuses(port: int) -> bool:
    """Tell whether nobody listens on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # its queue went as we came
        pass
    return False


def skip_unless_free(*ports: int) -> None:
    for port in ports:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError as error:
            pytest.skip(f"needs port {port} of 127.0.0.1, which the embedded default takes: {error.strerror}")


def test_the_embedded_default_serves_curl_and_ends_on_ctrl_c(start_with: StartWith, tmp_path: Path) -> None:
    require("curl")
    skip_unless_free(*DEFAULT_PORTS)
    gateway = start_with("--workers", "auto").wait_ready()
    with hello(tmp_path) as port:
        for scheme in ("socks5h", "http"):
            words = ["curl", "--silent", "--show-error", "--proxy", f"{scheme}://127.0.0.1:1080"]
            assert run([*words, f"http://127.0.0.1:{port}/"]).stdout == b"hello"
    assert gateway.get("/healthz")[0] == 200
    assert len(gateway.worker_pids()) == len(os.sched_getaffinity(0))
    gateway.expect_rest()
    gateway.end(how=lambda: press_ctrl_c(gateway))


def test_ctrl_c_lets_a_session_end_first(start_gateway: StartGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as origin:
        gateway = start_gateway(forward(origin.getsockname()[1]), timeouts={"drain": 60})
        client = socket.create_connection(("127.0.0.1", gateway.port("forward")), timeout=LIMIT_S)
        far, _ = origin.accept()
        origin.close()  # nobody else gets a session
        with client, far:
            press_ctrl_c(gateway)
            gateway.wait_until(lambda: refuses(gateway.port("forward")), expected="newcomers are refused")
            client.sendall(b"still here")
            assert far.recv(100) == b"still here"
        gateway.end(how=lambda: None)
    assert "--" in {line["end"] for line in gateway.sessions_logged("forward")}


def test_a_one_line_port_forward(start_with: StartWith, tmp_path: Path) -> None:
    require("curl")
    skip_unless_free(DEFAULT_PORTS[1])
    with hello(tmp_path) as port:
        gateway = start_with("--listen", at(free_ports(1)[0]), "--to", at(port), "--workers", "1").wait_ready()
        url = f"http://{at(gateway.port('default'))}/"
        assert run(["curl", "--silent", "--show-error", url]).stdout == b"hello"
    gateway.end()


def test_init_check_start(start_with: StartWith, tmp_path: Path) -> None:
    file = tmp_path / "midmile.toml"
    assert command("init", str(file)).returncode == OK
    assert command("init", str(file)).returncode == USAGE  # never over a file that is there
    checked = command("check", str(file))
    assert (checked.returncode, checked.stdout) == (OK, f"{file}: correct\n")
    ports = free_ports(3)
    text = file.read_text()
    for known, port in zip(("127.0.0.1:1080", "127.0.0.1:8443", "127.0.0.1:9900"), ports, strict=True):
        assert known in text
        text = text.replace(known, at(port))
    file.write_text(text)
    gateway = start_with("--config", str(file)).wait_ready()
    assert [gateway.port("proxy"), gateway.port("forward"), gateway.admin[1]] == ports
    gateway.end()


def test_a_wrong_file_is_told_all_at_once_and_binds_nothing(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    file = tmp_path / "wrong.toml"
    file.write_text(f"""
[gateway]
workers = 0
colour = "red"
[[listen]]
name = "good"
bind = "127.0.0.1:{port}"
mode = "mixed"
[[listen]]
name = "good"
bind = "localhost:1"
mode = "forward"
[timeouts]
idle = -1
""")
    keys = ["gateway.workers", "gateway.colour", "listen[1].name", "listen[1].bind", "listen[1].to", "timeouts.idle"]
    checked = command("check", str(file))
    assert checked.returncode == CONFIGURATION
    assert sorted(line.split(":")[0].split(" ")[0] for line in checked.stderr.splitlines()) == sorted(keys)
    as_json = command("check", str(file), "--json")
    assert as_json.returncode == CONFIGURATION
    assert sorted(problem["key"] for problem in json.loads(as_json.stdout)["problems"]) == sorted(keys)
    with socket.create_server(("127.0.0.1", port)):  # which start would stumble over if it bound anything first
        started = command("start", "--config", str(file), "--runtime-dir", str(tmp_path / "run"))
    assert started.returncode == CONFIGURATION
    assert started.stderr == checked.stderr
    assert not (tmp_path / "run").exists()


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = at(taken.getsockname()[1])
        started = command("start", "--listen", where, "--runtime-dir", str(tmp_path / "run"))
    assert started.returncode == CANNOT_START
    assert where in started.stderr
    assert "EADDRINUSE" in started.stderr


def test_commands_about_a_gateway_that_runs(start_gateway: StartGateway) -> None:
    gateway = start_gateway(proxy(), timeouts={"handshake": 600})
    with socket.create_connection(("127.0.0.1", gateway.port("proxy")), timeout=LIMIT_S) as client:
        own = at(client.getsockname()[1])
        gateway.wait_until(lambda: [row["client"] for row in listed(gateway)] == [own], expected="it is listed")
        assert f"127.0.0.1:{client.getsockname()[1]}" in gateway.command("sessions").stdout
    status = gateway.command("status")
    assert status.returncode == OK
    for pid in gateway.worker_pids():
        assert str(pid) in status.stdout
    well = {"ok": True, "level": "well", "reasons": []}  # in the end: a loop may be late on a machine this busy
    gateway.wait_until(lambda: json.loads(gateway.command("health", "--json").stdout) == well, expected="it is well")
    assert [worker["pid"] for worker in gateway.status()["workers"]] == gateway.worker_pids()
    stopped = []
    gateway.end(how=lambda: stopped.append(gateway.command("stop", "--json")))
    assert stopped[0].returncode == OK
    assert json.loads(stopped[0].stdout)["stopped"] is True


def listed(gateway: Gateway) -> list[dict[str, object]]:
    """Give what `gateway sessions --json` lists."""
    sessions: list[dict[str, object]] = json.loads(gateway.command("sessions", "--json").stdout)["sessions"]
    return sessions


@pytest.mark.parametrize("word", ["status", "health", "sessions", "stop"])
@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_commands_about_a_gateway_that_does_not_run(tmp_path: Path, word: str, json_too: list[str]) -> None:
    done = command(word, *json_too, "--runtime-dir", str(tmp_path / "nowhere"))
    assert (done.returncode, done.stdout) == (UNWELL, "")
    assert "no gateway runs in" in done.stderr


def test_doctor_and_version(tmp_path: Path) -> None:
    told = command("doctor", "--json", "--runtime-dir", str(tmp_path / "run"))
    findings = json.loads(told.stdout)["findings"]
    failed = any(finding["level"] == "fail" for finding in findings)
    assert told.returncode == (UNWELL if failed else OK)
    in_words = command("doctor", "--runtime-dir", str(tmp_path / "run"))
    assert in_words.returncode == told.returncode
    missing = [finding["check"] for finding in findings if finding["check"] not in in_words.stdout]
    assert (len(findings) > 10, missing) == (True, [])
    assert str(tmp_path / "run") in in_words.stdout
    version = json.loads(command("version", "--json").stdout)["version"]
    assert command("version").stdout == f"midmile {version}\n"


@pytest.mark.parametrize("words", [["fly"], ["start", "--to", "127.0.0.1:1"], ["start", "--workers", "none"], []])
def test_words_that_mean_nothing(words: list[str]) -> None:
    assert command(*words).returncode == USAGE

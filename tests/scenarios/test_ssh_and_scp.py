"""ssh runs commands and scp copies files through the gateway; what is typed is answered at once."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.payloads import sha256, write
from tests.scenarios.harness.programs import LIMIT_S, require, run
from tests.scenarios.harness.servers import Sshd, sshd

SIZE = 50 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def ssh(gateway: Gateway, server: Sshd, *words: str, stdin: bytes = b"") -> bytes:
    where = ["-p", str(gateway.port("forward")), f"{server.user}@127.0.0.1"]
    return run([require("ssh"), *server.options, *where, *words], stdin=stdin).stdout


def scp(gateway: Gateway, server: Sshd, *words: str) -> None:
    run([require("scp"), "-q", *server.options, "-P", str(gateway.port("forward")), *words])


def test_ssh_runs_a_command(start_gateway: StartGateway, server: Sshd) -> None:
    gateway = start_gateway(forward(server.port))
    assert ssh(gateway, server, "echo", "hello") == b"hello\n"
    assert gateway.sessions_logged("forward")[0]["end"] == "--"


def test_the_end_of_input_reaches_the_command(start_gateway: StartGateway, server: Sshd) -> None:
    gateway = start_gateway(forward(server.port))
    text = b"a line, and another\n" * 100_000
    assert ssh(gateway, server, "cat", stdin=text) == text


def test_scp_copies_there_and_back(start_gateway: StartGateway, server: Sshd, tmp_path: Path) -> None:
    gateway = start_gateway(forward(server.port))
    here, there, back = tmp_path / "here", tmp_path / "there", tmp_path / "back"
    digest = write(here, SIZE)
    scp(gateway, server, str(here), f"{server.user}@127.0.0.1:{there}")
    assert sha256(there) == digest
    scp(gateway, server, f"{server.user}@127.0.0.1:{there}", str(back))
    assert sha256(back) == digest
    for file in (here, there, back):
        file.unlink()  # pytest keeps directories of the last runs


def test_keystrokes_are_answered_one_by_one(start_gateway: StartGateway, server: Sshd) -> None:
    """A hundred round trips, each begun when the last has ended: Nagle against delayed ACK would cost each 40 ms.

    A busy machine may cost some of them more than that, but not all.
    """
    gateway = start_gateway(forward(server.port))
    argv = ["ssh", *server.options, "-p", str(gateway.port("forward")), f"{server.user}@127.0.0.1", "cat"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as session:
        exchange(session, b"first\n")
        took_s = [timed(session, b"%d\n" % number) for number in range(100)]
        assert session.stdin is not None
        session.stdin.close()
        assert session.wait(LIMIT_S) == 0
    assert sorted(took_s)[10] < 0.04


def timed(session: subprocess.Popen[bytes], line: bytes) -> float:
    """Give the seconds that an exchange took."""
    began_s = time.monotonic()
    exchange(session, line)
    return time.monotonic() - began_s


def exchange(session: subprocess.Popen[bytes], line: bytes) -> None:
    assert session.stdin is not None
    assert session.stdout is not None
    session.stdin.write(line)
    assert session.stdout.readline() == line

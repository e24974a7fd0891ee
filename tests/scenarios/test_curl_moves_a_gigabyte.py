"""A gigabyte comes through whole, each way, by port forward; a quarter of one by SOCKS5, copied."""

import hashlib
import io
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bench.processes import free_ports
from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import at, forward, proxy
from tests.scenarios.harness.payloads import http_sink, write
from tests.scenarios.harness.programs import LIMIT_S, require, run
from tests.scenarios.harness.servers import nginx

GIGABYTE = 1 << 30
QUARTER = GIGABYTE // 4  # where copying takes its time


@dataclass(frozen=True)
class Origin:
    """An nginx that offers one large file."""

    port: int
    file: Path
    sha256: str


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    require("curl")
    directory = tmp_path_factory.mktemp("origin")
    file, (port,) = directory / "gigabyte", free_ports(1)
    with nginx(directory, f"server {{ listen {at(port)}; root {directory}; }}", ports=[port]):
        try:
            yield Origin(port, file, write(file, GIGABYTE))
        finally:
            file.unlink()  # pytest keeps directories of the last runs


def downloaded(*words: str) -> str:
    """Let curl write to a pipe, and give the SHA-256 of what comes out."""
    argv = ["curl", "--silent", "--show-error", "--fail", *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as curl:
        assert isinstance(curl.stdout, io.BufferedReader)
        digest = hashlib.file_digest(curl.stdout, "sha256").hexdigest()
        assert curl.wait(LIMIT_S) == 0
    return digest


def test_download_through_a_forward(start_gateway: StartGateway, origin: Origin) -> None:
    gateway = start_gateway(forward(origin.port))
    assert downloaded(f"http://{at(gateway.port('forward'))}/gigabyte") == origin.sha256
    (line,) = gateway.sessions_logged("forward")
    assert int(line["bytes"].split("/")[1]) > GIGABYTE
    spliced = 'midmile_moved_bytes_total{how="splice"}'
    gateway.wait_until(lambda: gateway.metrics()[spliced] > 0.9 * GIGABYTE, expected="nearly all of it was spliced")


def test_download_through_socks5_without_splice(start_gateway: StartGateway, origin: Origin) -> None:
    gateway = start_gateway(proxy("socks5"), relay={"splice": False})
    url, part = f"http://localhost:{origin.port}/gigabyte", f"0-{QUARTER - 1}"
    with origin.file.open("rb") as file:
        expected = hashlib.sha256(file.read(QUARTER)).hexdigest()
    assert downloaded("--proxy", f"socks5h://{at(gateway.port('proxy'))}", "--range", part, url) == expected
    assert gateway.metrics()['midmile_moved_bytes_total{how="splice"}'] == 0


def test_upload_through_a_forward(start_gateway: StartGateway, origin: Origin) -> None:
    with http_sink() as port:
        gateway = start_gateway(forward(port))
        url = f"http://{at(gateway.port('forward'))}/"
        # Without "Expect:" curl would wait a second for a 100 that this origin does not send.
        sent = run(["curl", "--silent", "--fail", "--upload-file", str(origin.file), "--header", "Expect:", url])
        assert sent.stdout.decode() == origin.sha256
        (line,) = gateway.sessions_logged("forward")
    assert line["end"] == "--"
    assert int(line["bytes"].split("/")[0]) > GIGABYTE

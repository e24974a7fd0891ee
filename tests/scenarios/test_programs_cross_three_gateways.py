"""What people use every day goes through three gateways, which all take part, as if they were not there."""

import hashlib
import io
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.bench.processes import free_ports
from tests.scenarios.harness.configuration import at, forward, proxy
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.overlay import Chain, Station, running_chain
from tests.scenarios.harness.payloads import http_sink, sha256, write
from tests.scenarios.harness.programs import LIMIT_S, require, run
from tests.scenarios.harness.servers import Sshd, iperf3, nginx, postgres, redis, sshd

GIGABYTE = 1 << 30
VIA = ["mumbai", "singapore"]


@dataclass(frozen=True, slots=True)
class World:
    """Three gateways, and behind the last one a server of each kind."""

    chain: Chain
    file: Path
    sha256: str
    http_port: int
    sshd: Sshd

    def port(self, listener: str) -> int:
        """Give the port at which clients come in."""
        return self.chain["oregon"].port(listener)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    for program in ("curl", "nginx", "psql", "pgbench", "ssh", "scp", "redis-benchmark", "redis-cli", "iperf3"):
        require(program)
    file, (http_port,) = directory / "gigabyte", free_ports(1)
    with ExitStack() as held:
        held.callback(file.unlink, missing_ok=True)  # pytest keeps directories of the last runs
        digest = write(file, GIGABYTE)
        server = f"server {{ listen {at(http_port)}; root {directory}; }}"
        held.enter_context(nginx(directory, server, ports=[http_port]))
        secure = held.enter_context(sshd(directory))
        ports = {
            "download": http_port,
            "upload": held.enter_context(http_sink()),
            "postgres": held.enter_context(postgres()),
            "ssh": secure.port,
            "redis": held.enter_context(redis(directory)),
            "iperf3": held.enter_context(iperf3(directory)),
        }
        listens = [forward(port, name=name, via=VIA) for name, port in ports.items()]
        chain = held.enter_context(
            running_chain(
                directory,
                oregon=Station(knows=["mumbai"], listens=[*listens, proxy(via=VIA)]),
                mumbai=Station(knows=["singapore"]),
                singapore=Station(),
            )
        )
        yield World(chain, file, digest, http_port, secure)


def downloaded(*words: str) -> str:
    """Let curl write to a pipe, and give the SHA-256 of what comes out."""
    argv = ["curl", "--silent", "--show-error", "--fail", *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as curl:
        assert isinstance(curl.stdout, io.BufferedReader)
        digest = hashlib.file_digest(curl.stdout, "sha256").hexdigest()
        assert curl.wait(LIMIT_S) == 0
    return digest


def test_curl_downloads_a_gigabyte_by_forward(world: World) -> None:
    assert downloaded(f"http://{at(world.port('download'))}/gigabyte") == world.sha256
    (line,) = world.chain["oregon"].sessions_logged("download")
    assert int(line["bytes"].split("/")[1]) > GIGABYTE
    assert (line["end"], line["via"]) == ("--", "-/mumbai,singapore")
    for name in ("oregon", *VIA):
        gateway = world.chain[name]
        gateway.wait_until(partial(spliced_nearly_all, gateway), expected="nearly all of it was spliced")


def spliced_nearly_all(gateway: Gateway) -> bool:
    return gateway.metrics()['midmile_moved_bytes_total{how="splice"}'] > 0.9 * GIGABYTE


def test_curl_uploads_a_gigabyte_by_forward(world: World) -> None:
    url = f"http://{at(world.port('upload'))}/"
    # Without "Expect:" curl would wait a second for a 100 that this origin does not send.
    sent = run(["curl", "--silent", "--fail", "--upload-file", str(world.file), "--header", "Expect:", url])
    assert sent.stdout.decode() == world.sha256


@pytest.mark.parametrize("scheme", ["socks5h", "tunnel"])
def test_curl_downloads_by_proxy(world: World, scheme: str) -> None:
    words = ["--proxy", f"{scheme.replace('tunnel', 'http')}://{at(world.port('proxy'))}"]
    more = ["--proxytunnel"] if scheme == "tunnel" else []
    url = f"http://127.0.0.1:{world.http_port}/gigabyte"
    part = run(["curl", "--silent", "--fail", "--range", "1000000-9999999", *words, *more, url]).stdout
    with world.file.open("rb") as file:
        file.seek(1_000_000)
        assert hashlib.sha256(part).digest() == hashlib.sha256(file.read(9_000_000)).digest()


def test_pgbench(world: World) -> None:
    where = ["--host", "127.0.0.1", "--port", str(world.port("postgres")), "--username", "postgres"]
    run(["pgbench", *where, "--initialize", "--quiet", "--scale=1", "postgres"])
    words = ["--client=8", "--jobs=2", "--transactions=50", "--protocol=extended", "--no-vacuum", "postgres"]
    said = run(["pgbench", *where, *words]).stdout.decode()
    assert "number of transactions actually processed: 400/400" in said
    words = ["--connect", "--select-only", "--client=4", "--transactions=20", "--no-vacuum", "postgres"]
    said = run(["pgbench", *where, *words]).stdout.decode()
    assert "number of transactions actually processed: 80/80" in said


def test_psql_copies_rows_in_and_out(world: World) -> None:
    where = ["--host", "127.0.0.1", "--port", str(world.port("postgres")), "--username", "postgres"]
    options = ["--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
    rows = b"".join(b"%d\trow number %d, and a little more\n" % (number, number) for number in range(100_000))

    def psql(sql: str, *, stdin: bytes = b"") -> bytes:
        return run(["psql", *where, *options, "--command", sql, "postgres"], stdin=stdin).stdout

    psql("CREATE TABLE copied (number int, text text)")
    psql("COPY copied FROM STDIN", stdin=rows)
    assert psql("COPY copied TO STDOUT") == rows


def test_ssh_and_scp(world: World, tmp_path: Path) -> None:
    port, server = str(world.port("ssh")), world.sshd
    text = b"a line, and another\n" * 100_000
    where = [*server.options, "-p", port, f"{server.user}@127.0.0.1"]
    assert run(["ssh", *where, "cat"], stdin=text).stdout == text
    here, there, back = tmp_path / "here", tmp_path / "there", tmp_path / "back"
    digest = write(here, 50 << 20)
    copy = ["scp", "-q", *server.options, "-P", port]
    run([*copy, str(here), f"{server.user}@127.0.0.1:{there}"])
    assert sha256(there) == digest
    run([*copy, f"{server.user}@127.0.0.1:{there}", str(back)])
    assert sha256(back) == digest
    for file in (here, there, back):
        file.unlink()


def test_redis_benchmark(world: World) -> None:
    where = ["-h", "127.0.0.1", "-p", str(world.port("redis"))]
    load = ["-n", "4000", "-c", "50", "--csv"]
    said = run(["redis-benchmark", *where, *load, "-t", "ping_inline,set,get,incr"]).stdout.decode()
    assert [line.split(",")[0] for line in said.splitlines()[1:]] == ['"PING_INLINE"', '"SET"', '"GET"', '"INCR"']
    run(["redis-benchmark", *where, *load, "-t", "incr", "-P", "16"])
    assert run(["redis-cli", *where, "GET", "counter:__rand_int__"]).stdout == b"8000\n"


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_iperf3_with_parallel_streams(world: World, direction: str) -> None:
    where = ["--client", "127.0.0.1", "--port", str(world.port("iperf3")), "--json"]
    words = ["--bytes", str(256 << 20), "--parallel", "4", *(["--reverse"] if direction == "backward" else [])]
    ended = json.loads(run(["iperf3", *where, *words]).stdout)["end"]
    assert len(ended["streams"]) == 4
    assert all(stream["receiver"]["bytes"] > 0 for stream in ended["streams"])


def test_every_session_ended_in_order_and_used_the_legs_again(world: World) -> None:
    """The last story of this file: what all the others have left."""
    oregon = world.chain["oregon"]
    listeners = ("download", "upload", "postgres", "redis", "ssh", "proxy")
    lines = [line for listener in listeners for line in oregon.sessions_logged(listener)]
    assert len(lines) > 200
    assert {line["end"] for line in lines} == {"--"}
    oregon.wait_until(lambda: oregon.metrics()["midmile_sessions_open"] == 0, expected="all sessions are over")
    link = world.chain.link("oregon", "mumbai")
    assert link["dialled"] < 0.8 * len(lines)

"""redis-benchmark's many clients and pipelines go through the gateway, and every answer is the right one."""

from pathlib import Path

from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward
from tests.scenarios.harness.programs import require, run
from tests.scenarios.harness.servers import redis

REQUESTS, CLIENTS = 8_000, 50  # pipelined, redis-benchmark rounds up to whole rounds of 16 requests


def test_redis_benchmark(start_gateway: StartGateway, tmp_path: Path) -> None:
    benchmark, cli = require("redis-benchmark"), require("redis-cli")
    with redis(tmp_path) as origin:
        gateway = start_gateway(forward(origin))
        where = ["-h", "127.0.0.1", "-p", str(gateway.port("forward"))]
        load = ["-n", str(REQUESTS), "-c", str(CLIENTS), "--csv"]
        said = run([benchmark, *where, *load, "-t", "ping_inline,set,get,incr"]).stdout.decode()
        assert [line.split(",")[0] for line in said.splitlines()[1:]] == ['"PING_INLINE"', '"SET"', '"GET"', '"INCR"']
        run([benchmark, *where, *load, "-t", "incr", "-P", "16"])
        assert run([cli, *where, "GET", "counter:__rand_int__"]).stdout == b"%d\n" % (2 * REQUESTS)


def test_large_values_come_back_whole(start_gateway: StartGateway, tmp_path: Path) -> None:
    cli = require("redis-cli")
    value = bytes(range(256)) * 40_000
    with redis(tmp_path) as origin:
        gateway = start_gateway(forward(origin))
        where = [cli, "-h", "127.0.0.1", "-p", str(gateway.port("forward"))]
        assert run([*where, "-x", "SET", "large"], stdin=value).stdout == b"OK\n"
        assert run([*where, "GET", "large"]).stdout == value + b"\n"
        assert {line["end"] for line in gateway.sessions_logged("forward", count=2)} == {"--"}

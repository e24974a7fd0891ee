"""psql and pgbench talk to a PostgreSQL through the gateway: many small messages, and some large ones."""

from collections.abc import Iterator

import pytest

from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import at, forward
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.programs import require, run
from tests.scenarios.harness.servers import postgres

ROWS = 200_000


@pytest.fixture(scope="module")
def database() -> Iterator[int]:
    require("psql")
    require("pgbench")
    with postgres() as port:
        yield port


def where(gateway: Gateway) -> list[str]:
    host, _, port = at(gateway.port("forward")).partition(":")
    return ["--host", host, "--port", port, "--username", "postgres"]


def psql(gateway: Gateway, sql: str, *, stdin: bytes = b"") -> str:
    words = ["--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command", sql, "postgres"]
    return run(["psql", *where(gateway), *words], stdin=stdin).stdout.decode()


def test_psql_copies_rows_in_and_out(start_gateway: StartGateway, database: int) -> None:
    gateway = start_gateway(forward(database))
    rows = b"".join(b"%d\trow number %d, and a little more\n" % (number, number) for number in range(ROWS))
    psql(gateway, "CREATE TABLE copied (number int, text text)")
    psql(gateway, "COPY copied FROM STDIN", stdin=rows)
    assert psql(gateway, "SELECT count(*), sum(number::bigint) FROM copied") == f"{ROWS}|{ROWS * (ROWS - 1) // 2}\n"
    assert psql(gateway, "COPY copied TO STDOUT").encode() == rows
    assert {line["end"] for line in gateway.sessions_logged("forward", count=4)} == {"--"}


def test_pgbench_with_several_clients(start_gateway: StartGateway, database: int) -> None:
    gateway = start_gateway(forward(database))
    run(["pgbench", *where(gateway), "--initialize", "--quiet", "--scale=1", "postgres"])
    words = ["--client=8", "--jobs=2", "--transactions=100", "--protocol=extended", "--no-vacuum", "postgres"]
    said = run(["pgbench", *where(gateway), *words]).stdout.decode()
    assert "number of transactions actually processed: 800/800" in said
    assert "number of failed transactions: 0 (0.000%)" in said


def test_pgbench_connecting_anew_for_each_transaction(start_gateway: StartGateway, database: int) -> None:
    gateway = start_gateway(forward(database))
    run(["pgbench", *where(gateway), "--initialize", "--quiet", "--scale=1", "postgres"])
    words = ["--connect", "--select-only", "--client=4", "--transactions=25", "--no-vacuum", "postgres"]
    said = run(["pgbench", *where(gateway), *words]).stdout.decode()
    assert "number of transactions actually processed: 100/100" in said
    assert {line["end"] for line in gateway.sessions_logged("forward", count=100)} == {"--"}

"""`gateway links` over a real scoreboard, with a supervisor of which only the answer matters, or without any."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from gateway.commands.links import links
from gateway.control_client import NotRunning
from gateway.exit_codes import ExitCode
from gateway.runtime_dir import control_socket, scoreboard_file
from pools.link_health import LinkState
from pools.net.clock import monotonic_ns
from pools.net.link_board import LinkCell
from pools.net.scoreboard import Cell, ChildState, Layout, Scoreboard
from workers.operator_wire import frame

LIMIT_S = 20.0
FACTS = [
    {"name": "mumbai", "address": "203.0.113.9:7400", "pool_min": 16, "pool_max": 512},
    {"name": "singapore", "address": "198.51.100.4:7400", "pool_min": 4, "pool_max": 8},
]
MUMBAI = {
    LinkCell.STATE: LinkState.UP.number,
    LinkCell.RTT_US: 231_400,
    LinkCell.RTT_VARIATION_US: 1_200,
    LinkCell.LOSS_PPM: 4_000,
    LinkCell.WINDOW_SEGMENTS: 412,
    LinkCell.IDLE_DEPOT: 20,
    LinkCell.IDLE_WORKERS: 14,
    LinkCell.LENT: 12,
    LinkCell.HITS_TOTAL: 15_000,
    LinkCell.MISSES_TOTAL: 3,
    LinkCell.DIALLED_TOTAL: 49,
}


@contextmanager
def gateway(runtime_dir: Path, peers: int = 2) -> Iterator[Scoreboard]:
    """Have a scoreboard there, of a gateway whose supervisor and broker are this process."""
    path = scoreboard_file(runtime_dir)
    board = Scoreboard.create(path, Layout(1, 1, peers), supervisor_pid=os.getpid(), started_ns=monotonic_ns())
    board.broker[Cell.PID], board.broker[Cell.STATE] = os.getpid(), ChildState.READY
    board.broker[Cell.BOOTED_NS] = board.broker[Cell.HEARTBEAT_NS] = monotonic_ns()
    for index in range(peers):
        board.links.link(index)[LinkCell.UPDATED_NS] = monotonic_ns()
    yield board
    board.close()


@contextmanager
def supervisor(runtime_dir: Path) -> Iterator[None]:
    """Answer one request with FACTS."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.settimeout(LIMIT_S)
        listening.bind(str(control_socket(runtime_dir)))
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(frame({"ok": True, "peers": FACTS}))

        answering = Thread(target=answer)
        answering.start()
        yield
        answering.join(LIMIT_S)
        assert not answering.is_alive()


def describe_mumbai(board: Scoreboard) -> None:
    for cell, value in MUMBAI.items():
        board.links.link(0)[cell] = value


def test_each_peer_has_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gateway(tmp_path) as board, supervisor(tmp_path):
        describe_mumbai(board)
        board.links.link(1)[LinkCell.STATE] = LinkState.DOWN.number
        board.links.link(1)[LinkCell.LOSS_PPM] = 1_000_000
        assert links(tmp_path, as_json=False) is ExitCode.OK
    head, *rows = capsys.readouterr().out.splitlines()
    assert [" ".join(row.split()) for row in rows] == [
        "mumbai 203.0.113.9:7400 up 231ms 1.2ms 0.4% 412 34 12 0 16-512 99.98% 3 49",
        "singapore 198.51.100.4:7400 down - - 100% - 0 0 0 4-8 - 0 0",
    ]
    assert max(map(len, (head, *rows))) <= 120


def test_json_has_units_and_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gateway(tmp_path) as board, supervisor(tmp_path):
        describe_mumbai(board)
        assert links(tmp_path, as_json=True) is ExitCode.OK
    mumbai, singapore = json.loads(capsys.readouterr().out)["links"]
    assert FACTS[0].items() <= mumbai.items()
    assert (mumbai["state"], mumbai["rtt_us"], mumbai["idle"]) == ("up", 231_400, 34)
    assert mumbai["hit_rate"] == pytest.approx(15_000 / 15_003)
    assert (singapore["state"], singapore["hit_rate"]) == ("unknown", None)


@pytest.mark.parametrize(
    ("hits", "misses", "shown"),
    [(1, 0, "100%"), (999_999, 1, "99.99%"), (9_999, 1, "99.99%"), (99, 1, "99.00%"), (0, 1, "0.00%")],
)
def test_a_hit_rate_is_never_rounded_to_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hits: int, misses: int, shown: str
) -> None:
    with gateway(tmp_path, peers=1) as board:
        board.links.link(0)[LinkCell.HITS_TOTAL], board.links.link(0)[LinkCell.MISSES_TOTAL] = hits, misses
        links(tmp_path, as_json=False)
    assert capsys.readouterr().out.splitlines()[1].split()[-3] == shown


def test_a_crowded_pool_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gateway(tmp_path, peers=1) as board:
        board.links.link(0)[LinkCell.LENT], board.links.link(0)[LinkCell.CROWDED] = 600, 1
        links(tmp_path, as_json=False)
    assert "600!" in capsys.readouterr().out.split()


def test_without_peers_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gateway(tmp_path, peers=0):
        assert links(tmp_path, as_json=False) is ExitCode.OK
        assert links(tmp_path, as_json=True) is ExitCode.OK
    said = capsys.readouterr()
    assert said.out == 'no links: the configuration has no [[peer]]\n{\n  "links": []\n}\n'
    assert said.err == ""


def test_without_the_supervisor_peers_have_numbers_for_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with gateway(tmp_path):
        assert links(tmp_path, as_json=False) is ExitCode.OK
    said = capsys.readouterr()
    assert [line.split("  ")[0] for line in said.out.splitlines()[1:]] == ["peer 0", "peer 1"]
    assert "the supervisor does not answer" in said.err


def test_without_the_broker_it_is_not_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gateway(tmp_path) as board:
        board.broker.clear_gauges()
        board.links.clear_gauges()
        assert links(tmp_path, as_json=False) is ExitCode.UNWELL
    assert "the broker is not there" in capsys.readouterr().err


def test_old_numbers_are_not_well_and_their_age_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gateway(tmp_path) as board:
        board.links.link(1)[LinkCell.UPDATED_NS] = monotonic_ns() - 65_000_000_000
        assert links(tmp_path, as_json=False) is ExitCode.UNWELL
    assert "these numbers are 1m05s old" in capsys.readouterr().err


def test_no_gateway_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no gateway runs in"):
        links(tmp_path, as_json=False)

"""Listeners' numbers from a real scoreboard file."""

from pathlib import Path

from gateway.listener_status import ListenerStatus, read_listener, summed
from pools.net.scoreboard import Layout, ListenCell, Scoreboard


def test_what_all_workers_count_of_a_listener_is_summed(tmp_path: Path) -> None:
    board = Scoreboard.create(tmp_path / "scoreboard", Layout(2, 2), supervisor_pid=1, started_ns=1)
    for slot in range(2):
        for cell in ListenCell:
            board.row(slot).set_listener(1, cell, 10 ** int(cell) * (slot + 1))
    found = read_listener(board, 1)
    assert found == ListenerStatus(sessions=3, sessions_total=30, forward_bytes=300, backward_bytes=3000, failed=30_000)
    assert read_listener(board, 0) == ListenerStatus(0, 0, 0, 0, 0)
    assert summed(board, 1, ListenCell.FAILED) == found.failed
    board.close()

"""The scoreboard over real files and real forks."""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pools.net.link_board import LinkCell
from pools.net.scoreboard import Cell, Duty, Layout, Scoreboard, ScoreboardError

WORKERS = 1
ROWS = WORKERS + 3
LISTENERS = 2
PEERS = 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scoreboard"


def create(path: Path, *, started_ns: int = 5) -> Scoreboard:
    return Scoreboard.create(
        path, Layout(WORKERS, LISTENERS, PEERS), supervisor_pid=4242, started_ns=started_ns, heartbeat_limit_ns=9
    )


@pytest.fixture
def board(path: Path) -> Iterator[Scoreboard]:
    created = create(path)
    yield created
    created.close()


def all_words(board: Scoreboard, index: int) -> list[int]:
    return board.row(index).words.tolist()


def test_a_new_board_says_whose_it_is_and_is_zero(board: Scoreboard) -> None:
    assert (board.rows, board.listeners) == (ROWS, LISTENERS)
    assert (board.supervisor_pid, board.started_ns) == (4242, 5)
    assert [sum(all_words(board, index)) for index in range(ROWS)] == [Duty.SERVES] * WORKERS + [Duty.NONE] * 3
    assert [sum(board.links.link(index).words) for index in range(PEERS)] == [place + 1 for place in range(PEERS)]


def test_workers_come_first_then_what_is_carried_on_then_broker_and_admin(board: Scoreboard) -> None:
    assert board.workers == (board.row(0),)
    assert (board.carried, board.broker, board.admin) == (board.row(1), board.row(2), board.row(3))


def test_more_room_than_is_used_waits_for_what_a_reload_adds(path: Path) -> None:
    board = Scoreboard.create(path, Layout(1, 1, 1), room=Layout(4, 3, 2), supervisor_pid=1, started_ns=5)
    reader = Scoreboard.open(path)
    assert (reader.rows, reader.listeners, reader.links.peers) == (7, 3, 2)
    assert (reader.slots, reader.links.numbers) == ((0,), (0,))
    board.row(0)[Cell.DUTY], board.row(3)[Cell.DUTY] = Duty.RETIRES, Duty.SERVES
    board.links.use([1, 0])
    assert (reader.slots, reader.links.numbers) == ((0, 3), (1, 0))
    assert [row[Cell.DUTY] for row in reader.workers] == [Duty.RETIRES, Duty.SERVES]
    board.row(0).clear_gauges()
    assert reader.slots == (0, 3)
    reader.close()


def test_the_last_reload_is_written_down(board: Scoreboard) -> None:
    assert (board.config_generation, board.reload_failed, board.reloaded_ns) == (1, 0, 5)
    board.note_reload_failed()
    assert (board.config_generation, board.reload_failed, board.reloaded_ns) == (1, 1, 5)
    board.note_reload(77, heartbeat_limit_ns=11)
    assert (board.config_generation, board.reload_failed, board.reloaded_ns) == (2, 0, 77)
    assert board.heartbeat_limit_ns == 11


def test_the_file_is_not_for_others(board: Scoreboard, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0


def test_a_row_belongs_to_one_child(board: Scoreboard) -> None:
    words = board.row(1).words
    words[:] = memoryview(b"\xff" * words.nbytes).cast("Q")
    assert sum(all_words(board, 0)) == Duty.SERVES
    assert not any(all_words(board, 2))
    assert sum(board.links.link(0).words) == 1
    assert (board.supervisor_pid, board.started_ns) == (4242, 5)


@pytest.mark.parametrize("index", [-1, ROWS])
def test_a_row_that_is_not_there_is_refused(board: Scoreboard, index: int) -> None:
    with pytest.raises(IndexError, match=f"from 0 to 3; found {index}"):
        board.row(index)


def test_a_forked_child_is_seen_by_its_parent_and_by_a_reader(board: Scoreboard, path: Path) -> None:
    child = os.fork()
    if child == 0:
        board.row(1)[Cell.SESSIONS] = 17
        board.links.link(1)[LinkCell.LENT] = 3
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    reader = Scoreboard.open(path)
    assert board.row(1)[Cell.SESSIONS] == reader.row(1)[Cell.SESSIONS] == 17
    assert board.links.link(1)[LinkCell.LENT] == reader.links.link(1)[LinkCell.LENT] == 3
    reader.close()


def test_a_reader_sees_later_writes_and_cannot_write(board: Scoreboard, path: Path) -> None:
    reader = Scoreboard.open(path)
    board.row(0).add(Cell.SESSIONS_TOTAL, 3)
    assert reader.row(0)[Cell.SESSIONS_TOTAL] == 3
    assert (reader.supervisor_pid, reader.started_ns, reader.heartbeat_limit_ns) == (4242, 5, 9)
    with pytest.raises(TypeError, match="read-only"):
        reader.row(0)[Cell.SESSIONS_TOTAL] = 1
    reader.close()


def test_a_new_board_replaces_the_file_and_leaves_the_old_mapping_whole(board: Scoreboard, path: Path) -> None:
    board.row(0)[Cell.PID] = 1
    successor = create(path, started_ns=6)
    reader = Scoreboard.open(path)
    assert (reader.started_ns, reader.row(0)[Cell.PID]) == (6, 0)
    assert (board.started_ns, board.row(0)[Cell.PID]) == (5, 1)
    assert [file.name for file in path.parent.iterdir()] == ["scoreboard"]
    reader.close()
    successor.close()


def test_a_draft_left_by_a_crash_is_no_obstacle(path: Path) -> None:
    path.with_suffix(".new").write_bytes(b"half")
    create(path).close()
    Scoreboard.open(path).close()


def test_a_missing_file_is_said_so(path: Path) -> None:
    with pytest.raises(ScoreboardError, match="cannot read the scoreboard .*No such file"):
        Scoreboard.open(path)


@pytest.mark.parametrize(
    "wrong", ["empty", "short", "foreign", "truncated", "more rows than words", "more links than words"]
)
def test_a_wrong_file_is_refused(path: Path, wrong: str) -> None:
    create(path).close()
    good = path.read_bytes()
    contents = {
        "empty": b"",
        "short": good[:16],
        "foreign": bytes(len(good)),
        "truncated": good[:-8],
        "more rows than words": good[:8] + struct.pack("=Q", WORKERS + 1) + good[16:],
        "more links than words": good[:24] + struct.pack("=Q", PEERS + 1) + good[32:],
    }
    path.write_bytes(contents[wrong])
    with pytest.raises(ScoreboardError):
        Scoreboard.open(path)


def test_close_ends_the_rows_that_were_handed_out(path: Path) -> None:
    board = create(path)
    row = board.row(0)
    board.close()
    with pytest.raises(ValueError, match="released"):
        row[Cell.PID] = 1
    with pytest.raises(ValueError, match="released"):
        board.row(1).add(Cell.SESSIONS)
    with pytest.raises(ValueError, match="released"):
        board.links.link(0).add(LinkCell.HITS_TOTAL)


def test_opening_and_closing_leaks_no_descriptor(path: Path) -> None:
    create(path).close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        Scoreboard.open(path).close()
    assert len(os.listdir("/proc/self/fd")) == before

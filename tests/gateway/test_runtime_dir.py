import os
from pathlib import Path

import pytest

from gateway.runtime_dir import RuntimeDir, control_socket, next_scoreboard_file, pid_file, scoreboard_file
from pools.net.errors import StartError


def test_claim_makes_a_private_directory_and_names_its_holder(tmp_path: Path) -> None:
    held = RuntimeDir.claim(tmp_path / "run" / "midmile")
    assert held.path.stat().st_mode & 0o777 == 0o700
    assert pid_file(held.path).read_text() == f"{os.getpid()}\n"
    held.release()
    assert list(held.path.iterdir()) == []


def test_second_holder_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    held = RuntimeDir.claim(tmp_path)
    with pytest.raises(StartError, match=f"another gateway runs here, pid {os.getpid()}"):
        RuntimeDir.claim(tmp_path)
    assert pid_file(tmp_path).read_text() == f"{os.getpid()}\n"
    held.release()
    RuntimeDir.claim(tmp_path).release()


def test_what_a_dead_holder_left_is_cleared_away(tmp_path: Path) -> None:
    for path in (pid_file(tmp_path), control_socket(tmp_path), scoreboard_file(tmp_path)):
        path.write_text("999999999")
    held = RuntimeDir.claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["supervisor.pid"]
    assert pid_file(tmp_path).read_text() == f"{os.getpid()}\n"
    held.release()


def test_a_successor_holds_it_too_and_then_alone(tmp_path: Path) -> None:
    before = RuntimeDir.claim(tmp_path)
    scoreboard_file(tmp_path).write_text("before")
    pid_file(tmp_path).write_text("1\n")
    RuntimeDir.inherit(tmp_path, os.dup(before.lock)).release()  # one that could not take over
    after = RuntimeDir.inherit(tmp_path, os.dup(before.lock))
    next_scoreboard_file(tmp_path).write_text("after")
    assert (pid_file(tmp_path).read_text(), scoreboard_file(tmp_path).read_text()) == ("1\n", "before")
    after.take_over()
    before.hand_over()
    assert before.lock == -1  # else it would hold the directory for as long as it retires
    before.abandon()
    before.release()
    assert pid_file(tmp_path).read_text() == f"{os.getpid()}\n"
    assert scoreboard_file(tmp_path).read_text() == "after"
    with pytest.raises(StartError, match=f"another gateway runs here, pid {os.getpid()}"):
        RuntimeDir.claim(tmp_path)
    after.release()
    assert list(tmp_path.iterdir()) == []


def test_a_successor_that_failed_leaves_nothing(tmp_path: Path) -> None:
    before = RuntimeDir.claim(tmp_path)
    next_scoreboard_file(tmp_path).write_text("after")
    before.clear_next()
    before.clear_next()
    assert [path.name for path in tmp_path.iterdir()] == ["supervisor.pid"]
    next_scoreboard_file(tmp_path).mkdir()  # cannot be removed as a file
    before.clear_next()
    next_scoreboard_file(tmp_path).rmdir()
    before.release()


def test_a_lock_of_another_directory_is_not_taken_for_this_one_s(tmp_path: Path) -> None:
    held = [RuntimeDir.claim(tmp_path / name) for name in ("run", "other")]
    with pytest.raises(StartError, match="expected the one that the gateway holds"):
        RuntimeDir.inherit(tmp_path / "run", held[1].lock)
    for each in held:
        each.release()


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_directory_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(StartError, match=f"mode {mode:04o}"):
        RuntimeDir.claim(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_file_in_the_directory_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StartError, match="File exists"):
        RuntimeDir.claim(tmp_path / "run")


def test_link_in_the_pid_file_s_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run").mkdir(mode=0o700)
    pid_file(tmp_path / "run").symlink_to(victim)
    with pytest.raises(StartError):
        RuntimeDir.claim(tmp_path / "run")
    assert victim.read_text() == "precious"

import os
from pathlib import Path

import pytest

from pools.net.private_file import read_private

UID = os.geteuid()


def a_file(folder: Path, content: bytes = b"secret", mode: int = 0o600) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def faults_of(path: Path, *, limit_bytes: int = 100, uid: int | None = None) -> list[str]:
    content, problems = read_private(path, key="key", limit_bytes=limit_bytes, uid=uid)
    assert content == b""
    return [str(problem) for problem in problems]


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_alone_is_read_up_to_the_limit(tmp_path: Path, mode: int) -> None:
    assert read_private(a_file(tmp_path, mode=mode), key="key", limit_bytes=6, uid=UID) == (b"secret", [])


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_open_to_others_is_not_read(tmp_path: Path, mode: int) -> None:
    rule = "must name a file that only its owner may use, mode 0600"
    assert faults_of(a_file(tmp_path, mode=mode)) == [f"key: {rule}; found mode {mode:04o}"]


def test_the_file_of_another_user_is_read_only_where_that_does_not_matter(tmp_path: Path) -> None:
    path = a_file(tmp_path)
    if UID == 0:  # whose files anybody may have
        os.chown(path, 4001, -1)
    owner = path.stat().st_uid
    assert faults_of(path, uid=owner + 1) == [
        f"key: must name a file of user {owner + 1} or of root; found user {owner}"
    ]
    assert read_private(path, key="key", limit_bytes=100) == (b"secret", [])


def test_mode_and_owner_are_told_together(tmp_path: Path) -> None:
    path = a_file(tmp_path, mode=0o644)
    if UID == 0:
        os.chown(path, 4001, -1)
    assert len(faults_of(path, uid=path.stat().st_uid + 1)) == 2


def test_a_file_that_is_too_long_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = a_file(tmp_path)
    os.truncate(path, 1 << 40)
    assert faults_of(path) == ["key: must name a file of at most 100 bytes; found more"]


def test_what_is_not_there_is_said_so(tmp_path: Path) -> None:
    rule = "must name a file that this user can read"
    assert faults_of(tmp_path / "file") == [f"key: {rule}; found no such file or directory"]


def test_neither_a_pipe_nor_a_directory_holds_anybody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert faults_of(tmp_path / "pipe") == ["key: must name a regular file; found something else"]
    assert len(faults_of(tmp_path)) == 1

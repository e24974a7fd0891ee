"""Key files: written for their owner alone, rotated a step at a time, never shown."""

import os
from pathlib import Path

import pytest

from gateway.overlay_key import KeyFileError, Rotation, create, rotate
from pools.handshake import OverlayKey
from pools.key_file import read_keys, written
from pools.net.errors import ConfigurationError

KEY = "overlay.key_file"
UID = os.geteuid()
SECRETS = [bytes([number]) * 32 for number in range(3)]


def line(secret: bytes) -> bytes:
    return written([OverlayKey(secret)])


def key_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "overlay.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def secrets_in(path: Path) -> list[bytes]:
    keys, problems = read_keys(path, key=KEY, uid=UID)
    assert problems == []
    return [key.secret for key in keys]


def test_a_new_file_is_for_its_owner_alone_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "overlay.key"
    before = os.umask(0o777)
    try:
        made = create(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert secrets_in(path) == [made.secret]
    assert create(tmp_path / "other.key") != made


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = key_file(tmp_path, b"mine")
    with pytest.raises(KeyFileError, match="expected a place for a new file; found: file exists"):
        create(path)
    assert path.read_bytes() == b"mine"


def test_a_link_is_not_followed_to_write(tmp_path: Path) -> None:
    (tmp_path / "overlay.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError):
        create(tmp_path / "overlay.key")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(UID != 0, reason="needs root: a file is given to somebody else")
def test_rotating_for_another_user_leaves_the_file_theirs(tmp_path: Path) -> None:
    path = key_file(tmp_path, line(SECRETS[0]))
    os.chown(path, 1001, 1002)
    rotate(path, Rotation.ADD, uid=1001)
    assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o7777) == (1001, 1002, 0o600)


def test_three_steps_replace_a_key(tmp_path: Path) -> None:
    path = tmp_path / "overlay.key"
    old = create(path)
    _, new = rotate(path, Rotation.ADD, uid=UID)
    assert secrets_in(path) == [old.secret, new.secret]
    assert rotate(path, Rotation.SWITCH, uid=UID) == (new, old)
    assert secrets_in(path) == [new.secret, old.secret]
    assert rotate(path, Rotation.DROP, uid=UID) == (new,)
    assert secrets_in(path) == [new.secret]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("step", "count"), [(Rotation.ADD, 2), (Rotation.SWITCH, 1), (Rotation.DROP, 1)])
def test_a_step_out_of_turn_changes_nothing(tmp_path: Path, step: Rotation, count: int) -> None:
    path = key_file(tmp_path, b"".join(map(line, SECRETS[:count])))
    with pytest.raises(KeyFileError, match=f"keys before --rotate {step}; found {count}"):
        rotate(path, step, uid=UID)
    assert secrets_in(path) == SECRETS[:count]


def test_a_wrong_file_is_not_rotated(tmp_path: Path) -> None:
    path = key_file(tmp_path, b"secret words\n")
    with pytest.raises(ConfigurationError) as caught:
        rotate(path, Rotation.ADD, uid=UID)
    assert "secret words" not in str(caught.value)
    assert path.read_bytes() == b"secret words\n"


def test_two_who_rotate_at_once_do_not_mix(tmp_path: Path) -> None:
    path = key_file(tmp_path, line(SECRETS[0]))
    (tmp_path / "overlay.key.new").touch()
    with pytest.raises(KeyFileError, match="overlay.key.new: expected a place for a new file"):
        rotate(path, Rotation.ADD, uid=UID)
    assert secrets_in(path) == [SECRETS[0]]

"""Key files: written for their owner alone, judged before they are read, rotated a step at a time, never shown."""

import base64
import os
from pathlib import Path

import pytest

from gateway.overlay_key import KeyFileError, Rotation, create, read_keys, rotate
from pools.handshake import OverlayKey
from pools.net.errors import ConfigurationError

KEY = "overlay.key_file"
UID = os.geteuid()
SECRETS = [bytes([number]) * 32 for number in range(3)]


def line(secret: bytes) -> bytes:
    return b"midmile-key-1:" + base64.b64encode(secret) + b"\n"


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


def test_keys_are_read_in_order_with_lines_to_skip(tmp_path: Path) -> None:
    path = key_file(tmp_path, b"# of the overlay\n\n" + line(SECRETS[1]).replace(b"\n", b" \r\n") + line(SECRETS[0]))
    assert secrets_in(path) == [SECRETS[1], SECRETS[0]]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "must name a file with 1 to 2 keys; found 0"),
        (b"".join(map(line, SECRETS)), "must name a file with 1 to 2 keys; found 3"),
        (line(SECRETS[0]) * 2, "must name a file whose keys differ; found one key twice"),
        (b"\n" + line(bytes(31)), "must hold lines of the form .*; found line 2"),
        (line(SECRETS[0])[14:], "must hold lines of the form .*; found line 1"),
        (line(SECRETS[0]).replace(b"=", b"*"), "must hold lines of the form .*; found line 1"),
        (b"midmile-key-2:" + line(SECRETS[0])[14:], "must hold lines of the form .*; found line 1"),
        (b"\xff\xfe\n", "must hold lines of the form .*; found line 1"),
        (b"#" * 5000, "must name a file of at most 4096 bytes; found more"),
    ],
)
def test_a_wrong_file_is_answered_with_its_rule(tmp_path: Path, content: bytes, found: str) -> None:
    _, problems = read_keys(key_file(tmp_path, content), key=KEY, uid=UID)
    with pytest.raises(ConfigurationError, match=f"^{KEY}: {found}$"):
        raise ConfigurationError(problems)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_open_to_others_is_not_read(tmp_path: Path, mode: int) -> None:
    keys, [problem] = read_keys(key_file(tmp_path, line(SECRETS[0]), mode), key=KEY, uid=UID)
    assert keys == ()
    assert str(problem) == f"{KEY}: must name a file that only its owner may use, mode 0600; found mode {mode:04o}"


@pytest.mark.skipif(UID != 0, reason="needs root: a file is given to somebody else")
def test_a_file_of_somebody_else_is_not_read_but_one_of_root_is(tmp_path: Path) -> None:
    path = key_file(tmp_path, line(SECRETS[0]))
    assert read_keys(path, key=KEY, uid=1000)[1] == []
    os.chown(path, 1001, 1001)
    keys, [problem] = read_keys(path, key=KEY, uid=1000)
    assert keys == ()
    assert str(problem) == f"{KEY}: must name a file of user 1000 or of root; found user 1001"


@pytest.mark.skipif(UID != 0, reason="needs root: a file is given to somebody else")
def test_rotating_for_another_user_leaves_the_file_theirs(tmp_path: Path) -> None:
    path = key_file(tmp_path, line(SECRETS[0]))
    os.chown(path, 1001, 1002)
    rotate(path, Rotation.ADD, uid=1001)
    assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o7777) == (1001, 1002, 0o600)


def test_what_is_no_file_is_said_so(tmp_path: Path) -> None:
    _, [missing] = read_keys(tmp_path / "none", key=KEY, uid=UID)
    assert str(missing) == f"{KEY}: must name a file that this user can read; found no such file or directory"
    os.mkfifo(tmp_path / "fifo", 0o600)
    _, [pipe] = read_keys(tmp_path / "fifo", key=KEY, uid=UID)
    assert str(pipe) == f"{KEY}: must name a regular file; found something else"


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


def test_keys_with_the_same_secret_are_the_same() -> None:
    assert OverlayKey(SECRETS[0]) == OverlayKey(SECRETS[0])

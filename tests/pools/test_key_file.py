"""Key files: judged before they are read, never shown, and read anew when they change."""

import base64
import errno
import logging
import os
from pathlib import Path

import pytest

from pools.handshake import OverlayKey
from pools.key_file import LOOK_EVERY_S, KeyFile, read_keys, written
from pools.net.errors import ConfigurationError

KEY = "overlay.key_file"
UID = os.geteuid()
SECRETS = [bytes([number]) * 32 for number in range(3)]
OLD, NEW, NEWER = map(OverlayKey, SECRETS)


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


def replace(path: Path, *keys: OverlayKey) -> None:
    """Put another file in its place, as `gateway keygen --rotate` does."""
    fresh = path.with_name("fresh")
    fresh.write_bytes(written(keys))
    fresh.chmod(0o600)
    fresh.replace(path)


class Clock:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s

    def pass_one_look(self) -> None:
        self.s += LOOK_EVERY_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return key_file(tmp_path, written([OLD]))


def lines_of(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "pools.key_file"]


def test_what_is_written_is_a_line_for_each_key() -> None:
    assert written([OLD, NEW]) == line(SECRETS[0]) + line(SECRETS[1])


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


def test_what_is_no_file_is_said_so(tmp_path: Path) -> None:
    _, [missing] = read_keys(tmp_path / "none", key=KEY, uid=UID)
    assert str(missing) == f"{KEY}: must name a file that this user can read; found no such file or directory"
    os.mkfifo(tmp_path / "fifo", 0o600)
    _, [pipe] = read_keys(tmp_path / "fifo", key=KEY, uid=UID)
    assert str(pipe) == f"{KEY}: must name a regular file; found something else"


def test_keys_with_the_same_secret_are_the_same() -> None:
    assert OverlayKey(SECRETS[0]) == OverlayKey(SECRETS[0])


def test_a_rotated_key_is_in_use_after_a_second(path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    keys = KeyFile(path, now_s=clock)
    assert keys.keys() == (OLD,)
    for step in ((OLD, NEW), (NEW, OLD), (NEW,)):
        before = keys.keys()
        replace(path, *step)
        clock.s += LOOK_EVERY_S / 2
        assert keys.keys() == before
        clock.s += LOOK_EVERY_S / 2
        assert keys.keys() == step
    old, new = OLD.id.hex(), NEW.id.hex()
    assert [text for _, text in lines_of(caplog)] == [
        f"{path}: proves with {old}, accepts {old}, {new}",
        f"{path}: proves with {new}, accepts {new}, {old}",
        f"{path}: proves with {new}, accepts {new}",
    ]


def test_a_file_that_stays_as_it_is_is_read_once(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyFile(str(path), now_s=clock)
    assert keys.keys() == (OLD,)
    monkeypatch.setattr("pools.key_file.read_keys", lambda *_, **__: pytest.fail("it was read again"))
    for _ in range(5):
        clock.pass_one_look()
        assert keys.keys() == (OLD,)


@pytest.mark.parametrize("content", [None, b"", b"midmile-key-1:c2VjcmV0\n", written([OLD, NEW, NEWER])])
def test_a_file_gone_wrong_leaves_the_last_good_keys_and_one_line(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    keys = KeyFile(path, now_s=clock)
    assert keys.keys() == (OLD,)
    path.unlink() if content is None else path.write_bytes(content)
    for _ in range(5):
        clock.pass_one_look()
        assert keys.keys() == (OLD,)
    [(level, text)] = lines_of(caplog)
    assert level == logging.WARNING
    assert text.startswith(f"going on with the last good keys: {KEY}: must ")
    assert "c2VjcmV0" not in text


def test_each_change_to_another_wrong_file_is_told(path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    keys = KeyFile(path, now_s=clock)
    keys.keys()
    for content in (b"one", b"another"):
        path.write_bytes(content)
        clock.pass_one_look()
        keys.keys()
    assert len(lines_of(caplog)) == 2


def test_a_file_is_right_again_once_its_mode_is(path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    keys = KeyFile(path, now_s=clock)
    keys.keys()
    replace(path, NEW)
    path.chmod(0o644)
    clock.pass_one_look()
    assert keys.keys() == (OLD,)
    path.chmod(0o600)
    clock.pass_one_look()
    assert keys.keys() == (NEW,)
    assert [level for level, _ in lines_of(caplog)] == [logging.WARNING, logging.INFO]


def test_a_read_that_failed_for_another_reason_is_tried_again(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyFile(path, now_s=clock)
    keys.keys()
    replace(path, NEW)

    def open_none(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr("pools.net.private_file.open", open_none, raising=False)
        for _ in range(3):
            clock.pass_one_look()
            assert keys.keys() == (OLD,)
    clock.pass_one_look()
    assert keys.keys() == (NEW,)
    assert len([text for level, text in lines_of(caplog) if level == logging.WARNING]) == 1


def test_without_good_keys_from_the_start_each_use_says_why(tmp_path: Path, clock: Clock) -> None:
    keys = KeyFile(tmp_path / "overlay.key", now_s=clock)
    for _ in range(3):
        with pytest.raises(ConfigurationError, match=f"^{KEY}: must name a file that .*; found no such file"):
            keys.keys()
    key_file(tmp_path, written([NEW]))
    clock.pass_one_look()
    assert keys.keys() == (NEW,)


def test_shown_by_its_ids_only(path: Path, clock: Clock) -> None:
    keys = KeyFile(path, now_s=clock)
    assert repr(keys) == f"<KeyFile {path} without keys>"
    keys.keys()
    assert repr(keys) == f"<KeyFile {path} {OLD.id.hex()}>"

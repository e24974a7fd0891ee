"""Files that are not there, not TOML, or open to others; and that nothing of a users file reaches a message."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.files import parse_tables, read_tables, read_users
from gateway.config.reading import Tables
from pools.net.errors import ConfigurationError, Problem

KEY = "listen[0].users_file"


def fault_of(content: bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_tables(content, source="gw.toml")
    [problem] = caught.value.problems
    return str(problem)


def users_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "users"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gw.toml"
    path.write_text("[gateway]\nworkers = 2")
    assert read_tables(path) == {"gateway": {"workers": 2}}


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_tables(tmp_path / "gw.toml")
    expected = f"{tmp_path}/gw.toml: must be a file that this user can read; found no such file or directory"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a = 1\nb =", "gw.toml: must be TOML; found Invalid value (at end of document)"),
        (b"a = 1\nb = c", "gw.toml:2:5: must be TOML; found Invalid value"),
        (b"a = 1\na = 2\n", "gw.toml:2:6: must be TOML; found Cannot overwrite a value"),
        (b"a = " + b"[" * 100_000, "gw.toml: must be TOML; found lists nested too deeply"),
    ],
)
def test_what_is_not_toml_is_answered_with_line_and_column(content: bytes, fault: str) -> None:
    assert fault_of(content) == fault


@pytest.mark.parametrize("content", [b"a = '\xff'", b"a = " + b"9" * 5000])
def test_what_python_cannot_read_is_a_problem_too(content: bytes) -> None:
    assert fault_of(content).startswith("gw.toml: must be TOML; found ")


def parsed(content: bytes) -> Tables | Problem:
    try:
        return parse_tables(content, source="gw.toml")
    except ConfigurationError as error:
        [problem] = error.problems
        return problem


@given(st.binary(max_size=200) | st.text("[]{}=.\"'\\\n#a1-:", max_size=60).map(str.encode))
def test_any_bytes_are_tables_or_one_problem(content: bytes) -> None:
    assert isinstance(parsed(content), dict | Problem)


def test_users_are_read_with_colons_in_passwords_and_lines_to_skip(tmp_path: Path) -> None:
    path = users_file(tmp_path, "# who may\nann:secret\n\nbob:a:b \r\nçelik:ş\n".encode())
    assert read_users(path, key=KEY) == ({"ann": "secret", "bob": "a:b ", "çelik": "ş"}, [])


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", [f"{KEY}: must name a file with at least one user; found none"]),
        (b"ann", [f"{KEY}: must hold lines of the form name:password; found line 1"]),
        (b"ann:", [f"{KEY}: must hold names and passwords of 1 to 255 bytes; found line 1"]),
        (b":secret", [f"{KEY}: must hold names and passwords of 1 to 255 bytes; found line 1"]),
        (b"ann:" + b"s" * 256, [f"{KEY}: must hold names and passwords of 1 to 255 bytes; found line 1"]),
        (b"ann:\xff", [f"{KEY}: must be UTF-8; found line 1"]),
        (b"ann:a\nann:b", [f"{KEY}: must name each user once; found line 2"]),
        (
            b"ann\nbob:b\n\nbob:c",
            [
                f"{KEY}: must hold lines of the form name:password; found line 1",
                f"{KEY}: must name each user once; found line 4",
            ],
        ),
    ],
)
def test_a_wrong_line_is_answered_with_its_number(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    _, problems = read_users(users_file(tmp_path, content), key=KEY)
    assert [str(problem) for problem in problems] == lines


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_users_file_open_to_others_is_not_read(tmp_path: Path, mode: int) -> None:
    users, [problem] = read_users(users_file(tmp_path, b"ann:secret", mode), key=KEY)
    assert not users
    assert str(problem) == f"{KEY}: must name a file that only its owner may use, mode 0600; found mode {mode:04o}"


def test_a_missing_users_file_is_said_so(tmp_path: Path) -> None:
    _, [problem] = read_users(tmp_path / "users", key=KEY)
    assert str(problem) == f"{KEY}: must name a file that this user can read; found no such file or directory"


def test_a_huge_users_file_is_not_read(tmp_path: Path) -> None:
    path = users_file(tmp_path, b"")
    os.truncate(path, (1 << 20) + 1)
    _, [problem] = read_users(path, key=KEY)
    assert str(problem) == f"{KEY}: must name a file of at most 1048576 bytes; found more"


def test_a_named_pipe_does_not_hold_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "users", 0o600)
    _, [problem] = read_users(tmp_path / "users", key=KEY)
    assert str(problem) == f"{KEY}: must name a regular file; found something else"

"""The files a configuration is made of, read and taken apart: the TOML file and the users files it names.

The only place of the configuration that opens anything. Nothing of a users file reaches a message: only line numbers.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from gateway.config.reading import Tables
from pools.net.errors import ConfigurationError, Problem
from pools.net.private_file import read_private

_NAME_LIMIT = 255  # bytes of a name and of a password, RFC 1929 section 2
_USERS_LIMIT = 1 << 20  # bytes
_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)\Z")


def read_tables(path: Path) -> Tables:
    """Read a TOML file.

    Raises:
        ConfigurationError: it cannot be read, or is not TOML; one problem, whose key is file, line and column.
    """
    try:
        return parse_tables(path.read_bytes(), source=str(path))
    except OSError as error:
        problem = Problem(str(path), "must be a file that this user can read", _said(error))
        raise ConfigurationError([problem]) from error


def parse_tables(content: bytes, *, source: str) -> Tables:
    """Take TOML apart; `source` is what the problem's key begins with. Raises as `read_tables`."""
    try:
        return tomllib.loads(content.decode())
    except RecursionError as error:
        raise ConfigurationError([Problem(source, "must be TOML", "lists nested too deeply")]) from error
    except ValueError as error:  # no TOML, no UTF-8, or a number of more digits than Python reads
        message = str(error)
        place = _PLACE.search(message)
        key = f"{source}:{place[1]}:{place[2]}" if place else source
        raise ConfigurationError([Problem(key, "must be TOML", _PLACE.sub("", message))]) from error


def read_users(path: Path, *, key: str) -> tuple[dict[str, str], list[Problem]]:
    """Read a users file: a line for each user, `name:password`; empty lines and lines that start with # are skipped.

    Args:
        path: a file that only its owner may read.
        key: the key that named it, for the problems.

    Returns:
        Passwords by name, and what is wrong with the file, all of it.
    """
    content, problems = read_private(path, key=key, limit_bytes=_USERS_LIMIT)
    users: dict[str, str] = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip() and not line.startswith(b"#"):
            problems += [Problem(key, rule, f"line {number}") for rule in _add_user(users, line.rstrip(b"\r"))]
    if not users and not problems:
        problems.append(Problem(key, "must name a file with at least one user", "none"))
    return users, problems


def _add_user(users: dict[str, str], line: bytes) -> Iterator[str]:
    """Add the user of one line to `users`, or tell which rule the line breaks, without its content."""
    name, colon, password = line.partition(b":")
    if not colon:
        yield "must hold lines of the form name:password"
    elif not 0 < len(name) <= _NAME_LIMIT or not 0 < len(password) <= _NAME_LIMIT:
        yield f"must hold names and passwords of 1 to {_NAME_LIMIT} bytes"
    elif not _is_utf8(line):
        yield "must be UTF-8"
    elif name.decode() in users:
        yield "must name each user once"
    else:
        users[name.decode()] = password.decode()


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _said(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

"""Files of overlay keys: made, read and judged, changed step by step. Nothing of a key reaches a message but its id.

A file has one or two lines `midmile-key-1:` and 32 bytes in base64; empty lines and lines that start with # are
skipped. A gateway proves itself with the first key and accepts both.
"""

import base64
import os
import secrets
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from pools.handshake import KEY_BYTES, KEYS_LIMIT, OverlayKey
from pools.net.errors import ConfigurationError, MidmileError, Problem
from pools.net.private_file import read_private

_PREFIX: Final = b"midmile-key-1:"
_FILE_LIMIT: Final = 4096  # bytes
_FORM: Final = f"must hold lines of the form midmile-key-1: and {KEY_BYTES} bytes in base64"


class Rotation(StrEnum):
    """The three steps that replace a key without a moment in which two gateways share none.

    Attributes:
        ADD: make a new key, accepted beside the old one.
        SWITCH: prove with the new key; the old one is still accepted.
        DROP: forget the old key.
    """

    ADD = "add"
    SWITCH = "switch"
    DROP = "drop"


class KeyFileError(MidmileError):
    """A key file could not be written, or is not at the step that the rotation wants."""


def read_keys(path: Path, *, key: str, uid: int) -> tuple[tuple[OverlayKey, ...], list[Problem]]:
    """Read a key file.

    Args:
        path: a file of ours or root's, that nobody else may use.
        key: the key of the configuration that named it, for the problems.
        uid: the user whose the file may be, beside root.

    Returns:
        The keys, the one to prove with first; and what is wrong with the file, all of it.
    """
    content, problems = read_private(path, key=key, limit_bytes=_FILE_LIMIT, uid=uid)
    if problems:
        return (), problems
    lines = [(n, line.strip()) for n, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    read = [(number, _key(line)) for number, line in lines if not line.startswith(b"#")]
    problems = [Problem(key, _FORM, f"line {number}") for number, each in read if each is None]
    keys = tuple(each for _, each in read if each is not None)
    return keys, problems or _count_problems(keys, key=key)


def create(path: Path) -> OverlayKey:
    """Write a new file with a new key, mode 0600.

    Raises:
        KeyFileError: something is there already, or the file cannot be written.
    """
    made = _new_key()
    _write_new(path, [made])
    return made


def rotate(path: Path, step: Rotation, *, uid: int) -> tuple[OverlayKey, ...]:
    """Take one step of the rotation in the file, all at once or not at all, and give the keys it has now.

    Raises:
        ConfigurationError: the file cannot be read, or is wrong.
        KeyFileError: this is not the step to take, or the file cannot be written.
    """
    keys, problems = read_keys(path, key=str(path), uid=uid)
    if problems:
        raise ConfigurationError(problems)
    wanted = 1 if step is Rotation.ADD else 2
    if len(keys) != wanted:
        raise KeyFileError(f"{path}: expected {wanted} of {KEYS_LIMIT} keys before --rotate {step}; found {len(keys)}")
    rotated = _rotated(keys, step)
    _replace(path, rotated)
    return rotated


def _rotated(keys: Sequence[OverlayKey], step: Rotation) -> tuple[OverlayKey, ...]:
    match step:
        case Rotation.ADD:
            return (*keys, _new_key())
        case Rotation.SWITCH:
            return tuple(reversed(keys))
        case Rotation.DROP:
            return (keys[0],)


def _new_key() -> OverlayKey:
    return OverlayKey(secrets.token_bytes(KEY_BYTES))


def _key(line: bytes) -> OverlayKey | None:
    """Read a line; None for one that is wrong, of which nothing may be shown."""
    try:
        return OverlayKey(base64.b64decode(line.removeprefix(_PREFIX), validate=True)) if _is_ours(line) else None
    except ValueError:  # binascii.Error derives from it
        return None


def _is_ours(line: bytes) -> bool:
    return line.startswith(_PREFIX)


def _count_problems(keys: Sequence[OverlayKey], *, key: str) -> list[Problem]:
    if not 1 <= len(keys) <= KEYS_LIMIT:
        return [Problem(key, f"must name a file with 1 to {KEYS_LIMIT} keys", str(len(keys)))]
    if len({each.id for each in keys}) < len(keys):
        return [Problem(key, "must name a file whose keys differ", "one key twice")]
    return []


def _write_new(path: Path, keys: Sequence[OverlayKey], *, owner: tuple[int, int] | None = None) -> None:
    """Write a file that is not there yet, and see it on the disk; nothing stays of one that fails halfway."""
    lines = b"".join(_PREFIX + base64.b64encode(key.secret) + b"\n" for key in keys)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeyFileError(f"{path}: expected a place for a new file; found: {_said(error)}") from error
    try:
        with open(fd, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask took away
            if owner:
                os.fchown(file.fileno(), *owner)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink()
        raise KeyFileError(f"{path}: expected to write a key file; found: {_said(error)}") from error


def _replace(path: Path, keys: Sequence[OverlayKey]) -> None:
    """Put a new file in the old one's place, with its owner: root may rotate for the gateway's user."""
    facts = path.stat()
    fresh = path.with_name(path.name + ".new")
    _write_new(fresh, keys, owner=(facts.st_uid, facts.st_gid))
    try:
        fresh.replace(path)
    except OSError as error:
        fresh.unlink()
        raise KeyFileError(f"{path}: expected to replace it; found: {_said(error)}") from error


def _said(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

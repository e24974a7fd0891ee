"""Files of overlay keys: made, and changed step by step. What is in them, and how it is read, is `pools.key_file`."""

import os
import secrets
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from pools.handshake import KEY_BYTES, KEYS_LIMIT, OverlayKey
from pools.key_file import read_keys, written
from pools.net.errors import ConfigurationError, MidmileError


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


def _write_new(path: Path, keys: Sequence[OverlayKey], *, owner: tuple[int, int] | None = None) -> None:
    """Write a file that is not there yet, and see it on the disk; nothing stays of one that fails halfway."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeyFileError(f"{path}: expected a place for a new file; found: {_said(error)}") from error
    try:
        with open(fd, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask took away
            if owner:
                os.fchown(file.fileno(), *owner)
            file.write(written(keys))
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

"""Files of overlay keys: their form, read and judged, and read anew when they change.

A file has one or two lines `midmile-key-1:` and 32 bytes in base64; empty lines and lines that start with # are
skipped. A gateway proves itself with the first key and accepts both. Nothing of a key reaches a message but its id.
"""

import base64
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from pools.handshake import KEY_BYTES, KEYS_LIMIT, OverlayKey
from pools.net.clock import monotonic_s
from pools.net.errors import ConfigurationError, Problem
from pools.net.private_file import read_private

LOOK_EVERY_S: Final = 1.0
"""How old what a `KeyFile` knows of its file may be: a rotated key is in use after that long."""

_PREFIX: Final = b"midmile-key-1:"
_FILE_LIMIT: Final = 4096  # bytes
_FORM: Final = f"must hold lines of the form midmile-key-1: and {KEY_BYTES} bytes in base64"

_log = logging.getLogger(__name__)


def written(keys: Iterable[OverlayKey]) -> bytes:
    """Give the content of a file with `keys`: what `read_keys` reads, and the one place where they leave memory."""
    return b"".join(_PREFIX + base64.b64encode(key.secret) + b"\n" for key in keys)


def read_keys(path: Path, *, key: str, uid: int) -> tuple[tuple[OverlayKey, ...], list[Problem]]:
    """Read a key file.

    Args:
        path: a file of ours or root's, that nobody else may use.
        key: the key of the configuration that named it, for the problems.
        uid: the user whose the file may be, beside root.

    Returns:
        The keys, the one to prove with first; or what is wrong with the file, all of it.
    """
    content, problems = read_private(path, key=key, limit_bytes=_FILE_LIMIT, uid=uid)
    if problems:
        return (), problems
    lines = [(n, line.strip()) for n, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    read = [(number, _key(line)) for number, line in lines if not line.startswith(b"#")]
    problems = [Problem(key, _FORM, f"line {number}") for number, each in read if each is None]
    keys = tuple(each for _, each in read if each is not None)
    problems = problems or _count_problems(keys, key=key)
    return (() if problems else keys), problems


class KeyFile:
    """The overlay's keys for a process that runs on while they are rotated.

    Looks at the file at most once in LOOK_EVERY_S, when somebody asks, and reads it when it is another than the last
    time. That is a stat(2), now and then a few hundred bytes off a local disk: nothing to park a greenlet for.

    Args:
        path: as in `read_keys`; a file of the user that this process runs as.
        key: the key of the configuration that named it.
        now_s: the monotonic clock.
    """

    __slots__ = ("_key", "_keys", "_look_at_s", "_now_s", "_path", "_problems", "_seen")

    def __init__(
        self, path: str | Path, *, key: str = "overlay.key_file", now_s: Callable[[], float] = monotonic_s
    ) -> None:
        self._path = Path(path)
        self._key = key
        self._now_s = now_s
        self._look_at_s = float("-inf")
        self._keys: tuple[OverlayKey, ...] = ()  # the last good ones
        self._problems: list[Problem] = []  # with the file as it was last read
        self._seen: tuple[int, ...] | None = ()  # None would be a file that is not there

    def __repr__(self) -> str:
        return f"<KeyFile {self._path} {' '.join(key.id.hex() for key in self._keys) or 'without keys'}>"

    def keys(self) -> tuple[OverlayKey, ...]:
        """Give one or two keys, the one to prove with first: the file's, or its last good ones while it is wrong.

        Raises:
            ConfigurationError: the file is wrong, and was so from the first time on.
        """
        now_s = self._now_s()
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_EVERY_S
            self._look()
        if not self._keys:
            raise ConfigurationError(self._problems)
        return self._keys

    def _look(self) -> None:
        """Read the file if it has changed; also if it was wrong, which may have been for want of a descriptor."""
        seen = _identity(self._path)  # before it is read: what changes in between is read once more
        if seen == self._seen and not self._problems:
            return
        keys, problems = read_keys(self._path, key=self._key, uid=os.geteuid())
        if self._keys and (seen, problems) != (self._seen, self._problems):
            self._tell(keys, problems)
        self._keys = keys or self._keys
        self._seen, self._problems = seen, problems

    def _tell(self, keys: tuple[OverlayKey, ...], problems: list[Problem]) -> None:
        if problems:
            _log.warning("going on with the last good keys: %s", "; ".join(map(str, problems)))
        elif keys != self._keys or self._problems:
            accepts = ", ".join(key.id.hex() for key in keys)
            _log.info("%s: proves with %s, accepts %s", self._path, keys[0].id.hex(), accepts)


def _identity(path: Path) -> tuple[int, ...] | None:
    """Give what changes with the file: its mode and owner too, which move the time of change; None without one."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _key(line: bytes) -> OverlayKey | None:
    """Read a line; None for one that is wrong, of which nothing may be shown."""
    if not line.startswith(_PREFIX):
        return None
    try:
        return OverlayKey(base64.b64decode(line.removeprefix(_PREFIX), validate=True))
    except ValueError:  # binascii.Error derives from it
        return None


def _count_problems(keys: Sequence[OverlayKey], *, key: str) -> list[Problem]:
    if not 1 <= len(keys) <= KEYS_LIMIT:
        return [Problem(key, f"must name a file with 1 to {KEYS_LIMIT} keys", str(len(keys)))]
    if len({each.id for each in keys}) < len(keys):
        return [Problem(key, "must name a file whose keys differ", "one key twice")]
    return []
